import { once } from "node:events"
import { createServer as createHttpServer, request, type IncomingMessage } from "node:http"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import { randomBytes } from "node:crypto"
import { buffer } from "node:stream/consumers"
import { afterEach, expect, test } from "vitest"
import { GuardProxy } from "./guard-proxy.ts"
import { Refusals } from "./refusals.ts"

const credentials = "tintype:secret"
const authorization = `Basic ${Buffer.from(credentials).toString("base64")}`

const undo: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step()
})

interface Guarded {
  port: number
  said: string[]
  refusals: Refusals
}

async function openProxy(tlsPort = 1, allowed: string[] = []): Promise<Guarded> {
  const said: string[] = []
  const refusals = new Refusals((line) => said.push(line))
  const rules = { allowed, serverHost: "127.0.0.1", allowsLoopback: true }
  const tlsDoor = { host: "127.0.0.1", port: tlsPort }
  const proxy = new GuardProxy({ rules, tlsDoor, credentials, refusals })
  undo.push(() => proxy.close())
  return { port: await proxy.listen(), said, refusals }
}

/** What comes in is said back, and its end too. */
async function openEcho(): Promise<number> {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  undo.push(() => new Promise((closed) => server.close(closed)))
  return (server.address() as AddressInfo).port
}

async function tunnel(
  port: number,
  target: string,
  headers: Record<string, string> = { "proxy-authorization": authorization },
): Promise<{ status: number; socket: Socket; body: string }> {
  const outgoing = request({ host: "127.0.0.1", port, method: "CONNECT", path: target, headers })
  outgoing.end()
  const [incoming, socket, head] = (await once(outgoing, "connect")) as [
    IncomingMessage,
    Socket,
    Buffer,
  ]
  const status = incoming.statusCode ?? 0
  const body = status === 200 ? "" : head.toString() + (await buffer(socket)).toString()
  return { status, socket, body }
}

test.each(["fal.run:443", "queue.fal.run:443", "rest.fal.ai:443"])(
  "a tunnel to %s ends where the server ends TLS",
  async (target) => {
    const { port, refusals } = await openProxy(await openEcho())
    const { status, socket } = await tunnel(port, target)
    expect(status).toBe(200)
    socket.end("hello")
    expect((await buffer(socket)).toString()).toBe("hello")
    expect(refusals.any).toBe(false)
  },
)

test("32 MiB go through a tunnel whole, however slowly they are taken", async () => {
  const echo = await openEcho()
  const { port } = await openProxy()
  const { socket } = await tunnel(port, `127.0.0.1:${echo}`)
  const sent = randomBytes(32 * 1024 * 1024)
  socket.end(sent)
  const received = await buffer(socket)
  expect(received.equals(sent)).toBe(true)
})

test("a host that is not allowed is refused, and its caller named", async () => {
  const { port, said, refusals } = await openProxy()
  const { status, body } = await tunnel(port, "api.example.com:443")
  expect(status).toBe(403)
  expect(body).toBe(
    "Refused by tintype exec. api.example.com: --allow api.example.com would let it through\n",
  )
  expect(refusals.any).toBe(true)
  const who = process.platform === "linux" ? `, asked for by process ${process.pid} (` : ""
  expect(said).toHaveLength(1)
  expect(said[0]).toContain(`refused api.example.com:443${who}`)
  // Told once, however often it tries.
  await tunnel(port, "api.example.com:443")
  expect(said).toHaveLength(1)
  expect(refusals.summary()).toEqual([
    "api.example.com: --allow api.example.com would let it through",
  ])
})

test("a host of the service is served on its own port and on TLS alone", async () => {
  const { port, refusals } = await openProxy()
  expect((await tunnel(port, "fal.run:8443")).body).toContain("fal.run is served on https")
  const plain = await call(port, "http://fal.run/fal-ai/flux/dev")
  expect(plain.status).toBe(403)
  expect(refusals.summary()).toEqual(["fal.run is served on https, port 443, alone"])
})

test("whoever does not know the credentials is sent away, and that is no refusal", async () => {
  const { port, refusals } = await openProxy()
  for (const headers of [{}, { "proxy-authorization": "Basic dGludHlwZTp4" }]) {
    expect((await tunnel(port, "api.example.com:443", headers)).status).toBe(407)
  }
  expect(refusals.any).toBe(false)
})

const tooLong = `${"a".repeat(256)}.com:443`
test.each(["api.example.com", "/", "a b:443", "x:99999", "[::1:443", tooLong])(
  "CONNECT %s makes no sense and says so",
  async (target) => {
    const { port } = await openProxy()
    const socket = connect(port, "127.0.0.1")
    socket.write(
      `CONNECT ${target} HTTP/1.1\r\nproxy-authorization: ${authorization}\r\nhost: x\r\n\r\n`,
    )
    expect((await buffer(socket)).toString()).toMatch(/^HTTP\/1.1 400 /)
  },
)

test("a host that is allowed, but not there, is 502", async () => {
  const { port, refusals } = await openProxy()
  const { status, body } = await tunnel(port, "127.0.0.1:1")
  expect(status).toBe(502)
  expect(body).toContain("127.0.0.1 cannot be reached: connect ECONNREFUSED")
  expect(refusals.any).toBe(false)
})

async function call(
  port: number,
  url: string,
  body?: string,
): Promise<{ status: number; headers: IncomingMessage["headers"]; body: string }> {
  const outgoing = request({
    host: "127.0.0.1",
    port,
    path: url,
    method: body === undefined ? "GET" : "POST",
    headers: { "proxy-authorization": authorization, host: new URL(url).host },
  })
  outgoing.end(body)
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage]
  const text = (await buffer(incoming)).toString()
  return { status: incoming.statusCode ?? 0, headers: incoming.headers, body: text }
}

test("a server that hangs up on a call of plain HTTP is 502", async () => {
  const server = createServer((socket) => socket.once("data", () => socket.resetAndDestroy()))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  undo.push(() => new Promise((closed) => server.close(closed)))
  const { port } = await openProxy()
  const target = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  expect((await call(port, target, "hello")).status).toBe(502)
})

test.each([
  ["a status that there is not", "HTTP/1.1 000 X\r\ncontent-length: 0\r\n\r\n"],
  ["another protocol", "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"],
])("a server that answers a call of plain HTTP with %s is 502", async (_, head) => {
  const server = createServer((socket) => socket.once("data", () => socket.write(head)))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  undo.push(() => new Promise((closed) => server.close(closed)))
  const { port } = await openProxy()
  const target = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  expect((await call(port, target)).status).toBe(502)
})

test("a call of plain HTTP has the host of its URL, whatever its Host says", async () => {
  const server = createHttpServer(({ headers }, response) => response.end(headers.host))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  undo.push(() => new Promise((closed) => server.close(closed)))
  const { port } = await openProxy()
  const { host } = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  const socket = connect(port, "127.0.0.1")
  const lines = [`GET http://${host}/ HTTP/1.1`, "host: api.example.com", "connection: close"]
  socket.write(`${lines.join("\r\n")}\r\nproxy-authorization: ${authorization}\r\n\r\n`)
  expect((await buffer(socket)).toString()).toContain(`\r\n\r\n${host}`)
})

test("plain HTTP is passed on where it is allowed, without what was for the proxy", async () => {
  const server = createHttpServer((incoming, response) => {
    const { method, url, headers } = incoming
    void buffer(incoming).then((body) => {
      response.setHeader("set-cookie", ["a=1", "b=2"])
      response.writeHead(201).end(JSON.stringify({ method, url, headers, body: body.toString() }))
    })
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  undo.push(() => new Promise((closed) => server.close(closed)))
  const target = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { port } = await openProxy()
  const answer = await call(port, `${target}/a?b=1`, "hello")
  expect(answer.status).toBe(201)
  expect(answer.headers["set-cookie"]).toEqual(["a=1", "b=2"])
  expect(JSON.parse(answer.body)).toMatchObject({ method: "POST", url: "/a?b=1", body: "hello" })
  expect(answer.body).not.toContain("proxy-authorization")
  expect((await call(port, "http://api.example.com/")).status).toBe(403)
  expect((await call(port, "http://127.0.0.1:1/")).status).toBe(502)
})
