import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { cpuMsOf, findFreePort, Processes, residentBytesOf } from "./processes.ts"

const skip = process.platform === "linux" ? null : "there is no /proc to read it from"
if (skip !== null) console.log(`skipped: what processes take (${skip})`)

const stayAlive = "setInterval(() => {}, 1000)"

describe("processes of the bench", () => {
  let folder: string
  let processes: Processes

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "bench-"))
    processes = new Processes()
  })

  afterEach(async () => {
    await processes.endAll(folder)
    rmSync(folder, { recursive: true })
  })

  function startNode(script: string, ...args: string[]) {
    return processes.start(process.execPath, { args: ["-e", script, ...args] })
  }

  test("are ready with the line that is waited for, also when it was printed before", async () => {
    const started = startNode(`console.log("port 17"); ${stayAlive}`)
    expect((await started.untilLine(/^port (\d+)$/))[1]).toBe("17")
    expect((await started.untilLine(/^port (\d+)$/))[1]).toBe("17")
  })

  test("that end instead of getting ready are told of with what they printed", async () => {
    const started = startNode(`console.error("no such setting"); process.exit(3)`)
    await expect(started.untilLine(/^ready$/)).rejects.toThrow("no such setting")
  })

  test.skipIf(skip !== null)("end with the bench, and what they left behind, too", async () => {
    // It leaves a process of a group of its own, as the product's server leaves its runner.
    const script = `
      const { spawn } = require("node:child_process")
      const options = { detached: true, stdio: "ignore" }
      const left = spawn(process.execPath, ["-e", ${JSON.stringify(stayAlive)}, process.argv[1]], options)
      left.once("spawn", () => console.log("left " + left.pid))
      ${stayAlive}`
    const started = startNode(script, folder)
    const left = Number((await started.untilLine(/^left (\d+)$/))[1])
    await started.end("SIGKILL")
    expect(isAlive(left)).toBe(true)
    await processes.endAll(folder)
    await expect.poll(() => isAlive(left)).toBe(false)
    expect(started.ended).toBe(true)
  })

  test.skipIf(skip !== null)("are counted with all below them", async () => {
    const script = `
      const { spawn } = require("node:child_process")
      const busy = "while (process.cpuUsage().user < 300_000); console.log('done'); ${stayAlive}"
      spawn(process.execPath, ["-e", busy, process.argv[1]], { stdio: "inherit" })`
    const started = startNode(script, folder)
    await started.untilLine(/^done$/)
    expect(cpuMsOf([started.pid])).toBeGreaterThanOrEqual(250)
    const both = residentBytesOf([started.pid])
    expect(both).toBeGreaterThan(60e6)
  })
})

/** A corpse has an empty command line. */
function isAlive(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8") !== ""
  } catch {
    return false
  }
}

test("free ports are free, and differ", async () => {
  const ports = [await findFreePort(), await findFreePort()]
  expect(new Set(ports).size).toBe(2)
})
