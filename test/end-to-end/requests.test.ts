import { execFile } from "node:child_process"
import { once } from "node:events"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import {
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "../server-process.ts"

const bin = resolve(import.meta.dirname, "../../packages/cli/bin/tintype.js")
const apps = ["faults.ts", "probe.ts"].map((name) => resolve(import.meta.dirname, "../apps", name))
const unknownId = "00000000-0000-4000-8000-000000000000"

interface Ran {
  code: number
  out: string
  err: string
}

interface Shown {
  state: string
  attempts: { runner: { pid: number } | null; reason: string | null }[]
  webhook: { state: string | null } | null
}

/** Runs `tintype requests …` as a person would. */
function requests(args: string[], env: Record<string, string> = {}): Promise<Ran> {
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      [bin, "requests", ...args],
      { env: { ...process.env, TINTYPE_KEY: "", TINTYPE_URL: "", TINTYPE_DATA: "", ...env } },
      (_, out, err) => done({ code: child.exitCode ?? -1, out, err }),
    )
  })
}

/** How a line names a runner, as a pattern. */
function runner(pid: number | undefined): string {
  return `runner ${pid} \\(up [\\d.]+ m?s, build [0-9a-f]{8}\\)`
}

/** A receiver whose first answer is 500. */
async function openReceiver(): Promise<{ server: Server; url: string }> {
  let calls = 0
  const server = createServer((request, response) => {
    request.resume()
    response.statusCode = calls++ === 0 ? 500 : 200
    response.end()
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` }
}

describe("tintype requests, on the built server", () => {
  let server: ServerProcess

  beforeAll(async () => {
    server = await startServerProcess({
      args: ["--apps", apps.join(","), "--runner-slots", "2"],
      config: { webhooks: { retryBaseMs: 100, pollEveryMs: 50 } },
    })
    await untilReady(server.url)
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  async function submit(path: string, input: object = {}): Promise<string> {
    const response = await fetch(`${server.url}/queue/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(input),
    })
    return ((await response.json()) as { request_id: string }).request_id
  }

  /** The route's answer, as soon as it fits. */
  async function shown(id: string, fits: (request: Shown) => boolean): Promise<Shown> {
    for (;;) {
      const request = (await (await fetch(`${server.url}/_/requests/${id}`)).json()) as Shown
      if (fits(request)) return request
      await sleep(20)
    }
  }

  const env = () => ({ TINTYPE_URL: server.url })

  it("show tells a life with a killed runner and a webhook that failed once, in order", async () => {
    const receiver = await openReceiver()
    const hook = encodeURIComponent(`${receiver.url}?token=hidden`)
    const id = await submit(`test/probe?fal_webhook=${hook}`, { duration_ms: 1_500 })
    const running = await shown(id, ({ state }) => state === "running")
    const pid = running.attempts[0]?.runner?.pid ?? 0
    process.kill(pid, "SIGKILL")
    const done = await shown(id, ({ webhook }) => webhook?.state === "delivered")
    const next = done.attempts[1]?.runner?.pid
    expect(next).not.toBe(pid)
    const { code, out, err } = await requests(["show", id], env())
    expect([code, err]).toEqual([0, ""])
    const [head, , hookLine, gap, ...lines] = out.split("\n")
    expect(head).toMatch(new RegExp(`^${id} {2}succeeded after \\d+\\.\\d s$`))
    expect([hookLine, gap]).toEqual([`webhook ${receiver.url}?redacted`, ""])
    const stamp = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} +\+[\d.]+ m?s {2}/
    const expected = [
      /^queued$/,
      new RegExp(`^attempt 1 on ${runner(pid)}, after [\\d.]+ m?s in the queue$`),
      /^attempt 1 lost after [\d.]+ m?s: its runner died or was cut off$/,
      new RegExp(`^attempt 2 on ${runner(next)}, retried after [\\d.]+ m?s$`),
      /^attempt 2 answered 200 in \d\.\d s$/,
      /^webhook try 1 answered 500 in [\d.]+ m?s$/,
      /^webhook try 2 answered 200 in [\d.]+ m?s$/,
      /^webhook delivered$/,
      /^$/,
    ]
    expect(lines.map((line) => line.replace(stamp, ""))).toEqual(
      expected.map((text) => expect.stringMatching(text)),
    )
    const json = await requests(["show", id, "--json"], env())
    expect(JSON.parse(json.out)).toEqual(done)
    expect(json.out + out).not.toContain("hidden")
    receiver.server.close()
  })

  it("show says what is so now, of one that runs and of one that waits behind it", async () => {
    const running = [
      await submit("test/probe", { duration_ms: 60_000 }),
      await submit("test/probe", { duration_ms: 60_000 }),
    ]
    for (const id of running) await shown(id, ({ state }) => state === "running")
    const waiting = await submit("test/probe")
    const [runs, waits] = [
      await requests(["show", running[0]!], env()),
      await requests(["show", waiting], env()),
    ]
    expect(runs.out).toMatch(/\nnow {20} +\+\S+ m?s {2}attempt 1 runs, for \S+ m?s by now\n$/)
    expect(waits.out).toMatch(/\nnow {20} +\+\S+ m?s {2}next in its queue\n$/)
    for (const id of [waiting, ...running]) {
      await fetch(`${server.url}/queue/test/probe/requests/${id}/cancel`, { method: "PUT" })
      await shown(id, ({ state }) => state === "cancelled")
    }
  })

  it("list is a table that fits, by state and endpoint, and goes on where it stopped", async () => {
    const ids = [await submit("test/faults", { status: 400 }), await submit("tintype/echo")]
    for (const id of ids) {
      await shown(id, ({ state }) => state === "succeeded" || state === "failed")
    }
    const all = await requests(["list"], env())
    const [header, echo, faults] = all.out.split("\n")
    expect(header).toMatch(/^ID {36}STATE +AGE +TOOK +TRIES +ENDPOINT$/)
    expect(echo).toMatch(new RegExp(`^${ids[1]} {2}succeeded +\\d+ s +\\S+ m?s +1 +tintype/echo$`))
    expect(faults).toMatch(new RegExp(`^${ids[0]} {2}failed 400 +\\d+ s +.* test/faults$`))
    for (const line of all.out.split("\n")) expect(line.length).toBeLessThanOrEqual(100)
    const failed = await requests(["list", "--state", "failed"], env())
    expect(failed.out.trim().split("\n")).toHaveLength(2)
    const first = await requests(["list", "--limit", "1"], env())
    const cursor = /--cursor (\S+)/.exec(first.err)?.[1] ?? ""
    const rest = await requests(["list", "--cursor", cursor, "--json"], env())
    const page = JSON.parse(rest.out) as { requests: { request_id: string }[] }
    expect(page.requests[0]?.request_id).toBe(ids[0])
    const none = await requests(["list", "--endpoint", "tintype/none"], env())
    expect(none).toMatchObject({ code: 0, out: expect.stringMatching(/^ID .*\n$/) })
  })

  it("a request that is unknown, a wrong state and a server that is not there are said in a line", async () => {
    expect(await requests(["show", unknownId], env())).toEqual({
      code: 1,
      out: "",
      err: `Request ${unknownId} not found (404)\n`,
    })
    const wrong = await requests(["list", "--state", "done"], env())
    expect(wrong).toMatchObject({ code: 1, err: expect.stringMatching(/^state is one of queued/) })
    expect(await requests(["list", "--url", "http://127.0.0.1:9"])).toEqual({
      code: 1,
      out: "",
      err: "No server answers at http://127.0.0.1:9\n",
    })
  })

  it("once the server has keys, the data folder's secret or a key is what shows them", async () => {
    const id = await submit("tintype/echo")
    const key = await makeKey("globex")
    expect((await requests(["show", id, "--data", server.data], env())).code).toBe(0)
    const other = { ...env(), TINTYPE_KEY: key }
    expect(await requests(["show", id], other)).toMatchObject({ code: 1 })
    expect((await requests(["list"], other)).out).toMatch(/^ID .*\n$/)
    const nobody = await requests(["show", id, "--data", "/nonexistent"], env())
    expect(nobody).toMatchObject({ code: 1, err: expect.stringMatching(/Set TINTYPE_KEY/) })
  })

  function makeKey(account: string): Promise<string> {
    const where = ["--url", server.url, "--data", server.data, "--account", account]
    return new Promise((made, reject) => {
      execFile(
        process.execPath,
        [bin, "keys", "create", "--scope", "api", ...where],
        (error, out) => (error === null ? made(out.trim()) : reject(error)),
      )
    })
  }
})
