// Runs vitest with the arguments given. A worker process that V8 itself brought down is no verdict on the code: Node 24
// aborts once in a hundred files or so while worker threads end ("Check failed: jit_page.has_value()", nodejs/node#64500).
// Then, and only then, the run is made once more; a failed test or an unhandled error is final.
// The cache is for the threads of the tests, which run from the sources: without it each of them compiles WebAssembly to strip
// the types, which took a third of the run, and is code that V8 trips over when it is freed.
import { spawn } from "node:child_process"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = join(dirname(fileURLToPath(import.meta.url)), "..")
const cache = join(root, "node_modules", ".cache", "node")
const died = "Worker exited unexpectedly"
const failedTest = / FAIL |Unhandled Rejection|Uncaught Exception/
const tailCharactersMax = 200_000

const first = await run()
const isVerdict = first.code === 0 || !first.tail.includes(died) || failedTest.test(first.tail)
if (!isVerdict)
  console.log("\nA worker process of the test runner died by itself; running once more.\n")
process.exit(isVerdict ? first.code : (await run()).code)

function run() {
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs")
  const color = process.stdout.isTTY ? { FORCE_COLOR: "1" } : {}
  const child = spawn(process.execPath, [vitest, "run", ...process.argv.slice(2)], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...color, NODE_COMPILE_CACHE: cache },
  })
  let tail = ""
  for (const [from, to] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ]) {
    from.on("data", (chunk) => {
      to.write(chunk)
      tail = (tail + chunk).slice(-tailCharactersMax)
    })
  }
  return new Promise((resolve) => {
    child.on("close", (code) => resolve({ code: code ?? 1, tail }))
  })
}
