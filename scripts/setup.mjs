// Installs what is missing (locked) and builds what has changed; runs before `npm start`, `npm test` and `npm run check`.
// Plain JavaScript with old syntax: it must parse on Node 14, so that an old Node gets a sentence, not a stack.
import { spawnSync } from "child_process"
import { existsSync, statSync } from "fs"
import { dirname, join } from "path"
import { fileURLToPath } from "url"
import { findNode, nodeMajorMin } from "./find-node.mjs"

const installMajorMin = 20
const root = join(dirname(fileURLToPath(import.meta.url)), "..")

main()

function main() {
  if (Number(process.versions.node.split(".")[0]) < installMajorMin) {
    fail(
      `Tintype needs Node ${installMajorMin} or newer to install itself; this is ${process.versions.node}. Get it at https://nodejs.org`,
    )
  }
  if (installIsNeeded()) install()
  const node = findNode(root)
  if (!node) {
    fail(
      `Tintype runs on Node ${nodeMajorMin} or newer; this is ${process.versions.node}, and there is no packaged one for ` +
        `${process.platform} ${process.arch}. Install it from https://nodejs.org, then run this again.`,
    )
  }
  build(node)
}

/** npm writes node_modules/.package-lock.json at the end of an install: no such file, no whole install. */
function installIsNeeded() {
  const installed = join(root, "node_modules", ".package-lock.json")
  if (!existsSync(installed)) return true
  return statSync(installed).mtimeMs < statSync(join(root, "package-lock.json")).mtimeMs
}

function install() {
  console.log("Installing what package-lock.json names (npm ci, once) …")
  // NODE_ENV=production or an `omit` in a .npmrc would leave out the compiler or the packaged Node.
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"]
  args.push("--include=dev", "--include=optional")
  const result = runNpm(args)
  if (result.status === 0) return
  process.stderr.write(`${result.stdout || ""}${result.stderr || ""}`)
  fail("`npm ci` failed; what it said is above.")
}

function runNpm(args) {
  const options = { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }
  // The npm that runs this script, when there is one: the `npm` on the path may be another.
  const own = process.env.npm_execpath
  if (own && own.endsWith("npm-cli.js")) return spawnSync(process.execPath, [own, ...args], options)
  const shell = process.platform === "win32"
  return spawnSync("npm", args, Object.assign({ shell }, options))
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
