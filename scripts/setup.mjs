// Installs what is missing (locked) and builds what has changed; runs before `npm start`, `npm test` and `npm run check`.
// Plain JavaScript with old syntax: it must parse on Node 14, so that an old Node gets a sentence, not a stack.
import { spawnSync } from "child_process"
import { dirname, join } from "path"
import { fileURLToPath } from "url"
import { findNode, nodeMajorMin } from "./find-node.mjs"
import { install, installIsNeeded } from "./install.mjs"

const installMajorMin = 20
const root = join(dirname(fileURLToPath(import.meta.url)), "..")

main()

function main() {
  if (Number(process.versions.node.split(".")[0]) < installMajorMin) {
    fail(
      `Tintype needs Node ${installMajorMin} or newer to install itself; this is ${process.versions.node}. Get it at https://nodejs.org`,
    )
  }
  if (installIsNeeded(root)) installRoot()
  const node = findNode(root)
  if (!node) {
    fail(
      `Tintype runs on Node ${nodeMajorMin} or newer; this is ${process.versions.node}, and there is no packaged one for ` +
        `${process.platform} ${process.arch}. Install it from https://nodejs.org, then run this again.`,
    )
  }
  build(node)
}

function installRoot() {
  console.log("Installing what package-lock.json names (npm ci, once) …")
  const failure = install(root)
  if (failure === null) return
  process.stderr.write(failure)
  fail("`npm ci` failed; what it said is above.")
}

function build(node) {
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc")
  const result = spawnSync(node, [compiler, "-b", "tsconfig.build.json"], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  })
  if (result.status === 0) return
  process.stderr.write(`${result.stdout || ""}${result.stderr || ""}`)
  fail("The build failed; what the compiler said is above.")
}

function fail(line) {
  console.error(line)
  process.exit(1)
}
