import { execFileSync } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readdir, writeFile } from "node:fs/promises"
import { type AddressInfo, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { runTintype, spawnTintype } from "../command-process.ts"
import {
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "../server-process.ts"

const skip = whyNot()
if (skip !== null) console.log(`skipped: tintype exec --isolate (${skip})`)

function whyNot(): string | null {
  if (process.platform !== "linux") return "it needs Linux"
  try {
    execFileSync("unshare", ["--user", "--map-root-user", "--net", "--mount", "true"], {
      stdio: "pipe",
    })
    return null
  } catch (error) {
    return `no namespaces: ${(error as Error).message.trim().split("\n").at(-1)}`
  }
}

/** What a program is told that calls another host; the name may be found where a daemon of the system looks it up. */
function nowhere(what: string): RegExp {
  return new RegExp(`^${what.replaceAll(/[./]/g, "\\$&")} (EAI_AGAIN|ENOTFOUND|ENETUNREACH)$`)
}

const ws = import.meta.resolve("ws")

/** Programs that know of no proxy. */
const programs = {
  // A connection of its own making: to a host of this machine, to one beyond it, and by the name of another.
  "raw.mjs": `
    import { connect } from "node:net"
    for (const [host, port] of [["127.0.0.1", process.argv[2]], ["192.0.2.1", 80], ["example.com", 443]]) {
      const socket = connect(Number(port), host)
      const said = await new Promise((done) => socket.on("connect", () => done("through")).on("error", (e) => done(e.code)))
      console.log(host, said)
      socket.destroy()
    }`,
  "ws.mjs": `
    import WebSocket from ${JSON.stringify(ws)}
    for (const url of ["wss://example.com/realtime", "wss://fal.run/tintype/nothing-there"]) {
      const socket = new WebSocket(url)
      const said = await new Promise((done) => {
        socket.on("open", () => done("open"))
        socket.on("unexpected-response", (_, answer) => done(String(answer.statusCode)))
        socket.on("error", (error) => done(error.code))
      })
      console.log(url, said)
      socket.on("error", () => {}).terminate()
    }`,
  "https.mjs": `
    import { request } from "node:https"
    const agent = new (await import("node:https")).Agent()
    const call = request("https://queue.fal.run/tintype/echo", { method: "POST", agent })
    call.on("response", (answer) => console.log(answer.statusCode)).end("{}")`,
  "proxied.mjs": `
    const loopback = "http://127.0.0.1:" + process.argv[2]
    const { request } = await import("node:http")
    const proxy = new URL(process.env.HTTPS_PROXY)
    const headers = { "proxy-authorization": "Basic " + btoa(proxy.username + ":" + proxy.password) }
    const call = request({ host: proxy.hostname, port: proxy.port, path: loopback, headers })
    call.on("response", (answer) => console.log(answer.statusCode)).end()`,
}

describe.skipIf(skip !== null)("tintype exec --isolate", () => {
  let folder: string
  let server: ServerProcess
  let options: { cwd: string; env: Record<string, string> }
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tt-isolate-"))
    for (const [name, text] of Object.entries(programs)) await writeFile(join(folder, name), text)
    server = await startServerProcess({ tls: true, data: await mkdtemp(join(folder, "data-")) })
    await untilReady(server.url)
    options = { cwd: folder, env: { TINTYPE_URL: server.url } }
  })
  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(folder)
  })

  const isolated = (...command: string[]) =>
    runTintype(["exec", "--isolate", "--", ...command], options)

  it("a program that opens sockets of its own reaches nobody, on this machine neither", async () => {
    let connections = 0
    const listener = createServer(() => (connections += 1)).listen(0, "127.0.0.1")
    await once(listener, "listening")
    const { port } = listener.address() as AddressInfo
    const { code, out } = await isolated(process.execPath, "raw.mjs", String(port))
    expect(code).toBe(0)
    expect(out.trim().split("\n")).toEqual([
      "127.0.0.1 ECONNREFUSED",
      "192.0.2.1 ENETUNREACH",
      expect.stringMatching(nowhere("example.com")),
    ])
    // The proxy is no way around that.
    const proxied = await isolated(process.execPath, "proxied.mjs", String(port))
    expect(proxied).toMatchObject({ code: 97, out: "403\n" })
    expect(proxied.err).toMatch(
      /refused 127\.0\.0\.1:\d+, asked for by process \d+ \(\S+ proxied\.mjs/,
    )
    expect(connections).toBe(0)
    listener.close()
  })

  it("npm ws, which knows of no proxy, is stopped, and comes to Tintype for what Tintype stands in for", async () => {
    const { out } = await isolated(process.execPath, "ws.mjs")
    const [stopped, served] = out.trim().split("\n")
    expect(stopped).toMatch(nowhere("wss://example.com/realtime"))
    // Whatever the server makes of it, it came there, over a certificate that was checked.
    expect(served).toMatch(/^wss:\/\/fal\.run\S+ (open|\d{3})$/)
    const paths = server.log.map((entry) => entry["path"])
    expect(paths).toContain("/tintype/nothing-there")
  })

  it("a call that goes by no proxy is answered by the server", async () => {
    expect(await isolated(process.execPath, "https.mjs")).toMatchObject({ code: 0, out: "200\n" })
  })

  it("the program is who started it, and finds the server where it is outside", async () => {
    const script = `id -u; ${process.execPath} -e 'fetch(process.env.TINTYPE_URL + "/health").then((one) => console.log(one.status))'`
    const { out } = await isolated("sh", "-c", script)
    expect(out).toBe(`${process.getuid?.()}\n200\n`)
  })

  it("exit codes, signals and refusals are as without it", async () => {
    expect((await isolated("sh", "-c", "exit 7")).code).toBe(7)
    expect((await isolated("sh", "-c", "kill -9 $$")).code).toBe(137)
    expect((await isolated("no-such-program")).code).toBe(127)
    const fetching = `fetch("https://api.example.com").catch(() => {})`
    const refused = await isolated(process.execPath, "-e", fetching)
    expect(refused.code).toBe(97)
    expect(refused.err).toMatch(
      /refused api\.example\.com:443, asked for by process \d+ \(\S+ -e fetch/,
    )
    const command = ["exec", "--isolate", "--", "sh", "-c", "echo up; exec sleep 60"]
    const sleeping = spawnTintype(command, options)
    await sleeping.printed("up")
    sleeping.child.kill("SIGTERM")
    expect((await sleeping.ended).code).toBe(143)
  })

  it("leaves no folder behind, and works with a server of its own", async () => {
    const own = await mkdtemp(join(tmpdir(), "tt-own-"))
    const env = { TMPDIR: own }
    const args = ["exec", "--serve", "--isolate", "--", process.execPath, join(folder, "https.mjs")]
    expect(await runTintype(args, { env })).toMatchObject({ code: 0, out: "200\n" })
    expect(await readdir(own)).toEqual([])
    await removeDataFolder(own)
  })
})

it("where there are no namespaces it says why, and runs nothing", async () => {
  const args = ["exec", "--serve", "--isolate", "--", process.execPath, "-e", "console.log('ran')"]
  const { code, out, err } = await runTintype(args, { env: { PATH: "/nowhere" } })
  expect({ code, out }).toEqual({ code: 1, out: "" })
  expect(err).toMatch(/^--isolate needs (Linux|user and network namespaces)/)
})
