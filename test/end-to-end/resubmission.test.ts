import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { RawConnection } from "../../packages/server/src/gateway/idempotency/raw-connection.suite.ts"
import { readRequestRows } from "../crash/request-rows.ts"
import { officialClient } from "../official-client.ts"
import {
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "../server-process.ts"
import { TcpProxy } from "../tcp-proxy.ts"

const endpoint = "tintype/echo"

describe("a lost answer does not double the work", () => {
  let server: ServerProcess
  let proxy: TcpProxy
  let known = 0

  beforeAll(async () => {
    server = await startServerProcess()
    await untilReady(server.url)
    proxy = await TcpProxy.open(server.url)
  })

  afterAll(async () => {
    await proxy.close()
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  /** Requests in the store since the last time. */
  function newRequests(): number {
    const count = readRequestRows(server.data).length
    const fresh = count - known
    known = count
    return fresh
  }

  it("one submit of the official client whose answer is swallowed three times is one request", async () => {
    const { fal } = officialClient(proxy.url)
    proxy.swallow(3)
    const submitted = await fal.queue.submit(endpoint, { input: { text: "swallowed" } })
    expect(newRequests()).toBe(1)
    expect(proxy.swallowed).toBe(3)
    await fal.queue.subscribeToStatus(endpoint, { requestId: submitted.request_id })
    const result = await fal.queue.result(endpoint, { requestId: submitted.request_id })
    expect(result.data).toMatchObject({ text: "swallowed" })
  })

  it("one run of the official client whose answer is swallowed is one request", async () => {
    const { fal } = officialClient(proxy.url)
    proxy.swallow(1)
    const { data } = await fal.run(endpoint, { input: { text: "run" } })
    expect(data).toMatchObject({ text: "run" })
    expect(proxy.swallowed).toBe(1)
    expect(newRequests()).toBe(1)
  })

  it("ten equal submits with one key at once are one request", async () => {
    const { fal } = officialClient(server.url)
    const submitted = await Promise.all(
      Array.from({ length: 10 }, () =>
        fal.queue.submit(endpoint, {
          input: { text: "keyed" },
          headers: { "Idempotency-Key": "order-1" },
        }),
      ),
    )
    expect(new Set(submitted.map(({ request_id: id }) => id)).size).toBe(1)
    expect(newRequests()).toBe(1)
  })

  it("four equal submits at once are four requests", async () => {
    const { fal } = officialClient(server.url)
    const submit = () => fal.queue.submit(endpoint, { input: { text: "at once" } })
    const submitted = await Promise.all([submit(), submit(), submit(), submit()])
    expect(new Set(submitted.map(({ request_id: id }) => id)).size).toBe(4)
    expect(newRequests()).toBe(4)
  })

  it("four equal submits in sequence on one client are four requests", async () => {
    const { fal } = officialClient(server.url)
    const ids = new Set<string>()
    for (let count = 0; count < 4; count += 1) {
      ids.add((await fal.queue.submit(endpoint, { input: { text: "again" } })).request_id)
    }
    expect(ids.size).toBe(4)
    expect(newRequests()).toBe(4)
  })

  it("four equal calls of curl are four requests", async () => {
    const ids = new Set<string>()
    for (let count = 0; count < 4; count += 1) ids.add(await curl('{"text":"curl"}'))
    expect(ids.size).toBe(4)
    expect(newRequests()).toBe(4)
  })

  /** Submits with curl, or as it does where there is none; resolves to the request's id. */
  async function curl(body: string): Promise<string> {
    const url = `${server.url}/queue/${endpoint}`
    const type = ["-H", "content-type: application/json"]
    const run = promisify(execFile)("curl", ["-sS", ...type, "-d", body, url])
    const answer = await run.then(
      ({ stdout }) => JSON.parse(stdout) as Record<string, unknown>,
      async (error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOENT") throw error
        const connection = await RawConnection.open(server.url)
        const headers = { "user-agent": "curl/8.14.1" }
        const { json } = await connection.call("POST", `/queue/${endpoint}`, headers, body)
        await connection.cut()
        return json
      },
    )
    return String(answer["request_id"])
  }
})
