import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, expect, test } from "vitest"
import { main } from "../main.ts"

const servers: Server[] = []
const folders: string[] = []

afterEach(async () => {
  for (const server of servers.splice(0)) server.closeAllConnections()
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true })
})

/** A server that answers as the gateway does, and what it was asked, and as whom. */
async function serve(
  answers: Record<string, object>,
  opens: (authorization: string) => boolean = () => true,
): Promise<{ url: string; calls: string[] }> {
  const calls: string[] = []
  const server = createServer((request, response) => {
    const call = `${request.method} ${request.url}`
    const { authorization = "" } = request.headers
    if (request.url !== "/health") calls.push(`${call} ${authorization}`.trim())
    const answer = answers[call] ?? { detail: "Request nothing not found" }
    response.statusCode = !opens(authorization) ? 401 : call in answers ? 200 : 404
    response.end(JSON.stringify(answer))
  })
  servers.push(server)
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, calls }
}

async function run(argv: string[], env: Record<string, string> = {}, cwd = "/") {
  const shown = { code: -1, out: "", err: "" }
  shown.code = await main(["requests", ...argv], {
    out: { write: (text) => (shown.out += text) },
    err: { write: (text) => (shown.err += text) },
    input: (async function* () {})(),
    env,
    cwd,
  })
  return shown
}

async function dataFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tintype-requests-"))
  folders.push(folder)
  await writeFile(join(folder, "secret"), "10ca1\n")
  return folder
}

const id = "764cabcf-b745-4b3e-ae38-1200304cf45b"
const request = {
  request_id: id,
  endpoint: "fal-ai/flux/dev",
  door: "queue",
  priority: "normal",
  state: "succeeded",
  queue_position: null,
  submitted_at: "2026-01-01T00:00:00.000Z",
  finished_at: "2026-01-01T00:00:02.500Z",
  attempts_made: 1,
  outcome: { status: 200, error: null, error_type: null, inference_time: 2 },
}

test("requests are listed over all pages, filtered, up to the limit, with the key", async () => {
  const filters = "state=failed&endpoint=a%2Fb&app=c%2Fd"
  const first = `GET /_/requests?${filters}&limit=100`
  const second = `GET /_/requests?${filters}&limit=2&cursor=c1`
  const rows = Array.from({ length: 99 }, () => request)
  const { url, calls } = await serve({
    [first]: { requests: rows, next_cursor: "c1" },
    [second]: { requests: [request, request], next_cursor: "c2" },
  })
  const argv = ["list", "--state", "failed", "--endpoint", "a/b", "--app", "c/d"]
  const shown = await run([...argv, "--limit", "101", "--url", url], { TINTYPE_KEY: "me:secret" })
  expect(calls).toEqual([`${first} Key me:secret`, `${second} Key me:secret`])
  expect(shown).toMatchObject({ code: 0, err: "There are more: add --cursor c2\n" })
  expect(shown.out.trim().split("\n")).toHaveLength(102)
})

test("a list is a table of at most a hundred columns, without control characters", async () => {
  const endpoint = `acme/${"long/".repeat(20)}\u001b[2J`
  const rows = [
    { ...request, state: "queued", queue_position: 3, finished_at: null, attempts_made: 0 },
    {
      ...request,
      state: "failed",
      outcome: { ...request.outcome, status: 503 },
      attempts_made: 10,
    },
    { ...request, endpoint },
  ]
  const { url } = await serve({
    "GET /_/requests?limit=50": { requests: rows, next_cursor: null },
  })
  const { out, err } = await run(["list", "--url", url])
  const [header, queued, failed, long] = out.split("\n")
  expect(header).toMatch(/^ID {36}STATE {7}AGE +TOOK {3}TRIES {2}ENDPOINT$/)
  expect(queued).toMatch(new RegExp(`^${id} {2}queued #4 {3}\\d+ d +– {6}0 {6}fal-ai/flux/dev$`))
  expect(failed).toMatch(new RegExp(`^${id} {2}failed 503 {2}\\d+ d +2.5 s {2}10 {5}fal-ai/`))
  expect(long).toMatch(/acme\/long\/[long/]*…$/)
  expect(long).toHaveLength(100)
  expect(err).toBe("")
})

test("a list and a request are printed as the server tells them with --json", async () => {
  const { url } = await serve({
    "GET /_/requests?cursor=c1&limit=1": { requests: [request], next_cursor: "c2" },
    [`GET /_/requests/${id}`]: request,
  })
  const list = await run(["list", "--json", "--limit", "1", "--cursor", "c1", "--url", url])
  expect(JSON.parse(list.out)).toEqual({ requests: [request], next_cursor: "c2", has_more: true })
  const one = await run(["show", id, "--json", "--url", url])
  expect(JSON.parse(one.out)).toEqual(request)
})

test("a request is shown as a timeline, without control characters", async () => {
  const shown = { ...request, endpoint: "a/\u001b[2Jb", attempts: [], attempts_made: 0 }
  const { url } = await serve({ [`GET /_/requests/${id}`]: shown })
  const { out } = await run(["show", id], { TINTYPE_URL: url })
  expect(out).toBe(
    `${id}  succeeded after 2.5 s\na/[2Jb  queue door, normal priority\n\n` +
      "2026-01-01 00:00:00.000         +0 ms  queued\n" +
      "2026-01-01 00:00:02.500        +2.5 s  answered 200\n",
  )
})

test("without a key, the data folder's secret is shown to a server that asks for one", async () => {
  const call = `GET /_/requests/${id}`
  const { url, calls } = await serve({ [call]: request }, (given) => given === "Local 10ca1")
  const folder = await dataFolder()
  expect(await run(["show", id, "--data", folder, "--url", url])).toMatchObject({ code: 0 })
  expect(calls.splice(0)).toEqual([call, `${call} Local 10ca1`])
  expect(await run(["show", id, "--url", url], {}, folder)).toMatchObject({ code: 1 })
  const other = { TINTYPE_DATA: folder, TINTYPE_KEY: "me:secret", TINTYPE_URL: url }
  expect(await run(["show", id], other)).toMatchObject({ code: 1 })
  expect(calls).toEqual([call, `${call} Key me:secret`])
})

test("the secret is not shown to a server that does not ask for it", async () => {
  const { url, calls } = await serve({ [`GET /_/requests/${id}`]: request })
  await run(["show", id, "--url", url], { TINTYPE_DATA: await dataFolder() })
  expect(calls).toEqual([`GET /_/requests/${id}`])
})

test("an unknown request, and a server that is not there, are said in a line (exit code 1)", async () => {
  const { url } = await serve({})
  expect(await run(["show", "nothing", "--url", url])).toEqual({
    code: 1,
    out: "",
    err: "Request nothing not found (404)\n",
  })
  expect(await run(["show", "nothing", "--url", "http://127.0.0.1:9"])).toEqual({
    code: 1,
    out: "",
    err: "No server answers at http://127.0.0.1:9\n",
  })
})

test.each([
  [[], /needs list or show/],
  [["shwo"], /did you mean show\?/],
  [["list", "r1"], /takes flags only/],
  [["show"], /takes one request id/],
  [["show", "r1", "--state", "failed"], /takes no --state/],
  [["show", "r1", "--limit", "5"], /takes no --limit/],
  [["list", "--limit", "1.5"], /--limit must be a whole number above 0/],
  [["list", "--stat", "failed"], /did you mean --state\?/],
])("%j is wrong usage", async (argv, message) => {
  const { url } = await serve({})
  const shown = await run(argv, { TINTYPE_URL: url })
  expect(shown).toMatchObject({ code: 2, out: "", err: expect.stringMatching(message) })
})
