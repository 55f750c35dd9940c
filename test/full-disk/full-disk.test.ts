import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { audit } from "../crash/audit.ts"
import { Load, type Submission } from "../crash/load.ts"
import { until } from "../crash/probe-calls.ts"
import { killProcessesOf } from "../crash/processes.ts"
import { ResultWatch } from "../crash/watch.ts"
import { recordResult } from "../reliability/results.ts"
import { spawnServerProcess, untilReady } from "../server-process.ts"
import { SmallDisk } from "./small-disk.ts"

const skip = SmallDisk.objection("a full disk")
const megabytes = 24
const apps = join(import.meta.dirname, "../apps/remote.ts")

describe.skipIf(skip !== null)(`a disk of ${megabytes} MB that fills up`, () => {
  let folder: string
  let disk: SmallDisk
  let data: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "full-"))
    disk = await SmallDisk.open(join(folder, "disk"), megabytes)
    data = join(folder, "disk", "data")
    await mkdir(join(folder, "work"))
  })

  afterEach(async () => {
    await killProcessesOf(data)
    await disk.close()
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  })

  const start = () =>
    spawnServerProcess({
      data,
      wrapper: disk.wrapper,
      cwd: join(folder, "work"),
      env: { TINTYPE_APPS: apps },
    })

  it("refuses with 429, reads on, says so, and goes on by itself; a restart meanwhile loses nothing either", async () => {
    const load = new Load({ connections: 8, submitsPerSecond: 60, next: submission })
    const watch = new ResultWatch(load.acknowledged)
    let server = await start().listening
    await untilReady(server.url)
    load.start()
    watch.start()
    load.aim(server.url)
    watch.aim(server.url)
    await load.untilAcknowledged(30)
    await until("a result is seen", async () => watch.seen.length > 5)

    disk.fill()
    await until("submits are refused", async () => load.refused.length >= 30)
    const told = await (await fetch(`${server.url}/health`)).json()
    expect(told).toMatchObject({ status: "ok", storage: "full" })
    const refused = await post(server.url, submission(0))
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0)
    expect(await refused.json()).toMatchObject({ error_type: "storage_full" })
    expect(await watch.recheck(server.url)).toEqual([])

    disk.empty()
    await load.untilAcknowledged(load.acknowledged.length + 30)
    await until("health is well", async () => {
      const health = (await (await fetch(`${server.url}/health`)).json()) as { storage: string }
      return health.storage === "ok"
    })

    // Killed while it is full: the next one starts on what is there, or says what it lacks.
    const before = load.refused.length
    disk.fill()
    await until("submits are refused again", async () => load.refused.length > before + 5)
    load.aim(null)
    watch.aim(null)
    await server.kill("SIGKILL")
    const cramped = start()
    const code = await Promise.race([cramped.listening.then(() => null), cramped.closed])
    if (code === null) await (await cramped.listening).kill("SIGKILL")
    expect([null, 2, 70]).toContain(code)
    expect(code === null ? "full" : cramped.stderr.join("\n")).toMatch(/full|no space/i)
    disk.empty()
    server = await start().listening
    load.aim(server.url)
    watch.aim(server.url)
    await load.untilAcknowledged(load.acknowledged.length + 10)
    await load.stop()
    await watch.stop()
    const others = load.refused.filter(({ status, text }) => {
      return status !== 429 || !text.includes("storage_full")
    })
    expect(others).toEqual([])
    expect(await audit(server.url, load.acknowledged, { deadlineMs: 30_000 })).toEqual([])
    expect(await watch.recheck(server.url)).toEqual([])
    expect(await server.kill("SIGTERM")).toBe(0)
    recordResult("full-disk", {
      megabytes,
      acknowledged: load.acknowledged.length,
      refused: load.refused.length,
    })
  }, 90_000)
})

/** Every fourth is kept as a blob, every fourth makes a file. */
function submission(index: number): Submission {
  if (index % 4 === 1) {
    const text = `file ${index} `.padEnd(10_000, "x")
    return { endpoint: "local/remote/sizes", body: Buffer.from(JSON.stringify({ text })) }
  }
  const padding = "p".repeat(index % 4 === 0 ? 60_000 : 2_000)
  return {
    endpoint: "tintype/echo",
    body: Buffer.from(`{"index": ${index}, "padding": "${padding}"}`),
  }
}

async function post(url: string, { endpoint, body }: Submission): Promise<Response> {
  const headers = { "content-type": "application/json" }
  return await fetch(`${url}/queue/${endpoint}`, {
    method: "POST",
    headers,
    body: new Uint8Array(body),
  })
}
