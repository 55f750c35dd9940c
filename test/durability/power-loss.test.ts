import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { audit } from "../crash/audit.ts"
import { Load, type Submission } from "../crash/load.ts"
import { killProcessesOf } from "../crash/processes.ts"
import { chooseSeed, seededRandom } from "../crash/randomness.ts"
import { ResultWatch } from "../crash/watch.ts"
import { startServerProcess, untilReady } from "../server-process.ts"
import { rollBack, type RollBack } from "./roll-back.ts"
import { compileShim, missingCompiler } from "./tools.ts"

const skip = missingCompiler("un-synced writes dropped at the kill")

describe.skipIf(skip !== null)("a loss of power (un-synced writes dropped at the kill)", () => {
  let folder: string
  let disk: string
  let data: string
  let shim: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "tintype-power-"))
    disk = join(folder, "disk")
    data = join(disk, "data")
    shim = join(folder, "drop-unsynced.so")
    await mkdir(disk)
    compileShim(join(import.meta.dirname, "drop-unsynced.c"), shim)
    // The runner dies with the power; nobody needs to wait for it to come back.
    await writeFile(
      join(folder, "tintype.config.ts"),
      "export default { timing: { resumeMs: 1_000 } }\n",
    )
  })

  afterEach(async () => {
    await killProcessesOf(data)
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  })

  it("loses nothing that was acknowledged, in rounds on one folder, bodies kept as blobs included", async () => {
    const random = seededRandom(chooseSeed("power loss"))
    const load = new Load({ connections: 16, submitsPerSecond: 200, next: submission })
    const watch = new ResultWatch(load.acknowledged)
    load.start()
    watch.start()
    for (let round = 1; round <= 4; round += 1) {
      const undone = await lifeAndLoss(load, watch, { round, lifeMs: 400 + random() * 1_200 })
      expect(undone.unseen).toBe(0)
      expect(undone.flushes).toBeGreaterThan(10)
      expect(undone.rangesUndone + undone.namesUndone).toBeGreaterThan(0)
    }
    await load.stop()
    await watch.stop()
    expect(load.acknowledged.length).toBeGreaterThan(100)
    expect(load.acknowledged.some(({ body }) => body.byteLength > 100_000)).toBe(true)
    expect(watch.seen.length).toBeGreaterThan(5)
    const last = await startServerProcess({ data, cwd: folder })
    expect(await audit(last.url, load.acknowledged, { deadlineMs: 40_000 })).toEqual([])
    expect(await watch.recheck(last.url)).toEqual([])
    expect(await last.kill("SIGTERM")).toBe(0)
  }, 90_000)

  it("would notice (the same disk, whose flushes are lies)", async () => {
    const load = new Load({ connections: 16, submitsPerSecond: 200, next: submission })
    const watch = new ResultWatch(load.acknowledged)
    load.start()
    await lifeAndLoss(load, watch, { round: 1, lifeMs: 500, lies: true })
    await load.stop()
    expect(load.acknowledged.length).toBeGreaterThan(20)
    const last = await startServerProcess({ data, cwd: folder })
    const lost = await audit(last.url, load.acknowledged, { deadlineMs: 20_000 })
    console.log(`lying flushes lost ${lost.length} of ${load.acknowledged.length} acknowledged`)
    expect(lost.length).toBeGreaterThan(0)
    await last.kill("SIGTERM")
  }, 60_000)

  interface Loss {
    round: number
    /** From the first acknowledgement to the loss. */
    lifeMs: number
    lies?: boolean
  }

  /** A server under the shim, killed together with its runner in the middle of the load; then its disk is rolled back. */
  async function lifeAndLoss(load: Load, watch: ResultWatch, loss: Loss): Promise<RollBack> {
    const journal = join(folder, `journal-${loss.round}`)
    const env = {
      LD_PRELOAD: shim,
      DROP_FOLDER: disk,
      DROP_JOURNAL: journal,
      DROP_LIE: loss.lies === true ? "1" : "0",
    }
    const server = await startServerProcess({ data, env, cwd: folder })
    await untilReady(server.url)
    const before = load.acknowledged.length
    load.aim(server.url)
    watch.aim(server.url)
    await load.untilAcknowledged(before + 1)
    await sleep(loss.lifeMs)
    await server.kill("SIGKILL")
    load.aim(null)
    watch.aim(null)
    await killProcessesOf(data)
    const undone = await rollBack(disk, journal)
    console.log(`round ${loss.round}, ${load.acknowledged.length - before} acknowledged`, undone)
    return undone
  }
})

/** Every eighth body is of 100 KB, and so a blob. */
function submission(index: number): Submission {
  const padding = "p".repeat(index % 8 === 0 ? 100_000 : 100)
  const body = Buffer.from(`{"index": ${index}, "padding": "${padding}"}`)
  return { endpoint: "tintype/echo", body }
}
