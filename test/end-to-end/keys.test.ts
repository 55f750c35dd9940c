import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"
import { resolve } from "node:path"
import { ApiError, createFalClient, type QueueStatus } from "@fal-ai/client"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { officialClient } from "../official-client.ts"
import {
  makeDataFolder,
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "../server-process.ts"

const bin = resolve(import.meta.dirname, "../../packages/cli/bin/tintype.js")

interface Ran {
  code: number
  out: string
  err: string
}

/** Runs `tintype keys …` as a person on the server's machine would. */
function keys(args: string[], env: Record<string, string> = {}): Promise<Ran> {
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      [bin, "keys", ...args],
      { env: { ...process.env, TINTYPE_KEY: "", TINTYPE_URL: "", TINTYPE_DATA: "", ...env } },
      (_, out, err) => done({ code: child.exitCode ?? -1, out, err }),
    )
  })
}

async function create(server: ServerProcess, ...args: string[]): Promise<string> {
  const where = ["--url", server.url, "--data", server.data]
  const { out } = await keys(["create", "--scope", "api", "--name", "t", ...where, ...args])
  expect(out).toMatch(/^[0-9a-f-]{36}:[0-9a-f]{64}\n$/)
  return out.trim()
}

async function caught(promise: Promise<unknown>): Promise<ApiError<unknown>> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  )
  if (error instanceof ApiError) return error
  throw new Error(`no ApiError: ${String(error)}`)
}

describe("keys and accounts on the built server", () => {
  let server: ServerProcess

  beforeAll(async () => {
    server = await startServerProcess({ args: ["--apps", "./test/apps/probe.ts"] })
    await untilReady(server.url)
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  it("two accounts never see each other's requests, results and logs", async () => {
    const open = officialClient(server.url)
    const before = await open.fal.queue.submit("tintype/echo", { input: { from: "open mode" } })
    const clients = [
      officialClient(server.url, await create(server, "--account", "acme")),
      officialClient(server.url, await create(server, "--account", "globex")),
    ] as const
    const [acme, globex] = clients
    const { requestId } = await acme.fal.subscribe("tintype/echo", {
      input: { secret: 1 },
      logs: true,
    })
    for (const [fal, id] of [
      [globex.fal, requestId],
      [globex.fal, before.request_id],
      [acme.fal, before.request_id],
    ] as const) {
      const calls = [
        fal.queue.status("tintype/echo", { requestId: id, logs: true }),
        fal.queue.result("tintype/echo", { requestId: id }),
        fal.queue.cancel("tintype/echo", { requestId: id }),
      ]
      for (const call of calls) expect(await caught(call)).toMatchObject({ status: 404 })
    }
    const own = await acme.fal.queue.result("tintype/echo", { requestId })
    expect(own.data).toMatchObject({ secret: 1 })
    const local = officialClient(server.url, await create(server))
    const old = await local.fal.queue.result("tintype/echo", { requestId: before.request_id })
    expect(old.data).toMatchObject({ from: "open mode" })
    // No key: open mode ended with the first one.
    expect(await caught(open.fal.run("tintype/echo", { input: {} }))).toMatchObject({
      status: 401,
      body: { detail: "invalid key credentials" },
    })
    // An app of the server's own is private to local.
    const probe = { input: { lines: 1 } }
    expect(await caught(acme.fal.run("test/probe", probe))).toMatchObject({ status: 403 })
    expect((await local.fal.run("test/probe", probe)).data).toMatchObject({ lines: 1 })
  })

  it("a client that has its key in two variables gets in", async () => {
    const [id, secret] = (await create(server)).split(":")
    vi.stubEnv("FAL_KEY_ID", id)
    vi.stubEnv("FAL_KEY_SECRET", secret)
    const fal = createFalClient({
      proxyUrl: { url: `${server.url}/api/fal/proxy`, when: "always" },
      retry: { maxRetries: 0 },
    })
    const { data } = await fal.run("tintype/echo", { input: { from: "two variables" } })
    expect(data).toEqual({ from: "two variables" })
    vi.stubEnv("FAL_KEY_SECRET", "wrong")
    expect(await caught(fal.run("tintype/echo", { input: {} }))).toMatchObject({ status: 401 })
    vi.unstubAllEnvs()
  })

  it("a revoked key ends a status stream and a waiting run within a second", async () => {
    const key = await create(server)
    const { fal } = officialClient(server.url, key)
    const input = { duration_ms: 60_000, starts_file: `${server.data}/starts` }
    const { request_id: requestId } = await fal.queue.submit("test/probe", { input })
    const stream = await fal.queue.streamStatus("test/probe", { requestId })
    const first = Promise.withResolvers<QueueStatus>()
    stream.on("data", (status) => first.resolve(status))
    await first.promise
    const streamed = stream.done().then(
      () => "ended",
      () => "ended",
    )
    const run = fetch(`${server.url}/run/test/probe`, {
      method: "POST",
      headers: { authorization: `Key ${key}`, "content-type": "application/json" },
      body: JSON.stringify(input),
    }).then(
      () => "answered",
      () => "closed",
    )
    const starts = async () => (await readFile(input.starts_file, "utf8")).trim().split("\n")
    await expect.poll(starts, { timeout: 5_000 }).toHaveLength(2)
    const where = ["--url", server.url, "--data", server.data]
    const { code, out } = await keys(["revoke", key.split(":")[0]!, ...where])
    expect([code, out.trim()]).toEqual([0, key.split(":")[0]])
    const revokedAt = performance.now()
    expect(await Promise.all([run, streamed])).toEqual(["closed", "ended"])
    expect(performance.now() - revokedAt).toBeLessThan(1_000)
    expect(await caught(fal.queue.status("test/probe", { requestId }))).toMatchObject({
      status: 401,
    })
    const other = officialClient(server.url, await create(server))
    await other.fal.queue.cancel("test/probe", { requestId })
  })

  it("list shows who has what, and no secret", async () => {
    const key = await create(server, "--account", "listed", "--concurrency-max", "3")
    const where = ["--url", server.url, "--data", server.data]
    const { out } = await keys(["list", ...where])
    const [id, secret] = key.split(":")
    expect(out).toMatch(new RegExp(`^${id} +api +listed .* active +t$`, "m"))
    expect(out).not.toContain(secret)
    const json = JSON.parse((await keys(["list", "--json", ...where])).out) as object[]
    expect(json).toContainEqual(
      expect.objectContaining({
        key_id: id,
        limits: expect.objectContaining({ concurrency_max: 3 }),
      }),
    )
  })

  it("says what is wrong: no secret, another server's, a remote server, a bad word", async () => {
    const other = await makeDataFolder()
    const none = await keys(["list", "--url", server.url, "--data", other])
    expect([none.code, none.err]).toEqual([1, expect.stringContaining("--data")])
    const wrong = await keys(["create", "--url", server.url, "--data", server.data])
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("--scope")])
    const scope = await keys([
      "create",
      "--scope",
      "root",
      "--url",
      server.url,
      "--data",
      server.data,
    ])
    expect([scope.code, scope.err]).toEqual([1, expect.stringContaining("scope must be one of")])
    const word = await keys(["creat"])
    expect([word.code, word.err]).toEqual([2, expect.stringContaining("did you mean create?")])
    const api = await create(server)
    const denied = await keys(["list", "--url", server.url, "--data", other], { TINTYPE_KEY: api })
    expect([denied.code, denied.err]).toEqual([1, expect.stringContaining("403")])
    await removeDataFolder(other)
  })
})

describe("keys without a server", () => {
  it("opens the data folder; a server bound elsewhere then starts, and stays closed without one", async () => {
    const data = await makeDataFolder()
    // Nothing listens on the port of the discard service.
    const own = ["--data", data, "--url", "http://127.0.0.1:9"]
    expect((await keys(["list", ...own])).err).toContain("No server answers")
    const env = { TINTYPE_PUBLIC_URL: "" }
    const refused = startServerProcess({ data, args: ["--host", "0.0.0.0"] })
    await expect(refused).rejects.toThrow(/tintype keys create/)
    const made = await keys(["create", "--scope", "admin", "--name", "first", "--data", data], env)
    expect([made.code, made.out]).toEqual([0, expect.stringMatching(/^\S+:\S+\n$/)])
    const key = made.out.trim()
    const server = await startServerProcess({ data, args: ["--host", "0.0.0.0"] })
    const url = server.url.replace("0.0.0.0", "127.0.0.1")
    const status = async (authorization: string) =>
      (await fetch(`${url}/v1/models`, { headers: { authorization } })).status
    expect([await status(""), await status(`Key ${key}`)]).toEqual([401, 200])
    const listed = await keys(["list", "--url", url, "--data", "/nonexistent"], {
      TINTYPE_KEY: key,
    })
    expect(listed.out).toContain("first")
    const revoked = await keys(["revoke", key, "--url", url, "--data", data])
    expect([revoked.code, revoked.err]).toEqual([0, "Revoked.\n"])
    expect([await status(""), await status(`Key ${key}`)]).toEqual([401, 401])
    expect(JSON.stringify(server.log)).not.toContain(key.split(":")[1])
    await server.kill("SIGTERM")
    await removeDataFolder(data)
  })
})

describe("a limit of concurrency on the built server", () => {
  it("the queue waits and stays in order, run is 429, and what ends lets the next one start at once", async () => {
    const server = await startServerProcess({
      args: ["--apps", resolve(import.meta.dirname, "../apps/probe.ts"), "--runner-slots", "4"],
      config: { limits: { concurrencyMax: 1 } },
    })
    await untilReady(server.url)
    const { fal } = officialClient(server.url)
    const starts = `${server.data}/starts`
    const input = { starts_file: starts, duration_ms: 300 }
    const ids: string[] = []
    for (let index = 0; index < 4; index += 1) {
      ids.push((await fal.queue.submit("test/probe", { input })).request_id)
    }
    // Not with the client: it repeats a 429 until there is room.
    const refused = await fetch(`${server.url}/run/test/probe`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(input),
    })
    expect([refused.status, refused.headers.get("x-fal-needs-retry")]).toEqual([429, "1"])
    expect(await refused.json()).toMatchObject({ error_type: "concurrent_requests_limit" })
    const startedAt = performance.now()
    for (const requestId of ids) {
      await fal.queue.subscribeToStatus("test/probe", { requestId, pollInterval: 20 })
    }
    // Four of 300 ms one after the other; a start that waited for a look into the store would add a second each.
    expect(performance.now() - startedAt).toBeLessThan(3_000)
    const lines = (await readFile(starts, "utf8")).trim().split("\n")
    expect(lines).toEqual(ids.map((id) => `${id} 1`))
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })
})
