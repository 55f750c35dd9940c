import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { expect, test } from "vitest"

/** Where the optional dependency is not installed: its name cannot be resolved. */
const withoutRuntime = `
  import { registerHooks } from "node:module"
  registerHooks({
    resolve(name, context, next) {
      if (name === "onnxruntime-node") throw new Error("Cannot find package 'onnxruntime-node'")
      return next(name, context)
    },
  })
  const { loadRuntime } = await import(process.argv[1])
  const refusal = await loadRuntime().then(() => null, (error) => error.refusal)
  console.log(JSON.stringify(refusal))
`

test("Without onnxruntime-node the error says what to install", async () => {
  const source = join(import.meta.dirname, "runtime.ts")
  const program = ["--input-type=module", "-e", withoutRuntime, source]
  const { stdout } = await promisify(execFile)(process.execPath, program)
  const refusal: unknown = JSON.parse(stdout)
  expect(refusal).toMatchObject({
    type: "runtime_missing",
    message: expect.stringContaining('run "npm install onnxruntime-node"'),
  })
})
