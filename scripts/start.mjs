// `npm start`: the server under its launcher. Arguments go through: `npm start -- --port 4000`.
import { dirname, join } from "path"
import { fileURLToPath } from "url"
import { findNode, nodeMajorMin } from "./find-node.mjs"
import { launch } from "./launch.mjs"

const root = join(dirname(fileURLToPath(import.meta.url)), "..")
const node = findNode(root)
if (node === null) {
  console.error(`Tintype runs on Node ${nodeMajorMin} or newer; this is ${process.versions.node}.`)
  process.exit(1)
}
const program = join(root, "packages", "cli", "bin", "tintype.js")
process.exitCode = await launch(node, [program, "serve", ...process.argv.slice(2)])
