import { execFile, spawnSync } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { connect, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  createServer as createTlsServer,
  getCACertificates,
  setDefaultCACertificates,
} from "node:tls"
import { promisify } from "node:util"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { HostedApp } from "../attempt/app-host.ts"
import { FakeGateway } from "../fake-gateway.suite.ts"
import { Runner, type RunnerOptions } from "../runner.ts"

let gateway: FakeGateway
let notes: string[] = []
const runners: Runner[] = []

beforeEach(async () => {
  notes = []
  gateway = new FakeGateway()
  await gateway.start("port")
})

afterEach(async () => {
  gateway.dialFault = null
  for (const runner of runners.splice(0)) {
    runner.drain()
    await runner.ended
  }
  await gateway.close()
})

const echo: HostedApp = {
  id: "local/test",
  respond: async ({ input }) => ({ status: 200, headers: {}, body: input }),
}

function startRunner(options: Partial<RunnerOptions> = {}, apps = [echo]): Runner {
  const runner = new Runner({
    target: { url: gateway.url, key: gateway.key },
    slots: 1,
    apps,
    identity: { pid: process.pid, startedAt: "now", build: "test" },
    allowPrivateTargets: false,
    orphaned: "dial",
    refused: "end",
    note: (message) => notes.push(message),
    ...options,
    timing: {
      redialMinMs: 1,
      redialMaxMs: 20,
      refusedRedialMs: 5,
      drainMs: 200,
      ...options.timing,
    },
  })
  runners.push(runner)
  runner.start()
  return runner
}

const isSettled = (lease: string) => gateway.leases.get(lease)?.settledCount === 1

describe("a runner that joins by address", () => {
  test("shows its key, on the link and with transfers", async () => {
    startRunner()
    gateway.assign("l1", { input: null, inputBytes: 300_000 })
    await gateway.until(() => isSettled("l1"))
    expect(gateway.transfers).toEqual(["GET input → 200", "PUT output → 204"])
    expect(gateway.lease("l1").output).toHaveLength(300_000)
  })

  test.each([
    [401, '{"detail":"invalid key credentials"}', "401 invalid key credentials"],
    [403, '{"detail":"wrong scope"}', "403 wrong scope"],
    [421, '{"detail":7}', "421 7"],
    [404, "<html>", "404 No"],
    [400, "null", "400 No"],
  ])("ends when its first dial is refused: %i %s", async (status, body, reason) => {
    gateway.dialFault = { status, body }
    expect(await startRunner().ended).toBe("refused")
    expect(notes).toEqual([`The server refuses this runner: ${reason}`])
  })

  test("ends when its hello is refused", async () => {
    gateway.cutBefore = (frame) => {
      // Nothing is said on a link that is closing, its welcome neither.
      if (frame.type === "hello") gateway.closeLink(1008, "this key may not host local/test")
      return false
    }
    expect(await startRunner().ended).toBe("refused")
    expect(notes.join()).toContain("this key may not host local/test")
  })

  test.each([503, 429, 500])("dials on when the server is busy: %i", async (status) => {
    gateway.dialFault = { status, body: '{"detail":"later"}' }
    startRunner()
    await expect
      .poll(() => notes)
      .toContain(`The server cannot be reached (${status} later); dialling on.`)
    gateway.dialFault = null
    await gateway.until(() => gateway.linked)
    // Once, however often it dialled.
    expect(notes.filter((line) => line.includes("cannot be reached"))).toHaveLength(1)
  })

  test("dials on when it is refused after it had a link", async () => {
    const runner = startRunner()
    await gateway.until(() => gateway.linked)
    gateway.dialFault = { status: 401, body: '{"detail":"gone"}' }
    gateway.cut()
    await expect.poll(() => notes).toContain("The server refuses this runner: 401 gone")
    gateway.dialFault = null
    await gateway.until(() => gateway.linked)
    const [before, after] = gateway.hellos
    expect(after?.session).toBe(before?.session)
    runner.drain()
    expect(await runner.ended).toBe("drained")
  })

  test("gives up what it holds when its key is revoked, and comes back as another", async () => {
    const aborted = Promise.withResolvers<void>()
    const slow: HostedApp = {
      id: "local/test",
      respond: async (_, { signal }) => {
        await new Promise((end) => signal.addEventListener("abort", end))
        aborted.resolve()
        throw new Error("aborted")
      },
    }
    startRunner({}, [slow])
    gateway.assign("l1")
    await gateway.until(() => gateway.leases.get("l1")?.accepted === true)
    gateway.abandoned.add("l1")
    gateway.closeLink(1008, "key revoked")
    await aborted.promise
    await gateway.until(() => gateway.hellos.length === 2)
    const [before, after] = gateway.hellos
    expect(after?.session).not.toBe(before?.session)
    expect(after?.held).toEqual([])
  })

  test("tells the server that it goes, and takes what is on its way", async () => {
    gateway.autoDrain = false
    const runner = startRunner({ timing: { drainMs: 10_000 } })
    await gateway.until(() => gateway.credits === 1)
    runner.drain()
    await gateway.until(() => gateway.frames.some(({ type }) => type === "retire"))
    gateway.assign("l1", { input: Buffer.from("{}") })
    await gateway.until(() => isSettled("l1"))
    gateway.send({ type: "drain", deadlineMs: 1_000 })
    expect(await runner.ended).toBe("drained")
  })
})

/** A certificate for this machine that nobody vouches for. */
async function makeCertificate(): Promise<{ key: string; cert: string }> {
  const folder = await mkdtemp(join(tmpdir(), "tintype-tls-"))
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")]
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
  const pair = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
  const files = ["-keyout", key, "-out", cert]
  await promisify(execFile)("openssl", ["req", "-x509", ...pair, ...files, ...subject])
  const made = { key: await readFile(key, "utf8"), cert: await readFile(cert, "utf8") }
  await rm(folder, { recursive: true })
  return made
}

/** Ends TLS before the gateway. */
async function startProxy(pair: { key: string; cert: string }) {
  const proxy = createTlsServer(pair, (socket) => {
    const inner = connect(Number(new URL(gateway.url).port), "127.0.0.1")
    socket.on("error", () => inner.destroy()).on("close", () => inner.destroy())
    inner.on("error", () => socket.destroy()).on("close", () => socket.destroy())
    socket.pipe(inner).pipe(socket)
  })
  await new Promise<void>((listening) => proxy.listen(0, "127.0.0.1", listening))
  const { port } = proxy.address() as AddressInfo
  return { url: `https://127.0.0.1:${port}`, close: () => proxy.close() }
}

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0

test.skipIf(!hasOpenssl)(
  "an https: address is dialled with TLS, and its certificate checked [skipped without openssl, which makes one]",
  async () => {
    const pair = await makeCertificate()
    const proxy = await startProxy(pair)
    const target = { url: proxy.url, key: gateway.key }
    const stranger = startRunner({ target })
    await expect.poll(() => notes.join()).toContain("self-signed certificate")
    stranger.drain()
    expect(await stranger.ended).toBe("drained")
    expect(gateway.hellos).toEqual([])

    const authorities = getCACertificates("default")
    setDefaultCACertificates([...authorities, pair.cert])
    const trusting = startRunner({ target })
    gateway.assign("l1", { input: null, inputBytes: 300_000 })
    await gateway.until(() => isSettled("l1"))
    expect(gateway.transfers).toEqual(["GET input → 200", "PUT output → 204"])
    trusting.drain()
    expect(await trusting.ended).toBe("drained")
    setDefaultCACertificates(authorities)
    proxy.close()
  },
)
