import { execFile } from "node:child_process"
import { once } from "node:events"
import { createServer, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { resolve } from "node:path"
import { buffer } from "node:stream/consumers"
import { promisify } from "node:util"
import { verifyWebhook } from "@tintype/client"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { officialClient } from "../official-client.ts"
import {
  makeDataFolder,
  removeDataFolder,
  type ServerProcess,
  startServerProcess,
  untilReady,
} from "../server-process.ts"

const bin = resolve(import.meta.dirname, "../../packages/cli/bin/tintype.js")
const runFile = promisify(execFile)

interface Webhook {
  headers: Record<string, string | string[] | undefined>
  body: Buffer
  told: Record<string, unknown>
}

/** A receiver; `answer` gets each webhook after it was read. */
class Receiver {
  readonly webhooks: Webhook[] = []
  readonly url: string
  readonly server: Server

  constructor(server: Server, answer: (response: ServerResponse, webhook: Webhook) => unknown) {
    this.server = server
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`
    server.on("request", (request, response: ServerResponse) => {
      void buffer(request).then((body) => {
        const told = JSON.parse(body.toString()) as Record<string, unknown>
        const webhook = { headers: request.headers, body, told }
        this.webhooks.push(webhook)
        server.emit("webhook")
        return answer(response, webhook)
      })
    })
  }

  async count(total: number): Promise<Webhook[]> {
    while (this.webhooks.length < total) await once(this.server, "webhook")
    return this.webhooks
  }
}

const receivers: Receiver[] = []

async function openReceiver(
  answer: (response: ServerResponse, webhook: Webhook) => unknown = (response) => response.end(),
): Promise<Receiver> {
  const server = createServer()
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const receiver = new Receiver(server, answer)
  receivers.push(receiver)
  return receiver
}

afterEach(() => {
  for (const { server } of receivers.splice(0)) {
    server.close()
    server.closeAllConnections()
  }
})

describe("a webhook asked for with the official client", () => {
  let server: ServerProcess
  let jwksUrl: string

  beforeAll(async () => {
    server = await startServerProcess()
    await untilReady(server.url)
    jwksUrl = `${server.url}/rest/.well-known/jwks.json`
  })

  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  })

  it("comes once the request is complete, verifies, and has the result", async () => {
    const { fal } = officialClient(server.url)
    const seen: unknown[] = []
    const receiver = await openReceiver(async (response, { told }) => {
      const requestId = String(told["request_id"])
      seen.push((await fal.queue.status("tintype/echo", { requestId })).status)
      response.end()
    })
    const input = { text: "a lighthouse", list: [1, 2, 3] }
    const webhookUrl = `${receiver.url}?a=b&c=%20d`
    const { request_id: requestId } = await fal.queue.submit("tintype/echo", { input, webhookUrl })
    const [webhook] = await receiver.count(1)
    const { headers, body, told } = webhook!
    expect(await verifyWebhook({ headers, body, jwksUrl })).toMatchObject({ requestId })
    const result = await fal.queue.result("tintype/echo", { requestId })
    expect(told).toEqual({
      request_id: requestId,
      gateway_request_id: requestId,
      status: "OK",
      error: null,
      payload: result.data,
    })
    await server.logged(({ event, requestId: id }) => event === "webhook" && id === requestId)
    expect(seen).toEqual(["COMPLETED"])
    expect(JSON.stringify(server.log)).not.toContain("%20d")
    const tampered = Buffer.from(body.toString().replace("lighthouse", "lightshow"))
    await expect(verifyWebhook({ headers, body: tampered, jwksUrl })).rejects.toMatchObject({
      code: "bad_signature",
    })
  })

  it("tells of a refused input as of an error, with the body of the answer", async () => {
    const { fal } = officialClient(server.url)
    const receiver = await openReceiver()
    await fal.queue.submit("fal-ai/flux/dev", { input: {} as never, webhookUrl: receiver.url })
    const [webhook] = await receiver.count(1)
    expect(webhook?.told).toMatchObject({
      status: "ERROR",
      error: "Invalid status code: 422",
      payload: { detail: [{ loc: ["body", "prompt"], type: "missing" }] },
    })
    await verifyWebhook({ ...webhook!, jwksUrl })
  })

  it("is listed, shown and sent again on the command line", async () => {
    const { fal } = officialClient(server.url)
    const receiver = await openReceiver()
    const webhookUrl = `${receiver.url}?token=hidden`
    const { request_id: id } = await fal.queue.submit("tintype/echo", { input: {}, webhookUrl })
    await server.logged(({ event, requestId }) => event === "webhook" && requestId === id)
    const env = { ...process.env, TINTYPE_URL: server.url }
    const tintype = async (...argv: string[]) =>
      (await runFile(process.execPath, [bin, "webhooks", ...argv], { env })).stdout
    expect(await tintype("list", "--limit", "1")).toMatch(
      new RegExp(`^${id} {2}delivered {2}1 try`, "m"),
    )
    await tintype("resend", id)
    const [first, second] = await receiver.count(2)
    expect(second?.body).toEqual(first?.body)
    const isSecond = (entry: Record<string, unknown>) =>
      entry["event"] === "webhook" && entry["requestId"] === id && entry["try"] === 2
    await server.logged(isSecond)
    const shown = await tintype("show", id)
    expect(shown.trim().split("\n")).toHaveLength(3)
    expect(shown).not.toContain("hidden")
  })
})

describe("a server killed between a completion and its webhook", () => {
  it(
    "tells the receiver after its restart, signed by the same key",
    { timeout: 60_000 },
    async () => {
      const data = await makeDataFolder()
      const first = await startServerProcess({ data })
      await untilReady(first.url)
      const keys: unknown = await (await fetch(`${first.url}/.well-known/jwks.json`)).json()
      let alive = true
      // Until the kill, webhooks come in and nobody learns of it.
      const receiver = await openReceiver((response) => (alive ? null : response.end()))
      const { fal } = officialClient(first.url)
      const ids: string[] = []
      for (let count = 0; count < 5; count += 1) {
        const call = { input: { count }, webhookUrl: receiver.url }
        ids.push((await fal.queue.submit("tintype/echo", call)).request_id)
      }
      await receiver.count(5)
      await first.kill("SIGKILL")
      alive = false
      const second = await startServerProcess({ data })
      const jwksUrl = `${second.url}/.well-known/jwks.json`
      expect(await (await fetch(jwksUrl)).json()).toEqual(keys)
      const webhooks = await receiver.count(10)
      const told = webhooks.slice(5)
      expect(told.map((webhook) => String(webhook.told["request_id"])).toSorted()).toEqual(
        ids.toSorted(),
      )
      for (const webhook of told) await verifyWebhook({ ...webhook, jwksUrl })
      for (const id of ids) {
        await second.logged(({ event, requestId }) => event === "webhook" && requestId === id)
        const shown = await fetch(`${second.url}/_/webhooks/${id}`)
        expect(await shown.json()).toMatchObject({ state: "delivered", try_count: 1 })
      }
      await second.kill("SIGTERM")
      await removeDataFolder(data)
    },
  )
})
