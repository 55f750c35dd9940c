import { execFile } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { readFile, writeFile } from "node:fs/promises"
import { request as httpRequest } from "node:http"
import { createServer, type AddressInfo } from "node:net"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { officialClient } from "../official-client.ts"
import { type RunnerProcess, startRunnerProcess } from "../runner-process.ts"
import {
  makeDataFolder,
  removeDataFolder,
  type ServerProcess,
  startServerProcess,
} from "../server-process.ts"

const bin = resolve(import.meta.dirname, "../../packages/cli/bin/tintype.js")
const app = resolve(import.meta.dirname, "../apps/remote.ts")
const otherApp = resolve(import.meta.dirname, "../apps/probe.ts")
const leaseMs = 2_000
const config = {
  runner: { local: false },
  apps: [app],
  timing: { leaseMs, renewEveryMs: 500, retryMinMs: 20, retryMaxMs: 50, drainMs: 10_000 },
}

const runners: RunnerProcess[] = []

function run(
  key: string,
  { url = "", apps = [app], slots = 1 }: { url?: string; apps?: string[]; slots?: number } = {},
): RunnerProcess {
  const args = ["--url", url, "--slots", String(slots), ...apps.flatMap((one) => ["--app", one])]
  const runner = startRunnerProcess(args, { TINTYPE_KEY: key })
  runners.push(runner)
  return runner
}

afterEach(async () => {
  for (const { child, closed } of runners.splice(0)) {
    child.kill("SIGKILL")
    await closed
  }
})

async function makeKey(server: ServerProcess, ...args: string[]): Promise<string> {
  const where = ["--url", server.url, "--data", server.data]
  const env = { ...process.env, TINTYPE_KEY: "", TINTYPE_URL: "" }
  const command = [bin, "keys", "create", "--name", "t", ...where, ...args]
  const { stdout } = await promisify(execFile)(process.execPath, command, { env })
  return stdout.trim()
}

async function revoke(server: ServerProcess, key: string): Promise<void> {
  const secret = await readFile(join(server.data, "secret"), "utf8")
  const answer = await fetch(`${server.url}/_/keys/${key.split(":")[0]}`, {
    method: "DELETE",
    headers: { authorization: `Local ${secret.trim()}` },
  })
  expect(answer.status).toBe(200)
}

interface Answer {
  attempt: number
  pid: number
}

describe("runners that join a server by its address", () => {
  let server: ServerProcess
  let fal: ReturnType<typeof officialClient>["fal"]
  let runnerKey: string
  let starts: string
  let files = 0

  beforeAll(async () => {
    server = await startServerProcess({ config })
    runnerKey = await makeKey(server, "--scope", "runner")
    fal = officialClient(server.url, await makeKey(server, "--scope", "api")).fal
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  /** A file of its own for the starts of a test's attempts. */
  async function newStarts(): Promise<void> {
    files += 1
    starts = join(server.data, `starts-${files}`)
    await writeFile(starts, "")
  }

  async function started(): Promise<number[][]> {
    const lines = (await readFile(starts, "utf8")).trim()
    return lines === "" ? [] : lines.split("\n").map((line) => line.split(" ").map(Number))
  }

  async function submit(input: object): Promise<string> {
    const body = { starts_file: starts, ...input }
    return (await fal.queue.submit("local/remote", { input: body })).request_id
  }

  async function resultOf(requestId: string): Promise<Answer> {
    await fal.queue.subscribeToStatus("local/remote", { requestId })
    return (await fal.queue.result("local/remote", { requestId })).data as Answer
  }

  it("serve queue and run requests, and know no key", async () => {
    const runner = run(runnerKey, { url: server.url })
    await runner.said("Linked")
    const queued = await fal.subscribe("local/remote", { input: {} })
    const direct = await fal.run("local/remote", { input: {} })
    expect(queued.data).toMatchObject({ attempt: 1, pid: (direct.data as Answer).pid })
    expect((await fal.run("local/remote/secrets", { input: {} })).data).toEqual({
      key: "",
      secret: "",
    })
  })

  it("move large inputs, outputs and files", async () => {
    const runner = run(runnerKey, { url: server.url })
    await runner.said("Linked")
    const text = randomBytes(600_000).toString("base64")
    const { data } = await fal.subscribe("local/remote/sizes", { input: { text } })
    const { text: back, file } = data as { text: string; file: { url: string } }
    expect(back).toBe(text)
    expect(await (await fetch(file.url)).text()).toBe(text)
  })

  it("are cut off within a second when their key is revoked; the attempt is made anew elsewhere", async () => {
    await newStarts()
    const key = await makeKey(server, "--scope", "runner")
    const revoked = run(key, { url: server.url })
    await revoked.said("Linked")
    const id = await submit({ duration_ms: 60_000 })
    await expect.poll(started).toHaveLength(1)
    const other = run(runnerKey, { url: server.url })
    await other.said("Linked")
    const revokedAt = performance.now()
    await revoke(server, key)
    await revoked.said("The link is lost: key revoked")
    expect(performance.now() - revokedAt).toBeLessThan(1_000)
    await revoked.said("The server refuses this runner: 401 invalid key credentials")
    const answer = await resultOf(id)
    const [first, second] = await started()
    expect(answer).toEqual({ attempt: 2, pid: second?.[1] })
    expect(second?.[1]).not.toBe(first?.[1])
    expect(await started()).toHaveLength(2)
    // It dials on, and ends as told.
    revoked.child.kill("SIGTERM")
    expect(await revoked.closed).toBe(0)
    expect(await resultOf(id)).toEqual(answer)
  })

  it("that are killed lose their attempts to others within the lease", async () => {
    await newStarts()
    const killed = run(runnerKey, { url: server.url })
    await killed.said("Linked")
    const id = await submit({ duration_ms: 60_000 })
    await expect.poll(started).toHaveLength(1)
    const other = run(runnerKey, { url: server.url })
    await other.said("Linked")
    killed.child.kill("SIGKILL")
    await expect.poll(started, { timeout: leaseMs + 3_000 }).toHaveLength(2)
    expect(await resultOf(id)).toMatchObject({ attempt: 2 })
  })

  it("finish what runs when they are told to end, and take nothing more", async () => {
    await newStarts()
    const runner = run(runnerKey, { url: server.url })
    await runner.said("Linked")
    const id = await submit({ duration_ms: 700 })
    await expect.poll(started).toHaveLength(1)
    runner.child.kill("SIGTERM")
    await runner.said("Ending")
    const later = await submit({})
    expect(await runner.closed).toBe(0)
    expect(await resultOf(id)).toMatchObject({ attempt: 1 })
    expect(await fal.queue.status("local/remote", { requestId: later })).toMatchObject({
      status: "IN_QUEUE",
    })
    const next = run(runnerKey, { url: server.url })
    await next.said("Linked")
    expect(await resultOf(later)).toMatchObject({ attempt: 1 })
  })

  it("end at once when they are told a second time", async () => {
    await newStarts()
    const runner = run(runnerKey, { url: server.url })
    await runner.said("Linked")
    const id = await submit({ duration_ms: 60_000 })
    await expect.poll(started).toHaveLength(1)
    runner.child.kill("SIGINT")
    await runner.said("Ending")
    // Signals that are closer together count as one.
    const poll = { interval: 300, timeout: 5_000 }
    await expect.poll(() => (runner.child.kill("SIGINT"), runner.child.exitCode), poll).toBe(130)
    await fal.queue.cancel("local/remote", { requestId: id })
  })

  it("are replaced when an app asks for it", async () => {
    await newStarts()
    const runner = run(runnerKey, { url: server.url })
    await runner.said("Linked")
    const id = await submit({ status: 503 })
    const { attempt, pid } = await resultOf(id)
    await runner.said("The runner asked to be replaced; starting another.")
    expect(attempt).toBe(2)
    expect(pid).not.toBe((await started())[0]?.[1])
  })

  describe("are refused, and say why,", () => {
    it.each([
      ["with a wrong secret", async () => `${runnerKey}0`, "401 invalid key credentials"],
      [
        "with a key of the scope api",
        () => makeKey(server, "--scope", "api"),
        "403 A key of the scope api links no runner",
      ],
      [
        "with a key for another owner",
        () => makeKey(server, "--scope", "runner", "--apps", "acme/*"),
        "this key may not host local/remote: it is for acme/*",
      ],
    ])("%s", async (_, makeOne, reason) => {
      const runner = run(await makeOne(), { url: server.url })
      expect(await runner.closed).toBe(1)
      expect(runner.lines.join("\n")).toContain(reason)
    })

    it("with an app that the server does not have", async () => {
      const admin = await makeKey(server, "--scope", "admin")
      const runner = run(admin, { url: server.url, apps: [app, otherApp] })
      expect(await runner.closed).toBe(1)
      expect(runner.lines.join("\n")).toContain("the server has no app test/probe: name its module")
    })

    it("with a module that is missing, or has no apps", async () => {
      const empty = join(server.data, "empty.mjs")
      await writeFile(empty, "export default 1")
      for (const [path, reason] of [
        ["./missing.ts", "cannot be loaded: Cannot find module"],
        [empty, "exports no apps"],
      ] as const) {
        const runner = run(runnerKey, { url: server.url, apps: [path] })
        expect(await runner.closed).toBe(1)
        expect(runner.lines.join("\n")).toContain(reason)
      }
    })
  })

  it("alone make a server ready that has no runner of its own", async () => {
    const ready = async () => (await fetch(`${server.url}/health?ready`)).status
    expect(await ready()).toBe(503)
    const admin = await makeKey(server, "--scope", "admin")
    const runner = run(admin, { url: server.url, apps: [app, "@tintype/catalogue"], slots: 2 })
    await runner.said("Linked")
    expect(await ready()).toBe(200)
    const { data } = await fal.run("fal-ai/flux/schnell", { input: { prompt: "a lighthouse" } })
    expect(data).toMatchObject({ images: [{ width: expect.any(Number) }] })
  })
})

describe("a server that is away", () => {
  it("is dialled until it is there; a restart costs no attempt", async () => {
    const data = await makeDataFolder()
    const first = await startServerProcess({ data, config })
    const runnerKey = await makeKey(first, "--scope", "runner")
    const apiKey = await makeKey(first, "--scope", "api")
    await first.kill("SIGTERM")

    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const runner = run(runnerKey, { url })
    await runner.said("The server cannot be reached (connect ECONNREFUSED")
    const again = { data, config: { ...config, timing: { ...config.timing, drainMs: 0 } } }
    const args = ["--port", String(port)]
    const second = await startServerProcess({ ...again, args })
    await runner.said("Linked")
    const starts = join(data, "starts")
    const { fal } = officialClient(url, apiKey)
    const input = { duration_ms: 2_500, starts_file: starts }
    const { request_id: requestId } = await fal.queue.submit("local/remote", { input })
    await expect.poll(() => readFile(starts, "utf8").catch(() => "")).toMatch(/^1 /)
    expect(await second.kill("SIGTERM")).toBe(0)
    const third = await startServerProcess({ ...again, args })
    await fal.queue.subscribeToStatus("local/remote", { requestId })
    const { data: answer } = await fal.queue.result("local/remote", { requestId })
    expect(answer).toMatchObject({ attempt: 1 })
    expect((await readFile(starts, "utf8")).trim().split("\n")).toHaveLength(1)
    await third.kill("SIGTERM")
    await removeDataFolder(data)
  })
})

describe("a server without a key", () => {
  let server: ServerProcess

  beforeAll(async () => {
    server = await startServerProcess({ config })
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  /** The status that an upgrade is answered with, and why. */
  async function upgrade(headers: Record<string, string>, path = "/_/link") {
    const outgoing = httpRequest(`${server.url}${path}`, {
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": randomBytes(16).toString("base64"),
        ...headers,
      },
    })
    const { promise, resolve: answered, reject } = Promise.withResolvers<[number, string]>()
    outgoing.on("error", reject)
    outgoing.on("upgrade", (incoming, socket) => {
      socket.destroy()
      answered([incoming.statusCode ?? 0, ""])
    })
    outgoing.on("response", (incoming) => {
      let text = ""
      incoming.on("data", (chunk: Buffer) => (text += chunk.toString()))
      incoming.on("end", () => {
        const { detail = "" } = JSON.parse(text) as { detail?: string }
        answered([incoming.statusCode ?? 0, detail])
      })
    })
    outgoing.end()
    return await promise
  }

  it("links no stranger: foreign hosts, pages, proxies and those without a secret are refused", async () => {
    const secret = (await readFile(join(server.data, "secret"), "utf8")).trim()
    const local = { authorization: `Local ${secret}` }
    expect(await upgrade(local)).toEqual([101, ""])
    for (const [headers, status, detail] of [
      [{ ...local, host: "evil.example" }, 421, "does not answer for the host evil.example"],
      [{ ...local, origin: "https://evil.example" }, 403, "is not in allowedOrigins"],
      [{ ...local, "x-forwarded-for": "1.2.3.4" }, 403, "forwarded by a proxy"],
      [{}, 401, "Authorization header is required"],
      [{ authorization: "Key id:secret" }, 401, "invalid key credentials"],
      [{ authorization: "Key nonsense" }, 401, "Invalid Key Authorization header format"],
      [{ authorization: `Local ${secret}0` }, 401, "is not the secret of this server"],
      [{ authorization: `Bearer ${secret}` }, 401, "bearer: unable to decode issuer"],
    ] as const) {
      expect(await upgrade(headers)).toEqual([status, expect.stringContaining(detail)])
    }
    const transfer = `/_/transfer/${"0".repeat(32)}/input`
    for (const [headers, status] of [
      [{ ...local, host: "evil.example" }, 421],
      [{ ...local, origin: "https://evil.example" }, 403],
      [{}, 401],
      [local, 401],
    ] as const) {
      const answer = await new Promise<number>((answered, reject) => {
        const outgoing = httpRequest(`${server.url}${transfer}`, { headers }, (incoming) => {
          answered(incoming.statusCode ?? 0)
          incoming.resume()
        })
        outgoing.on("error", reject).end()
      })
      expect(answer).toBe(status)
    }
  })

  it("answers in HTTP where there is nothing to upgrade to", async () => {
    expect(await upgrade({ upgrade: "h2c" }, "/health")).toEqual([200, ""])
    expect(await upgrade({}, "/fal-ai/nothing/socket")).toEqual([
      501,
      "A WebSocket is not served by this server",
    ])
  })
})

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, "127.0.0.1")
  await once(listener, "listening")
  const { port } = listener.address() as AddressInfo
  listener.close()
  await once(listener, "close")
  return port
}
