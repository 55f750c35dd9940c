// Installs what a folder's package-lock.json names. Syntax as in setup.mjs, which imports it.
import { spawnSync } from "child_process"
import { existsSync, statSync } from "fs"
import { join } from "path"

/** npm writes node_modules/.package-lock.json at the end of an install: no such file, no whole install. */
export function installIsNeeded(folder) {
  const installed = join(folder, "node_modules", ".package-lock.json")
  if (!existsSync(installed)) return true
  return statSync(installed).mtimeMs < statSync(join(folder, "package-lock.json")).mtimeMs
}

/** `npm ci`. Returns null, or what npm said when it failed. */
export function install(folder) {
  // NODE_ENV=production or an `omit` in a .npmrc would leave out the compiler or the packaged Node.
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"]
  args.push("--include=dev", "--include=optional")
  const result = runNpm(folder, args)
  return result.status === 0 ? null : `${result.stdout || ""}${result.stderr || ""}`
}

function runNpm(folder, args) {
  // ONNX Runtime would fetch CUDA from outside the registry; .npmrc says the same for an npm by hand, as long as npm hands it on.
  const env = Object.assign({ ONNXRUNTIME_NODE_INSTALL: "skip" }, process.env)
  const options = { cwd: folder, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }
  // The npm that runs this script, when there is one: the `npm` on the path may be another.
  const own = process.env.npm_execpath
  if (own && own.endsWith("npm-cli.js")) return spawnSync(process.execPath, [own, ...args], options)
  const shell = process.platform === "win32"
  return spawnSync("npm", args, Object.assign({ shell }, options))
}
