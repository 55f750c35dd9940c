import { createServer } from "node:net"
import type { AddressInfo } from "node:net"
import { afterEach, describe, expect, it } from "vitest"
import { Connections } from "./connections.ts"
import { postWebhook, type PostOptions } from "./post.ts"
import { hang, late, openReceiver, reset, type Receiver, status } from "./receiver.suite.ts"

const open: { close(): unknown }[] = []

afterEach(async () => {
  for (const one of open.splice(0)) await one.close()
})

function openConnections({ allowPrivate = true, idleMax = 10 } = {}): Connections {
  const made = new Connections({ allowPrivate, idleMax })
  open.push(made)
  return made
}

async function listen(...answers: Parameters<typeof openReceiver>): Promise<Receiver> {
  const made = await openReceiver(...answers)
  open.push(made)
  return made
}

function portsOf({ received }: Receiver): Set<number> {
  return new Set(received.map(({ port }) => port))
}

const body = new TextEncoder().encode('{"status": "OK"}')

function post(
  url: string,
  { allowPrivate = true, ...fields }: Partial<PostOptions> & { allowPrivate?: boolean } = {},
) {
  const options = {
    connections: openConnections({ allowPrivate }),
    keepsConnection: true,
    timeoutMs: 5_000,
    answerBytesMax: 1_024,
    signal: new AbortController().signal,
    ...fields,
  }
  return postWebhook({ url, headers: { "x-test": "1" }, body }, options)
}

describe("a webhook that is sent", () => {
  it("is a POST of JSON with its headers, byte for byte, and the userinfo as credentials", async () => {
    const to = await listen(status(202, {}, "thanks"))
    const result = await post(`${to.url.replace("//", "//me:secret@")}/hook?a=b`)
    expect(result).toEqual({ status: 202, answer: "thanks", error: null, detail: null })
    const [got] = to.received
    expect(got?.body).toEqual(Buffer.from(body))
    expect(got?.url).toBe("/hook?a=b")
    expect(got?.headers).toMatchObject({
      "content-type": "application/json",
      "content-length": "16",
      "user-agent": "tintype",
      "x-test": "1",
      authorization: `Basic ${Buffer.from("me:secret").toString("base64")}`,
    })
  })

  it.each([301, 302, 307, 308, 404, 500, 503])(
    "is told the status %i, and goes nowhere else",
    async (code) => {
      const other = await listen()
      const to = await listen(status(code, { location: other.url }))
      expect(await post(to.url)).toMatchObject({ status: code, error: null })
      expect(other.received).toEqual([])
    },
  )

  it("keeps the first KB of an answer that has no end", async () => {
    const to = await listen((response) => {
      response.writeHead(200)
      const write = () => {
        while (response.write("x".repeat(65_536)));
      }
      response.on("drain", write)
      write()
    })
    const result = await post(to.url)
    expect(result).toEqual({ status: 200, answer: "x".repeat(1_024), error: null, detail: null })
  })

  it.each([
    ["closes within its answer's body", (socket: { destroy(): unknown }) => socket.destroy()],
    ["hangs within its answer's body", () => {}],
  ])("counts by the status of a receiver that %s", async (_, end) => {
    const to = await listen((response, socket) => {
      response.writeHead(200, { "content-length": "100" })
      response.write("half of it", () => end(socket))
    })
    expect(await post(to.url)).toMatchObject({ status: 200, error: null })
  })
})

describe("a connection", () => {
  it("is kept for the next webhook to the same origin when that is asked for", async () => {
    const to = await listen(status(500, {}, "no"), status(200))
    const connections = openConnections()
    for (const expected of [500, 200, 200]) {
      expect(await post(to.url, { connections })).toMatchObject({ status: expected })
    }
    expect(portsOf(to).size).toBe(1)
    await post(to.url, { connections, keepsConnection: false })
    await post(to.url, { connections })
    expect(portsOf(to).size).toBe(2)
    expect(to.received.map(({ headers }) => headers.connection)).toEqual([
      "keep-alive",
      "keep-alive",
      "keep-alive",
      "close",
      "keep-alive",
    ])
  })

  it("is not kept when its answer was not read to the end, as the rest would be the next answer", async () => {
    const to = await listen(status(200, {}, "x".repeat(3_000)), status(503, {}, "no"))
    const connections = openConnections()
    expect(await post(to.url, { connections })).toMatchObject({ status: 200 })
    expect(await post(to.url, { connections })).toMatchObject({ status: 503, answer: "no" })
    expect(portsOf(to).size).toBe(2)
  })

  it("is not kept beyond the bound", async () => {
    const to = [await listen(), await listen()]
    const connections = openConnections({ idleMax: 1 })
    for (const { url } of [...to, ...to]) await post(url, { connections })
    expect(to.map((one) => portsOf(one).size)).toEqual([1, 2])
  })

  it("that its receiver closes after an answer is replaced", async () => {
    const to = await listen((response, socket) => response.end("bye", () => socket.end()))
    const connections = openConnections()
    for (const text of ["bye", "bye"]) {
      expect(await post(to.url, { connections })).toMatchObject({ status: 200, answer: text })
      await to.untilClosed()
    }
    expect(portsOf(to).size).toBe(2)
  })

  it("makes room for others when it ends while it is idle", async () => {
    const closing = await listen((response, socket) => response.end(() => socket.end()))
    const other = await listen()
    const connections = openConnections({ idleMax: 1 })
    await post(closing.url, { connections })
    await closing.untilClosed()
    for (let count = 0; count < 2; count += 1) await post(other.url, { connections })
    expect(portsOf(other).size).toBe(1)
  })

  it("that is kept may be as slow as any", async () => {
    const to = await listen(status(200), late(1_200))
    const connections = openConnections()
    for (let count = 0; count < 2; count += 1) {
      expect(await post(to.url, { connections })).toMatchObject({ status: 200, error: null })
    }
    expect(portsOf(to).size).toBe(1)
  })
})

describe("a webhook that is not taken", () => {
  it("by one who hangs ends with its time", async () => {
    const to = await listen(hang)
    const result = await post(to.url, { timeoutMs: 100 })
    expect(result).toMatchObject({
      status: null,
      error: "timeout",
      detail: "no answer within 0.1 s",
    })
  })

  it.each([
    ["resets", [reset], "ECONNRESET"],
    ["closes while it comes in", ["cut"], /hang up|ECONNRESET|EPIPE/],
  ] as const)("by one who %s is an error of the connection", async (_, answers, detail) => {
    const to = await listen(...answers)
    const result = await post(to.url)
    expect(result).toMatchObject({ status: null, error: "connection" })
    expect(result.detail).toMatch(detail)
  })

  it("by one who is not there is an error of the connection", async () => {
    const to = await listen()
    await to.close()
    expect(await post(to.url)).toMatchObject({ error: "connection", detail: "ECONNREFUSED" })
  })

  it("by one who does not speak HTTP is an error of the connection", async () => {
    const server = createServer((socket) => socket.end("hello\r\n\r\n"))
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening))
    const { port } = server.address() as AddressInfo
    expect(await post(`http://127.0.0.1:${port}/`)).toMatchObject({ error: "connection" })
    server.close()
  })

  it("by a server without TLS where TLS was asked for is an error of the connection", async () => {
    const to = await listen()
    const url = to.url.replace("http:", "https:")
    expect(await post(url)).toMatchObject({ error: "connection" })
  })

  it.each(["http://127.0.0.1:1/", "http://[::1]:1/", "http://10.0.0.1/", "http://localhost:1/"])(
    "at a private address is refused, and nothing is sent (%s)",
    async (url) => {
      const result = await post(url, { allowPrivate: false })
      expect(result).toMatchObject({ status: null, error: "forbidden_address" })
      expect(result.detail).toMatch(/is not a public address/)
    },
  )

  it("is not sent to a receiver on this machine under any name, when that is not allowed", async () => {
    const to = await listen()
    for (const host of ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1"]) {
      const result = await post(to.url.replace("127.0.0.1", host), { allowPrivate: false })
      expect([host, result.error]).toEqual([host, "forbidden_address"])
    }
    expect(to.received).toEqual([])
  })

  it.each(["http://169.254.169.254/latest", "http://0.0.0.0:1/"])(
    "at %s is refused even when private targets are allowed",
    async (url) => {
      expect(await post(url)).toMatchObject({ error: "forbidden_address" })
    },
  )
})

it("an abort rejects with its reason", async () => {
  const to = await listen(hang)
  const stop = new AbortController()
  const posting = post(to.url, { signal: stop.signal })
  await to.count(1)
  stop.abort(new Error("the server stops"))
  await expect(posting).rejects.toThrow("the server stops")
  await expect(post(to.url, { signal: stop.signal })).rejects.toThrow("the server stops")
})
