import { execFileSync } from "node:child_process"
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type CommandProcess, runTintype, spawnTintype } from "../command-process.ts"
import {
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "../server-process.ts"

const client = import.meta.resolve("@fal-ai/client")

/** Programs as they are written for the hosted service: nothing in them knows of Tintype. */
const programs = {
  "fetch.mjs": `
    const headers = { authorization: "Key " + process.env.FAL_KEY }
    const answer = await fetch("https://fal.run/tintype/echo", { method: "POST", headers, body: '{"a":1}' })
    console.log(answer.status, await answer.text())`,
  "client.mjs": `
    import { fal } from ${JSON.stringify(client)}
    const ran = await fal.run("tintype/echo", { input: { a: 1 } })
    const seen = []
    const input = { prompt: "a lighthouse", image_size: { width: 64, height: 64 }, num_inference_steps: 1 }
    const { data } = await fal.subscribe("fal-ai/flux/dev", {
      input, pollInterval: 20, onQueueUpdate: ({ status }) => seen.push(status),
    })
    const picture = await fetch(data.images[0].url)
    const url = new URL(data.images[0].url)
    console.log(JSON.stringify([ran.data, seen.at(-1), url.host, picture.headers.get("content-type")]))`,
  "leak.mjs": `
    const tries = ["https://api.example.invalid/v1", "https://api.example.invalid/v2", "http://plain.example.invalid/"]
    for (const url of tries) await fetch(url).catch(() => {})`,
  "call.py": `
import json, os, urllib.request
headers = {"Authorization": "Key " + os.environ["FAL_KEY"], "Content-Type": "application/json"}
request = urllib.request.Request("https://queue.fal.run/tintype/echo", b"{}", headers)
print(json.load(urllib.request.urlopen(request))["status"])`,
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tt-exec-"))
  for (const [name, text] of Object.entries(programs)) await writeFile(join(folder, name), text)
})
afterAll(() => removeDataFolder(folder))

function has(program: string): boolean {
  try {
    execFileSync(program, ["--version"], { stdio: "ignore" })
    return true
  } catch {
    console.log(`skipped: ${program} through tintype exec (it is not there)`)
    return false
  }
}

describe("tintype exec beside a server that runs", () => {
  let server: ServerProcess
  let options: { cwd: string; env: Record<string, string> }
  beforeAll(async () => {
    server = await startServerProcess({ tls: true, data: await mkdtemp(join(folder, "data-")) })
    await untilReady(server.url)
    options = { cwd: folder, env: { TINTYPE_URL: server.url, FAL_KEY: "real:secret" } }
  })
  afterAll(() => server.kill("SIGTERM"))

  const exec = (...args: string[]) => runTintype(["exec", ...args], options)

  it("brings Node's own fetch to the server", async () => {
    const ended = await exec("--", process.execPath, "fetch.mjs")
    expect(ended).toEqual({ code: 0, signal: null, out: '200 {"a":1}\n', err: "" })
  })

  it("brings the official JavaScript client to the server, results and files included", async () => {
    const { code, out, err } = await exec("--", process.execPath, "client.mjs")
    expect({ code, err }).toEqual({ code: 0, err: "" })
    expect(JSON.parse(out)).toEqual([{ a: 1 }, "COMPLETED", "v3b.fal.media", "image/jpeg"])
  })

  it.skipIf(!has("curl"))("brings curl to the server", async () => {
    const call = ["curl", "-sS", "https://fal.run/tintype/echo", "-d", "{}"]
    expect(await exec("--", ...call)).toMatchObject({ code: 0, out: "{}", err: "" })
  })

  it.skipIf(!has("python3"))("brings Python to the server", async () => {
    expect(await exec("--", "python3", "call.py")).toMatchObject({ code: 0, out: "IN_QUEUE\n" })
  })

  it("lets loopback be called as ever", async () => {
    const call = `fetch(${JSON.stringify(`${server.url}/health`)}).then((one) => console.log(one.status))`
    expect(await exec("--", process.execPath, "-e", call)).toMatchObject({ code: 0, out: "200\n" })
  })

  it("refuses other hosts, names who asked, and fails the run", async () => {
    const { code, err } = await exec("--", process.execPath, "leak.mjs")
    expect(code).toBe(97)
    const lines = err.trim().split("\n")
    const by = process.platform === "linux" ? /process \d+ \(\S+ leak\.mjs\)$/ : /:443$/
    expect(lines[0]).toMatch(/^tintype exec: refused api\.example\.invalid:443/)
    expect(lines[0]).toMatch(by)
    expect(lines[1]).toMatch(/^tintype exec: refused plain\.example\.invalid:80/)
    expect(lines.slice(2)).toEqual([
      "tintype exec: exit code 97, as hosts were refused (the program's own was 0):",
      "tintype exec: api.example.invalid: --allow api.example.invalid would let it through",
      "tintype exec: plain.example.invalid: --allow plain.example.invalid would let it through",
    ])
  })

  it("does not refuse hosts that --allow names", async () => {
    const allowed = ["--allow", "api.example.invalid", "--allow", "*.example.invalid"]
    // Nobody is there: that is the program's own affair.
    expect(await exec(...allowed, "--", process.execPath, "leak.mjs")).toMatchObject({
      code: 0,
      err: "",
    })
  })

  it("passes exit codes on, as a shell would", async () => {
    expect((await exec("--", "sh", "-c", "exit 7")).code).toBe(7)
    expect((await exec("--", "sh", "-c", "kill -9 $$")).code).toBe(137)
    expect((await exec("--", "no-such-program")).code).toBe(127)
    expect((await exec("--", "./call.py")).code).toBe(126)
  })

  it("passes signals on, and what the program makes of them", async () => {
    const script =
      "process.on('SIGTERM', () => process.exit(7)); setInterval(() => {}, 1e6); console.log('up')"
    const polite = spawnTintype(["exec", "--", process.execPath, "-e", script], options)
    await polite.printed("up")
    polite.child.kill("SIGTERM")
    expect((await polite.ended).code).toBe(7)
    const interrupted = spawnTintype(["exec", "--", process.execPath, "-e", script], options)
    await interrupted.printed("up")
    interrupted.child.kill("SIGINT")
    expect((await interrupted.ended).code).toBe(130)
  })

  it("leaves no folder behind", async () => {
    const own = await mkdtemp(join(folder, "tmp-"))
    const env = { ...options.env, TMPDIR: own }
    await runTintype(["exec", "--", "sh", "-c", "test -s $SSL_CERT_FILE"], { env })
    expect(await readdir(own)).toEqual([])
  })
})

it("a server with keys is called with the one in TINTYPE_KEY, and only with one that it knows", async () => {
  const data = await mkdtemp(join(folder, "data-"))
  const server = await startServerProcess({ tls: true, data, env: { TINTYPE_KEY: "me:secret" } })
  try {
    await untilReady(server.url)
    const exec = (key: string | undefined) =>
      runTintype(["exec", "--url", server.url, "--", process.execPath, "fetch.mjs"], {
        cwd: folder,
        env: { TINTYPE_KEY: key, FAL_KEY: "real:secret" },
      })
    expect(await exec("me:secret")).toMatchObject({ code: 0, out: '200 {"a":1}\n' })
    expect((await exec("me:wrong")).err).toBe(`${server.url} refuses the key in TINTYPE_KEY\n`)
    expect((await exec(undefined)).err).toContain(`${server.url} needs a key`)
  } finally {
    await server.kill("SIGTERM")
  }
})

it("runs nothing when the server that was named does not answer", async () => {
  const args = ["exec", "--url", "http://127.0.0.1:1", "--", "echo", "ran"]
  const { code, out, err } = await runTintype(args)
  expect({ code, out, err }).toEqual({
    code: 1,
    out: "",
    err: "No server answers at http://127.0.0.1:1\n",
  })
})

it.each([
  [["exec", "node", "app.js"], "takes the program after --"],
  [["exec", "--"], "takes the program after --"],
  [["exec", "--alow", "x", "--", "true"], "did you mean --allow?"],
  [["exec", "--allow", "fal.run", "--", "true"], "always go to Tintype"],
  [["exec", "--serve", "--url", "http://127.0.0.1:1", "--", "true"], "makes no sense"],
])("%j is wrong usage", async (args, said) => {
  const { code, err } = await runTintype(args)
  expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining(said) })
})

describe("tintype exec --serve", () => {
  let own: string
  beforeAll(async () => {
    own = await mkdtemp(join(tmpdir(), "tt-serve-"))
  })
  afterAll(() => rm(own, { recursive: true }))

  const start = (...command: string[]): CommandProcess =>
    spawnTintype(["exec", "--serve", "--", ...command], {
      cwd: folder,
      // Of no use to it: it has a server of its own.
      env: { TMPDIR: own, TINTYPE_URL: "http://127.0.0.1:1", TINTYPE_DATA: "/nowhere" },
    })

  it("brings a server along for one command, and nothing is left of it", async () => {
    const ended = await start(process.execPath, "client.mjs").ended
    expect(ended).toMatchObject({ code: 0, err: "" })
    expect(await readdir(own)).toEqual([])
    expect(await processesOf(own)).toEqual([])
  })

  it("keeps the server's log of a program that failed, and names it", async () => {
    const { code, err } = await start("sh", "-c", "kill -9 $$").ended
    expect(code).toBe(137)
    const [path = ""] = /\/\S+\.log$/.exec(err.trim()) ?? []
    expect(await readdir(own)).toEqual([path.slice(own.length + 1)])
    expect(await readFile(path, "utf8")).toContain("GET /health")
    await rm(path)
    expect(await processesOf(own)).toEqual([])
  })

  it("is taken down by Ctrl-C, with nothing left", async () => {
    const sleeping = start("sh", "-c", "echo up; exec sleep 60")
    await sleeping.printed("up")
    sleeping.child.kill("SIGINT")
    expect((await sleeping.ended).code).toBe(130)
    expect(await readdir(own)).toEqual([])
    expect(await processesOf(own)).toEqual([])
  })

  it.skipIf(process.platform !== "linux")("when it is killed, its runner goes too", async () => {
    const sleeping = start("sh", "-c", "echo up; exec sleep 5")
    await sleeping.printed("up")
    expect(await processesOf(own)).not.toEqual([])
    sleeping.child.kill("SIGKILL")
    await expect.poll(() => processesOf(own), { timeout: 10_000 }).toEqual([])
  })
})

/** Command lines that name the folder, as those of runners name their socket's; there are none to see without /proc. */
async function processesOf(path: string): Promise<string[]> {
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name))
  const lines = pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => ""))
  return (await Promise.all(lines)).filter((line) => line.includes(resolve(path)))
}
