import { execFile } from "node:child_process"
import { mkdtemp, readFile, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseEnv, promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { runTintype } from "../command-process.ts"
import {
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "../server-process.ts"

const run = promisify(execFile)

describe("tintype env", () => {
  let data: string
  let server: ServerProcess
  let tlsHost: string
  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), "tt env's-"))
    server = await startServerProcess({ tls: true, data })
    await untilReady(server.url)
    const said = server.log.find(({ event }) => event === "listening")
    tlsHost = new URL(String(said?.["tlsUrl"])).host
  })
  afterAll(async () => {
    await server.kill("SIGTERM")
    await removeDataFolder(data)
  })

  const env = (...args: string[]) =>
    runTintype(["env", ...args], { env: { TINTYPE_URL: server.url, TINTYPE_DATA: data } })

  it("says where run and queue are, whom to trust, and what is not among it", async () => {
    const { code, out, err } = await env("--shell", "dotenv")
    expect(code).toBe(0)
    const bundle = join(data, "ca-bundle.pem")
    expect(parseEnv(out)).toEqual({
      FAL_RUN_HOST: `${tlsHost}/run`,
      FAL_QUEUE_RUN_HOST: `${tlsHost}/queue`,
      FAL_KEY: "tintype:no-key-is-needed",
      SSL_CERT_FILE: bundle,
      REQUESTS_CA_BUNDLE: bundle,
      CURL_CA_BUNDLE: bundle,
      NODE_EXTRA_CA_CERTS: bundle,
      DENO_CERT: bundle,
    })
    expect(err).toMatch(/files, tokens and realtime.*tintype exec/)
    const ours = (await readFile(join(data, "ca.pem"), "utf8")).trim()
    expect((await readFile(bundle, "utf8")).trim().endsWith(ours)).toBe(true)
    expect((await stat(bundle)).mode & 0o777).toBe(0o600)
  })

  // What the Python client does with them: https:// in front, the endpoint behind.
  const callByVariables = `
    for (const host of [process.env.FAL_RUN_HOST, process.env.FAL_QUEUE_RUN_HOST]) {
      const headers = { authorization: "Key " + process.env.FAL_KEY }
      const answer = await fetch("https://" + host + "/tintype/echo", { method: "POST", headers, body: '{"a":1}' })
      console.log(answer.status, Object.keys(await answer.json())[0])
    }`

  it("a shell that evaluates it runs programs that come to the server", async () => {
    const { out } = await env()
    const path = join(data, "program.mjs")
    await writeFile(path, callByVariables)
    const script = `${out}exec "$NODE" "$PROGRAM"`
    const given = { ...process.env, NODE: process.execPath, PROGRAM: path }
    const { stdout } = await run("sh", ["-c", script], { env: given })
    expect(stdout).toBe("200 a\n200 status\n")
  })

  it("the address of a status that a call by it is told leads back to it", async () => {
    const { out } = await env("--shell", "dotenv")
    const variables = { ...process.env, ...parseEnv(out) }
    const script = `
      const answer = await fetch("https://" + process.env.FAL_QUEUE_RUN_HOST + "/tintype/echo", { method: "POST", body: "{}" })
      const { status_url } = await answer.json()
      console.log(status_url, (await fetch(status_url)).status)`
    const args = ["--input-type=module", "-e", script]
    const { stdout } = await run(process.execPath, args, { env: variables })
    expect(stdout).toMatch(new RegExp(`^https://${tlsHost}/queue/tintype/echo/.* 20[02]\n$`))
  })

  it("refuses what it does not know, and a server that ends no TLS", async () => {
    expect(await env("--shell", "zsh")).toMatchObject({
      code: 2,
      err: "--shell must be sh, fish, powershell, dotenv; did you mean sh?\n",
    })
    expect(await env("now")).toMatchObject({ code: 2 })
    const off = await startServerProcess({ args: ["--tls-port", "off"] })
    const { code, err } = await env("--url", off.url)
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("ends no TLS") })
    await off.kill("SIGTERM")
    await removeDataFolder(off.data)
  })
})
