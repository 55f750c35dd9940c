import { once } from "node:events"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, expect, test } from "vitest"
import { main } from "../main.ts"

const servers: Server[] = []

afterEach(() => {
  for (const server of servers.splice(0)) server.closeAllConnections()
})

/** A server that answers as the gateway does, and what it was asked. */
async function serve(answers: Record<string, object>): Promise<{ url: string; calls: string[] }> {
  const calls: string[] = []
  const server = createServer((request, response) => {
    const call = `${request.method} ${request.url}`
    if (request.url !== "/health")
      calls.push(`${call} ${request.headers.authorization ?? ""}`.trim())
    const answer = answers[call]
    response.statusCode = answer === undefined ? 404 : 200
    response.end(JSON.stringify(answer ?? { detail: "Request nothing has no delivery" }))
  })
  servers.push(server)
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, calls }
}

async function run(argv: string[], env: Record<string, string> = {}) {
  const shown = { code: -1, out: "", err: "" }
  shown.code = await main(["webhooks", ...argv], {
    out: { write: (text) => (shown.out += text) },
    err: { write: (text) => (shown.err += text) },
    input: (async function* () {})(),
    env,
    cwd: "/",
  })
  return shown
}

const delivery = {
  request_id: "r1",
  url: "https://example.com/hook",
  state: "delivered",
  try_count: 2,
  next_try_at: null,
  created_at: "2026-01-01T00:00:00.000Z",
  finished_at: "2026-01-01T00:00:05.000Z",
}
const header = `ID${" ".repeat(36)}STATE      TRIES     ENDED OR NEXT TRY    URL\n`
const line = "r1  delivered  2 tries   2026-01-01 00:00:05  https://example.com/hook\n"

test("deliveries are listed over all pages, in the state that is asked for, with the key", async () => {
  const { url, calls } = await serve({
    "GET /_/webhooks?state=delivered&limit=100": { deliveries: [delivery], next_cursor: "c" },
    "GET /_/webhooks?state=delivered&limit=100&cursor=c": {
      deliveries: [{ ...delivery, request_id: "r2", try_count: 1 }],
      next_cursor: null,
    },
  })
  const argv = ["list", "--state", "delivered", "--limit", "101", "--url", url]
  expect(await run(argv, { TINTYPE_KEY: "me:secret" })).toEqual({
    code: 0,
    out: header + line + line.replace("r1", "r2").replace("2 tries", "1 try  "),
    err: "",
  })
  expect(calls).toHaveLength(2)
  expect(calls[0]).toMatch(/Key me:secret$/)
})

test("a delivery is shown with its tries, without control characters", async () => {
  const at = "2026-01-01T00:00:00.000Z"
  const answer = "no\n\u001b[2J way"
  const tries = [
    { number: 1, at, duration_ms: 12, status: 500, error: null, detail: null, answer },
    {
      number: 2,
      at,
      duration_ms: 9,
      status: null,
      error: "connection",
      detail: "ECONNRESET",
      answer: "",
    },
  ]
  const { url } = await serve({ "GET /_/webhooks/r1": { ...delivery, tries } })
  const shown = await run(["show", "r1"], { TINTYPE_URL: url })
  expect(shown.out).toBe(
    `${line}   1  2026-01-01 00:00:00      12 ms  500  no [2J way\n` +
      "   2  2026-01-01 00:00:00       9 ms  connection: ECONNRESET\n",
  )
  const json = await run(["show", "r1", "--json", "--url", url])
  expect(JSON.parse(json.out)).toEqual({ ...delivery, tries })
})

test("a delivery is sent again", async () => {
  const again = {
    ...delivery,
    state: "pending",
    finished_at: null,
    next_try_at: delivery.created_at,
  }
  const { url, calls } = await serve({ "POST /_/webhooks/r1/resend": again })
  const shown = await run(["resend", "r1", "--url", url])
  expect(shown).toMatchObject({ code: 0, out: expect.stringMatching(/^r1 {2}pending/) })
  expect(calls).toEqual(["POST /_/webhooks/r1/resend"])
})

test("what the server refuses is said in a line (exit code 1)", async () => {
  const { url } = await serve({})
  const shown = await run(["show", "nothing", "--url", url])
  expect(shown).toEqual({ code: 1, out: "", err: "Request nothing has no delivery (404)\n" })
})

test("no server is started to ask it for webhooks (exit code 1)", async () => {
  const shown = await run(["list", "--url", "http://127.0.0.1:9"])
  expect(shown).toEqual({ code: 1, out: "", err: "No server answers at http://127.0.0.1:9\n" })
})

test.each([
  [[], /needs list, show or resend/],
  [["shwo"], /did you mean show\?/],
  [["list", "r1"], /takes flags only/],
  [["show"], /takes one request id/],
  [["show", "r1", "--state", "failed"], /takes no --state/],
  [["list", "--limit", "1.5"], /--limit must be a whole number above 0/],
])("%j is wrong usage", async (argv, message) => {
  const { url } = await serve({})
  const shown = await run(argv, { TINTYPE_URL: url })
  expect(shown).toMatchObject({ code: 2, out: "", err: expect.stringMatching(message) })
})
