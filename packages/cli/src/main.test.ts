import assert from "node:assert/strict"
import type { Server } from "node:http"
import { createServer } from "node:http"
import { mkdtemp, readFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, expect, test } from "vitest"
import { greet } from "./commands/serve.ts"
import { main } from "./main.ts"

interface Shown {
  out: string
  err: string
  code: number
}

interface Answer {
  status?: number
  type?: string
  body: string
  /** The answer goes on, and this is called when its first part is out. */
  staysOpen?: () => void
}

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.closeAllConnections()
})

async function run(
  argv: string[],
  env: Record<string, string> = {},
  cwd = tmpdir(),
): Promise<Shown> {
  const shown = { out: "", err: "", code: -1 }
  shown.code = await main(argv, {
    out: { write: (text) => (shown.out += text) },
    err: { write: (text) => (shown.err += text) },
    input: (async function* () {})(),
    env,
    cwd,
  })
  return shown
}

/** A real HTTP server that answers by method and path, and the calls it saw. */
async function serveAnswers(
  answers: Record<string, Answer>,
): Promise<{ url: string; calls: string[]; keys: Set<string | undefined>; bodies: string[] }> {
  const seen = {
    calls: [] as string[],
    keys: new Set<string | undefined>(),
    bodies: [] as string[],
  }
  const server = createServer((request, response) => {
    const call = `${request.method} ${request.url}`
    if (request.url !== "/health") {
      seen.calls.push(call)
      seen.keys.add(request.headers.authorization)
    }
    const answer: Answer = answers[call] ?? { status: 404, body: "{}" }
    const { status = 200, type = "application/json", body, staysOpen } = answer
    request.setEncoding("utf8").on("data", (text: string) => seen.bodies.push(text))
    request.on("end", () => {
      response.writeHead(status, { "content-type": type })
      if (staysOpen === undefined) response.end(body)
      else response.write(body, staysOpen)
    })
    request.resume()
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  assert(typeof address === "object" && address !== null)
  return { url: `http://127.0.0.1:${address.port}`, ...seen }
}

const interrupt = (): boolean => process.emit("SIGINT", "SIGINT")

const id = "764cabcf-b745-4b3e-ae38-1200304cf45b"
const queue = "/queue/fal-ai/flux/dev"
const stream = `GET ${queue}/requests/${id}/status/stream?logs=1`
const events = (...updates: object[]): { type: string; body: string } => ({
  type: "text/event-stream",
  body: updates.map((one) => `data: ${JSON.stringify(one)}\n\n`).join(""),
})

test("a request runs through the queue and its picture is saved", async () => {
  const server = await serveAnswers({
    [`POST ${queue}`]: { body: JSON.stringify({ request_id: id }) },
    [stream]: events(
      { status: "IN_QUEUE", queue_position: 1 },
      { status: "IN_PROGRESS", logs: [{ message: "step 1/1" }] },
      { status: "COMPLETED", logs: [] },
    ),
    [`GET ${queue}/requests/${id}`]: {
      body: JSON.stringify({
        images: [{ url: `data:image/png;base64,${btoa("picture")}` }],
        seed: 7,
      }),
    },
  })
  const folder = await mkdtemp(join(tmpdir(), "tintype-run-"))
  const env = { TINTYPE_URL: server.url, TINTYPE_KEY: "me:secret" }
  const shown = await run(["run", "fal-ai/flux/dev", "prompt=a cat"], env, folder)
  const path = join(folder, "flux-dev-764cabcf.png")
  expect(shown).toMatchObject({ code: 0, out: `${path}\n` })
  expect(shown.err).toMatch(
    /^Queued, 1 ahead\nRunning\nstep 1\/1\nDone in [\d.]+ s, request 764cabcf/,
  )
  expect(await readFile(path, "utf8")).toBe("picture")
  expect(server.bodies).toEqual(['{"prompt":"a cat"}'])
  expect([...server.keys]).toEqual(["Key me:secret"])
})

test("a stream that is cut is opened again, and no log line comes twice", async () => {
  let opened = 0
  const server = await serveAnswers({
    [`POST ${queue}`]: { body: JSON.stringify({ request_id: id }) },
    get [stream]() {
      const [first, second] = [{ message: "one" }, { message: "two" }]
      return opened++ === 0
        ? events({ status: "IN_PROGRESS", logs: [first] })
        : events({ status: "IN_PROGRESS", logs: [first] }, { status: "COMPLETED", logs: [second] })
    },
    [`GET ${queue}/requests/${id}`]: { body: '{"seed":12345678901234567890}' },
  })
  const shown = await run(["run", "fal-ai/flux/dev", "--url", server.url])
  expect(shown.err.match(/^(one|two)$/gm)).toEqual(["one", "two"])
  expect(shown).toMatchObject({ code: 0, out: '{"seed":12345678901234567890}\n' })
})

test("Ctrl-C cancels the request, waits for its end, exit code 130", async () => {
  let opened = 0
  const server = await serveAnswers({
    [`POST ${queue}`]: { body: JSON.stringify({ request_id: id }) },
    get [stream]() {
      return opened++ === 0
        ? { ...events({ status: "IN_PROGRESS" }), staysOpen: interrupt }
        : events({ status: "COMPLETED", error_type: "client_cancelled" })
    },
    [`PUT ${queue}/requests/${id}/cancel`]: { status: 202, body: "{}" },
  })
  const shown = await run(["run", "fal-ai/flux/dev", "--url", server.url])
  expect(shown).toMatchObject({ code: 130, out: "" })
  expect(shown.err).toContain(`Cancelled request ${id}`)
  expect(server.calls.slice(-2)).toEqual([`PUT ${queue}/requests/${id}/cancel`, stream])
})

test("--json prints one object with the result as it came", async () => {
  const server = await serveAnswers({
    [`POST ${queue}`]: { body: JSON.stringify({ request_id: id }) },
    [stream]: events({ status: "COMPLETED" }),
    [`GET ${queue}/requests/${id}`]: { body: '{"seed":12345678901234567890}' },
  })
  const shown = await run(["run", "fal-ai/flux/dev", "--json", "--url", server.url])
  expect(shown.out).toBe(
    `{"request_id":"${id}","files":[],"result":{"seed":12345678901234567890}}\n`,
  )
  expect(shown.err).toBe("")
})

test("refused input is told field by field, exit code 1", async () => {
  const detail = [{ loc: ["body", "prompt"], msg: "Field required", type: "missing" }]
  const server = await serveAnswers({
    [`POST ${queue}`]: { body: JSON.stringify({ request_id: id }) },
    [stream]: events({ status: "COMPLETED", error: "…" }),
    [`GET ${queue}/requests/${id}`]: { status: 422, body: JSON.stringify({ detail }) },
  })
  const shown = await run(["run", "fal-ai/flux/dev", "--quiet", "--url", server.url])
  expect(shown).toMatchObject({ code: 1, out: "" })
  expect(shown.err).toBe("The input was refused (422):\n  prompt: Field required (missing)\n")
})

test("an unknown endpoint is told with the nearest one", async () => {
  const server = await serveAnswers({
    "POST /queue/fal-ai/flux/dve": {
      status: 404,
      body: '{"detail":"Application \\"x\\" not found"}',
    },
    "GET /v1/models?limit=100": {
      body: JSON.stringify({ models: [{ endpoint_id: "fal-ai/flux/dev" }], has_more: false }),
    },
  })
  const shown = await run(["run", "fal-ai/flux/dve", "--url", server.url])
  expect(shown).toMatchObject({ code: 1 })
  expect(shown.err).toContain('Application "x" not found (404)\nDid you mean fal-ai/flux/dev?\n')
})

test("models are listed in columns over all pages", async () => {
  const metadata = { category: "text-to-image", display_name: "FLUX.1 [dev]" }
  const server = await serveAnswers({
    "GET /v1/models?limit=100": {
      body: JSON.stringify({
        models: [{ endpoint_id: "fal-ai/flux/dev", metadata }],
        has_more: true,
        next_cursor: "2",
      }),
    },
    "GET /v1/models?limit=100&cursor=2": {
      body: JSON.stringify({ models: [{ endpoint_id: "tintype/echo" }], has_more: false }),
    },
  })
  const shown = await run(["models", "--url", server.url])
  expect(shown.out).toBe("fal-ai/flux/dev  text-to-image  FLUX.1 [dev]\ntintype/echo\n")
})

test.each([
  [["sevre"], "Unknown command sevre; did you mean `tintype serve`?"],
  [["frobnicate"], "Unknown command frobnicate; see `tintype help`"],
  [["constructor"], "Unknown command constructor; see `tintype help`"],
  [["help", "modles"], "Unknown command modles; did you mean `tintype help models`?"],
  [["run"], "Which endpoint?"],
  [["run", "flux"], '"flux" is not an endpoint'],
  [["run", "../../etc/passwd"], "is not an endpoint"],
  [["run", "a/b?c=d"], "is not an endpoint"],
  [["models", "flux"], 'tintype models takes flags only, not "flux"'],
  [["models", "--url", "ftp://x"], '"ftp://x" is not an http:// or https:// address'],
  [["serve", "4000"], 'tintype serve takes flags only, not "4000"'],
  [["serve", "--prot", "1"], "Unknown flag --prot; did you mean --port?"],
  [["serve", "--port", "http"], "--port must be a whole number from 0 to 65535"],
])("%j is wrong usage: one line, exit code 2", async (argv, line) => {
  const shown = await run(argv)
  expect(shown).toMatchObject({ code: 2, out: "" })
  expect(shown.err).toContain(line)
  expect(shown.err.trimEnd()).not.toContain("\n")
})

test.each(["http://nowhere.invalid:1", "http://127.0.0.1:1"])(
  "a named server that does not answer is an error, never a temporary one in its place [%s]",
  async (url) => {
    const shown = await run(["run", "fal-ai/flux/dev", "--url", url])
    expect(shown).toMatchObject({ code: 1, err: `No server answers at ${url}\n` })
  },
)

test.each([[[]], [["--help"]], [["help", "run"]], [["run", "--help"]], [["help", "serve"]]])(
  "%j prints help that fits a terminal",
  async (argv) => {
    const { code, out } = await run(argv)
    expect(code).toBe(0)
    expect(out).toContain("tintype")
    for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(105)
  },
)

test("the version is the package's", async () => {
  expect((await run(["--version"])).out).toMatch(/^tintype \d+\.\d+\.\d+\n$/)
})

test("the greeting says where, how, and whether a key is needed", () => {
  expect(greet("http://127.0.0.1:3250", false)).toContain("No key is needed")
  expect(greet("http://127.0.0.1:3250", false)).toContain("tintype exec -- ")
  expect(greet("http://127.0.0.1:3250", false)).not.toContain("Authorization")
  expect(greet("http://127.0.0.1:3250", true)).toContain('-H "Authorization: Key $TINTYPE_KEY"')
})

test.each([
  [[], "needs a key in TINTYPE_KEY"],
  [["--key", "nonsense-secret"], "The key must be id:secret"],
  [["--key", "id:secret"], "needs an app to host"],
  [["--key", "id:secret", "--app", "./a.ts", "--slots", "0"], "--slots must be a whole number"],
  [["--key", "id:secret", "--app", "./a.ts", "--url", "ftp://x"], "is not an http:// or https://"],
  [["--key", "id:secret", "--app", "a", "--allow-private-targets", "yes"], "must be true or false"],
  [["./a.ts"], "takes flags only"],
  [["--apps", "./a.ts"], "did you mean --app?"],
])("tintype runner %j is wrong usage", async (argv, message) => {
  const { code, out, err } = await run(["runner", ...argv])
  expect([code, out, err]).toEqual([2, "", expect.stringContaining(message)])
  expect(err).not.toContain("secret\n")
  expect(err).not.toContain("nonsense")
})
