import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { officialClient } from "../official-client.ts"
import { makeDataFolder, removeDataFolder, startServerProcess } from "../server-process.ts"
import { TcpProxy } from "../tcp-proxy.ts"
import { killProcessesOf } from "./processes.ts"
import { readRequestRows } from "./request-rows.ts"

const endpoint = "tintype/echo"

describe("a submit whose answer dies with the server", () => {
  let data = ""
  let proxy: TcpProxy

  beforeEach(async () => {
    data = await makeDataFolder()
  })

  afterEach(async () => {
    await proxy.close()
    await killProcessesOf(data)
    await removeDataFolder(data)
  })

  it("is one request: the official client's own re-send finds it in the next life", async () => {
    const server = await startServerProcess({ data })
    proxy = await TcpProxy.open(server.url)
    const { fal } = officialClient(proxy.url)
    const killed = Promise.withResolvers<void>()
    proxy.swallow(1, () => {
      server.child.kill("SIGKILL")
      killed.resolve()
    })
    const submitting = fal.queue.submit(endpoint, { input: { text: "survives" } })
    await killed.promise
    const [row] = readRequestRows(data)
    const again = await startServerProcess({ data })
    proxy.aim(again.url)
    const { request_id: id } = await submitting
    expect(id).toBe(row?.id)
    expect(readRequestRows(data)).toHaveLength(1)
    await fal.queue.subscribeToStatus(endpoint, { requestId: id })
    expect((await fal.queue.result(endpoint, { requestId: id })).data).toMatchObject({
      text: "survives",
    })
    // Known by its id now, it is not found again.
    const other = await fal.queue.submit(endpoint, { input: { text: "survives" } })
    expect(other.request_id).not.toBe(id)
    await again.kill("SIGTERM")
  })

  it("is not looked for after a clean stop: equal submits before and after it are two", async () => {
    const server = await startServerProcess({ data })
    proxy = await TcpProxy.open(server.url)
    const { fal } = officialClient(proxy.url)
    const first = await fal.queue.submit(endpoint, { input: { text: "twice" } })
    expect(await server.kill("SIGTERM")).toBe(0)
    const again = await startServerProcess({ data })
    proxy.aim(again.url)
    const second = await fal.queue.submit(endpoint, { input: { text: "twice" } })
    expect(second.request_id).not.toBe(first.request_id)
    expect(readRequestRows(data)).toHaveLength(2)
    await again.kill("SIGTERM")
  })
})
