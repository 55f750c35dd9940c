import { execFile } from "node:child_process"
import { X509Certificate } from "node:crypto"
import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import type { IncomingMessage } from "node:http"
import { request } from "node:https"
import { type AddressInfo, connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect as connectTls } from "node:tls"
import { promisify } from "node:util"
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest"
import { defaultConfig } from "../../config.ts"
import type { DataFolder } from "../data-folder.ts"
import { createGateway } from "../../gateway/gateway.ts"
import { openTestGateway, type TestGateway } from "../../gateway/gateway.suite.ts"
import { TlsListener } from "./tls-listener.ts"

const run = promisify(execFile)

let folder: string
let plain: TestGateway
const open: TlsListener[] = []
const undo: (() => void)[] = []
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tintype-tls-"))
  plain = await openTestGateway()
})
afterEach(async () => {
  for (const step of undo.splice(0)) step()
  for (const listener of open.splice(0)) {
    listener.closeAllConnections()
    await listener.close()
  }
})
afterAll(async () => {
  await plain.close()
  await rm(folder, { recursive: true })
})

async function openListener(
  config: Partial<typeof defaultConfig> = {},
): Promise<{ listener: TlsListener; log: object[]; listens: boolean }> {
  const log: object[] = []
  const listener = await TlsListener.open({
    config: { ...defaultConfig, tlsPort: 0, ...config },
    folder: { path: folder } as DataFolder,
    now: Date.now,
    log: (entry) => log.push(entry),
  })
  if (listener === null) throw new Error("off")
  open.push(listener)
  const listens = await listener.listen(createGateway(plain.parts))
  return { listener, log, listens }
}

/** One call of a foreign host, whose certificate is checked. */
async function call(
  { port, ca }: TlsListener,
  host: string,
  path: string,
): Promise<{ status: number; body: string }> {
  const outgoing = request({ host: "127.0.0.1", port, servername: host, path, ca, agent: false })
  outgoing.setHeader("host", host).end()
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage]
  const body = (await incoming.toArray()).join("")
  return { status: incoming.statusCode ?? 0, body }
}

test("a foreign host is answered where TLS is ended for it, and nowhere else", async () => {
  const { listener } = await openListener()
  const found = await call(listener, "api.fal.ai", "/v1/models")
  expect(found).toMatchObject({ status: 200 })
  expect(JSON.parse(found.body)).toHaveProperty("models")
  const refused = await plain.call("GET", "/v1/models", { headers: { host: "api.fal.ai" } })
  expect(refused.status).toBe(421)
})

test("answers name the host that was called", async () => {
  const { listener } = await openListener()
  const path = "/fal-ai/flux/requests/00000000-0000-4000-8000-000000000000/status"
  expect(await call(listener, "queue.fal.run", path)).toMatchObject({ status: 404 })
})

test("an upgrade is answered there, too", async () => {
  const { listener } = await openListener()
  const headers = { connection: "upgrade", upgrade: "websocket", host: "localhost" }
  const { port, ca } = listener
  const outgoing = request({
    host: "127.0.0.1",
    port,
    servername: "localhost",
    ca,
    headers,
    path: "/_/link",
  })
  outgoing.end()
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage]
  incoming.resume()
  expect(incoming.statusCode).toBe(404)
})

test("whoever asks the server is told where it ends TLS, and whom to trust", async () => {
  expect((await plain.call("GET", "/_/tls")).json).toEqual({ port: null, ca: null, open: true })
  const { listener } = await openListener()
  plain.parts.tls = listener
  const { port, ca } = listener
  expect((await plain.call("GET", "/_/tls")).json).toEqual({ port, ca, open: true })
  expect((await plain.call("POST", "/_/tls")).status).toBe(405)
  delete plain.parts.tls
})

test("nothing is opened when the setting says off", async () => {
  const parts = { folder: { path: folder } as DataFolder, now: Date.now, log: () => {} }
  expect(await TlsListener.open({ ...parts, config: { ...defaultConfig, tlsPort: "off" } })).toBe(
    null,
  )
})

test("a port that is taken ends the start when somebody chose it, and is done without when nobody did", async () => {
  const holder = createServer().listen(0, "127.0.0.1")
  await once(holder, "listening")
  const { port } = holder.address() as AddressInfo
  const reason = `Port ${port} on 127.0.0.1 is taken: stop what uses it, or choose another with --tls-port`
  await expect(openListener({ tlsPort: port })).rejects.toMatchObject({
    code: "port_taken",
    message: reason,
  })
  const { log, listens } = await openListener({ port: port - 1, tlsPort: null })
  expect(listens).toBe(false)
  expect(log).toEqual([{ event: "tls_off", reason }])
  holder.close()
})

test("a server that runs for 90 days goes on with other certificates", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] })
  undo.push(() => vi.useRealTimers())
  const own = await mkdtemp(join(folder, "renewed-"))
  let days = 0
  const renewed = Promise.withResolvers<object>()
  const listener = await TlsListener.open({
    config: { ...defaultConfig, tlsPort: 0 },
    folder: { path: own } as DataFolder,
    now: () => Date.now() + days * 86_400_000,
    log: renewed.resolve,
  })
  if (listener === null) throw new Error("off")
  open.push(listener)
  await listener.listen(createGateway(plain.parts))
  const { ca: first } = listener
  days = 91
  vi.advanceTimersByTime(86_400_000)
  expect(await renewed.promise).toEqual({ event: "certificates_renewed" })
  expect(listener.ca).not.toBe(first)
  // It is valid from that day on, so here it is too early for a check of the date.
  const socket = connectTls({ port: listener.port, host: "127.0.0.1", rejectUnauthorized: false })
  await once(socket, "secureConnect")
  expect(socket.getPeerX509Certificate()?.checkIssued(new X509Certificate(listener.ca))).toBe(true)
  socket.destroy()
})

test("closing ends also those who never shook hands", async () => {
  const { listener } = await openListener()
  const silent = connect(listener.port, "127.0.0.1")
  const spoken = connectTls({ port: listener.port, host: "127.0.0.1", ca: listener.ca })
  await once(spoken, "secureConnect")
  const ended = [once(silent, "close"), once(spoken, "close")]
  const closed = listener.close()
  listener.closeAllConnections()
  await Promise.all([...ended, closed])
  expect([silent.destroyed, spoken.destroyed]).toEqual([true, true])
})

const python = await run("python3", ["-c", "import ssl"]).catch(() => null)
if (python === null) console.log("skipped: a strict Python context (there is no python3)")

const strictCall = `
import http.client, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
for host in sys.argv[3:]:
    socket = context.wrap_socket(__import__("socket").create_connection(("127.0.0.1", int(sys.argv[2]))), server_hostname=host)
    socket.sendall(b"GET /health HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
    print(host, socket.recv(12).decode())
`

test.skipIf(python === null)("Python trusts it as strictly as 3.13 does", async () => {
  const { listener } = await openListener()
  const caPath = join(folder, "trusted.pem")
  await writeFile(caPath, listener.ca)
  const hosts = ["fal.run", "queue.fal.run", "v3b.fal.media", "localhost", "127.0.0.1", "::1"]
  const args = ["-c", strictCall, caPath, String(listener.port), ...hosts]
  const { stdout } = await run("python3", args)
  expect(stdout.trim().split("\n")).toEqual(hosts.map((host) => `${host} HTTP/1.1 200`))
})
