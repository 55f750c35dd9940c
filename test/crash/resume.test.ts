import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { spawnServerProcess, startServerProcess, untilReady } from "../server-process.ts"
import { downSuite } from "./down.suite.ts"
import {
  postProbe,
  withProbe,
  probeResult,
  probeStatus,
  readStarts,
  submitProbe,
  until,
  untilStarts,
} from "./probe-calls.ts"
import { identityPidOf, killProcessesOf, processesOf, runnersOf } from "./processes.ts"
import { readRequestRows } from "./request-rows.ts"

downSuite(5_000)

describe("attempts", () => {
  let folder: string
  let data: string
  let startsFile: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "tintype-resume-"))
    data = join(folder, "data")
    startsFile = join(folder, "starts")
    await writeFile(
      join(folder, "tintype.config.ts"),
      "export default { timing: { drainMs: 1_500 } }\n",
    )
  })

  afterEach(async () => {
    await killProcessesOf(data)
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  })

  /** Under the configuration above, with the probe ready. */
  async function start() {
    const server = await startServerProcess({ data, cwd: folder, env: withProbe })
    await untilReady(server.url)
    return server
  }

  describe("when the server is stopped with SIGTERM", () => {
    it("end in peace if they are shorter than drainMs: one start, and exit code 0", async () => {
      const server = await start()
      const id = await submitProbe(server.url, { starts_file: startsFile, duration_ms: 800 })
      await untilStarts(startsFile, 1)
      expect(await server.kill("SIGTERM")).toBe(0)
      expect(await processesOf(data)).toEqual([])
      expect(readRequestRows(data)).toMatchObject([{ state: "succeeded", attempts: 1 }])
      const again = await start()
      expect(await (await probeResult(again.url, id)).json()).toEqual({ attempt: 1, lines: 0 })
      expect(await readStarts(startsFile)).toEqual([`${id} 1`])
      await again.kill("SIGTERM")
    })

    it("are ended and go back uncounted if they are longer; they start again with the server", async () => {
      const server = await start()
      const id = await submitProbe(server.url, { starts_file: startsFile, duration_ms: 4_000 })
      await untilStarts(startsFile, 1)
      const stoppedAt = performance.now()
      expect(await server.kill("SIGTERM")).toBe(0)
      const tookMs = performance.now() - stoppedAt
      expect(tookMs).toBeGreaterThan(1_400)
      expect(tookMs).toBeLessThan(3_500)
      expect(await processesOf(data)).toEqual([])
      expect(readRequestRows(data)).toMatchObject([
        { state: "queued", attempts: 1, attemptsCounted: 0 },
      ])
      const again = await start()
      const result = await probeResult(again.url, id)
      expect(result.status).toBe(200)
      expect(await result.json()).toEqual({ attempt: 2, lines: 0 })
      expect(await readStarts(startsFile)).toEqual([`${id} 1`, `${id} 2`])
      expect(readRequestRows(data)).toMatchObject([
        { state: "succeeded", attempts: 2, attemptsCounted: 1 },
      ])
      const { logs } = await probeStatus(again.url, id)
      const notes = logs!.filter(({ labels }) => labels["source"] === "gateway")
      expect(notes.map(({ message }) => message)).toEqual([expect.stringMatching(/the server/)])
      await again.kill("SIGTERM")
    })
  })

  it("lost with their runner go back to the queue, and answer 503 on the run door", async () => {
    const server = await start()
    const [runner] = await runnersOf(data)
    const input = { starts_file: startsFile, duration_ms: 1_500 }
    const id = await submitProbe(server.url, input)
    const running = postProbe(server.url, "run", input)
    await untilStarts(startsFile, 2)
    process.kill(runner!.pid, "SIGKILL")

    const lost = await running
    expect(lost.status).toBe(503)
    expect(lost.headers.get("x-fal-needs-retry")).toBe("1")
    expect(await lost.json()).toMatchObject({ error_type: "runner_disconnected" })
    const result = await probeResult(server.url, id)
    expect(result.status).toBe(200)
    expect(await result.json()).toEqual({ attempt: 2, lines: 0 })
    expect((await readStarts(startsFile)).filter((line) => line.startsWith(id))).toHaveLength(2)
    expect(readRequestRows(data)).toContainEqual(
      expect.objectContaining({ id, state: "succeeded", attempts: 2, attemptsCounted: 2 }),
    )
    const runners = await runnersOf(data)
    expect(runners).toHaveLength(1)
    expect(runners[0]!.pid).not.toBe(runner!.pid)
    expect(await identityPidOf(runners[0]!)).toBe(runners[0]!.pid)
    expect(await server.kill("SIGTERM")).toBe(0)
  })

  it("of the run door end as client_disconnected when the server dies with their caller's connection", async () => {
    const server = await start()
    const input = { starts_file: startsFile, duration_ms: 3_000 }
    const open = postProbe(server.url, "run", input).then(
      (answer) => answer.status,
      () => "cut off",
    )
    await untilStarts(startsFile, 1)
    await server.kill("SIGKILL")
    expect(await open).toBe("cut off")
    const again = await start()
    const [row] = readRequestRows(data)
    expect(row).toMatchObject({ door: "run", state: "cancelled", attempts: 1 })
    expect(await probeStatus(again.url, row!.id)).toMatchObject({
      status: "COMPLETED",
      error_type: "client_disconnected",
    })
    expect((await probeResult(again.url, row!.id)).status).toBe(499)
    // The attempt of a caller who is gone is ended, not waited for.
    const next = await submitProbe(again.url, {})
    expect((await probeResult(again.url, next)).status).toBe(200)
    expect(await runnersOf(data)).toHaveLength(1)
    await again.kill("SIGTERM")
  })

  it("of a runner that died while the server was down are lost at once, not after resumeMs", async () => {
    const server = await start()
    const id = await submitProbe(server.url, { starts_file: startsFile, duration_ms: 500 })
    await untilStarts(startsFile, 1)
    await server.kill("SIGKILL")
    await killProcessesOf(data)
    const again = await start()
    const result = await fetch(`${again.url}/queue/test/probe/requests/${id}`, {
      headers: { prefer: "wait=8" },
    })
    expect(await result.json()).toEqual({ attempt: 2, lines: 0 })
    await again.kill("SIGTERM")
  })
})

describe("a start that cannot go on says why in one line and exits 2", () => {
  let folder: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "tintype-start-"))
  })

  afterEach(async () => {
    await killProcessesOf(folder)
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  })

  it("a data folder that another server holds, with its pid", async () => {
    const data = join(folder, "data")
    const holder = await startServerProcess({ data })
    const second = spawnServerProcess({ data })
    expect(await second.closed).toBe(2)
    expect(second.stderr).toHaveLength(1)
    expect(second.stderr[0]).toContain(`process ${holder.child.pid}`)
    expect(second.stderr[0]).toContain(data)
    await until("the holder still answers", async () => (await fetch(`${holder.url}/health`)).ok)
    await holder.kill("SIGTERM")
  })

  it("a database that is none, with its path", async () => {
    const data = join(folder, "data")
    await mkdir(data)
    await writeFile(join(data, "tintype.sqlite"), "no database\n")
    const server = spawnServerProcess({ data })
    expect(await server.closed).toBe(2)
    expect(server.stderr).toEqual([
      `Cannot open ${join(data, "tintype.sqlite")}: file is not a database`,
    ])
  })

  it("a port that is taken, with its number", async () => {
    const holder = await startServerProcess({ data: join(folder, "one") })
    const { port } = new URL(holder.url)
    const second = spawnServerProcess({ data: join(folder, "two"), args: ["--port", port] })
    expect(await second.closed).toBe(2)
    expect(second.stderr).toHaveLength(1)
    expect(second.stderr[0]).toContain(port)
    expect(await processesOf(join(folder, "two"))).toEqual([])
    await holder.kill("SIGTERM")
  })
})
