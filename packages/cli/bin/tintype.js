#!/usr/bin/env node
// Checks the Node version before anything that an old Node could not parse is loaded; hence the old syntax.
import { spawn, spawnSync } from "child_process"
import { existsSync } from "fs"
import { constants } from "os"
import { dirname, join } from "path"
import { fileURLToPath } from "url"

const nodeMajorMin = 24
const here = dirname(fileURLToPath(import.meta.url))

if (majorOf(process.version) >= nodeMajorMin) runHere()
else runElsewhere()

function runHere() {
  import("../dist/main.js").then(
    ({ main }) => main(process.argv.slice(2)).then(finish),
    (error) => {
      if (error.code !== "ERR_MODULE_NOT_FOUND" || existsSync(join(here, "../dist/main.js")))
        throw error
      console.error(
        "Tintype is not built yet: run `npm start` or `npm run build` in its folder first.",
      )
      process.exitCode = 1
    },
  )
}

/** Output is flushed by ending of our own accord; a connection that a server holds open must not keep us. */
function finish(code) {
  process.exitCode = code
  setTimeout(() => process.exit(), 2000).unref()
}

/** This Node is too old, but the workspace or the installation may bring its own. */
function runElsewhere() {
  const packaged = [join(here, "../../../node_modules/.bin/node"), join(here, "../../.bin/node")]
  const node = packaged.find((path) => existsSync(path) && isNewEnough(path))
  if (node === undefined) {
    console.error(
      `Tintype runs on Node ${nodeMajorMin} or newer; this is ${process.versions.node}. Get it at https://nodejs.org`,
    )
    process.exitCode = 1
    return
  }
  const child = spawn(node, process.argv.slice(1), { stdio: "inherit" })
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal))
  child.on("exit", (code, signal) => {
    process.exit(signal === null ? code : 128 + constants.signals[signal])
  })
}

function isNewEnough(command) {
  const result = spawnSync(command, ["--version"], { encoding: "utf8" })
  return result.status === 0 && majorOf(result.stdout) >= nodeMajorMin
}

function majorOf(version) {
  return Number(version.trim().replace(/^v/, "").split(".")[0])
}
