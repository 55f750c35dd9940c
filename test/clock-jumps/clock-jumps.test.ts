import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { openSync, writeSync, closeSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { probeResult, readStarts, submitProbe, until, untilStarts } from "../crash/probe-calls.ts"
import { killProcessesOf } from "../crash/processes.ts"
import { compileShim, missingCompiler } from "../durability/tools.ts"
import { recordResult } from "../reliability/results.ts"
import { type ServerProcess, startServerProcess, untilReady } from "../server-process.ts"

const skip = missingCompiler("a wall clock that jumps")
const hourMs = 3_600_000
const apps = ["probe", "faults"].map((name) => join(import.meta.dirname, `../apps/${name}.ts`))
const config = {
  timing: { leaseMs: 2_000, renewEveryMs: 300, retryMinMs: 300, retryMaxMs: 500, dueEveryMs: 300 },
  webhooks: { retryBaseMs: 200, retryDelayMaxMs: 400, pollEveryMs: 100 },
}
/** How often the receiver fails before it takes a webhook. */
const failures = 2

describe.skipIf(skip !== null)("a wall clock that jumps", () => {
  let folder: string
  let data: string
  let server: ServerProcess
  let receiver: Server
  let timestamps: number[]
  let jumps = 0

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "clock-"))
    data = join(folder, "data")
    compileShim(join(import.meta.dirname, "shift-clock.c"), join(folder, "shift-clock.so"))
    await writeFile(join(folder, "shift"), Buffer.alloc(8))
    await writeFile(join(folder, "tintype.config.ts"), `export default ${JSON.stringify(config)}\n`)
    timestamps = []
    receiver = createServer((call, answer) => {
      timestamps.push(Number(call.headers["x-fal-webhook-timestamp"]) * 1_000)
      answer.statusCode = timestamps.length <= failures ? 500 : 200
      call.resume().on("end", () => answer.end())
    })
    await once(receiver.listen(0, "127.0.0.1"), "listening")
  })

  afterEach(async () => {
    await killProcessesOf(data)
    receiver.close()
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  })

  const start = async () => {
    const env = {
      LD_PRELOAD: join(folder, "shift-clock.so"),
      SHIFT_FILE: join(folder, "shift"),
      TINTYPE_APPS: apps.join(","),
    }
    server = await startServerProcess({ data, env, cwd: folder })
    await untilReady(server.url)
  }

  /** In place: it is mapped. */
  function shiftTo(ms: number): void {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(BigInt(ms))
    const file = openSync(join(folder, "shift"), "r+")
    writeSync(file, bytes)
    closeSync(file)
    jumps += 1
    recordResult("clock-jumps", { jumps, hours: 5 })
  }

  /** A request whose first two attempts fail for a time, so that it waits out two backoffs; its webhook is told twice in vain. */
  async function submitFaulty(): Promise<string> {
    const { port } = receiver.address() as AddressInfo
    const webhook = encodeURIComponent(`http://127.0.0.1:${port}/`)
    const answer = await fetch(`${server.url}/queue/test/faults?fal_webhook=${webhook}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ status: 503, times: 2, headers: { "x-fal-stop-runner": "0" } }),
    })
    expect(answer.status).toBe(200)
    return ((await answer.json()) as { request_id: string }).request_id
  }

  async function expectFaulty(id: string, shiftMs: number): Promise<void> {
    const url = `${server.url}/queue/test/faults/requests/${id}`
    const result = await fetch(url, { headers: { prefer: "wait=15" } })
    expect(await result.json()).toMatchObject({ attempt: 3 })
    await until("its webhook is delivered", async () => timestamps.length > failures)
    // What receivers hold against their own clock is the wall clock's time, whatever rows are ordered by.
    expect(Math.abs(timestamps.at(-1)! - (Date.now() + shiftMs))).toBeLessThan(30_000)
  }

  it.each([
    ["forward", 5 * hourMs],
    ["back", -5 * hourMs],
  ])(
    "%s by hours during attempts costs no attempt; backoffs and webhooks neither wait longer nor get lost",
    async (_, shiftMs) => {
      await start()
      const starts = join(folder, "starts")
      const id = await submitProbe(server.url, { starts_file: starts, duration_ms: 3_000 })
      const faulty = await submitFaulty()
      await untilStarts(starts, 1)
      shiftTo(shiftMs)
      const later = await submitProbe(server.url, { duration_ms: 100 })
      for (const one of [id, later]) {
        const result = await probeResult(server.url, one)
        expect(await result.json()).toMatchObject({ attempt: 1 })
      }
      expect(await readStarts(starts)).toEqual([`${id} 1`])
      await expectFaulty(faulty, shiftMs)
      expect(await server.kill("SIGTERM")).toBe(0)
    },
    40_000,
  )

  it("back by hours while the server is down holds up nothing that waited", async () => {
    shiftTo(5 * hourMs)
    await start()
    const faulty = await submitFaulty()
    await until("it waits for its next attempt", async () => {
      const answer = await fetch(`${server.url}/_/requests/${faulty}`)
      const { not_before: notBefore } = (await answer.json()) as { not_before: string | null }
      return notBefore !== null
    })
    await server.kill("SIGKILL")
    shiftTo(0)
    await start()
    await expectFaulty(faulty, 0)
    expect(await server.kill("SIGTERM")).toBe(0)
  }, 40_000)

  it("forward and back again leaves keys, results and files as they were", async () => {
    await start()
    const call = async () => {
      const headers = { "content-type": "application/json", "idempotency-key": "one" }
      const init = { method: "POST", headers, body: "{}" }
      const answer = await fetch(`${server.url}/queue/tintype/echo`, init)
      return ((await answer.json()) as { request_id: string }).request_id
    }
    const id = await call()
    for (const shiftMs of [5 * hourMs, -5 * hourMs, 0]) {
      shiftTo(shiftMs)
      expect(await call()).toBe(id)
      const url = `${server.url}/queue/tintype/echo/requests/${id}`
      const result = await fetch(url, { headers: { prefer: "wait=10" } })
      expect(result.status).toBe(200)
    }
    expect(await server.kill("SIGTERM")).toBe(0)
  }, 40_000)
})
