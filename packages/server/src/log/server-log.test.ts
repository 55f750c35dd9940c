import { expect, test } from "vitest"
import { redactCredentials, ServerLog } from "./server-log.ts"

function logOf(format: "text" | "json") {
  const lines: Record<"out" | "err", string[]> = { out: [], err: [] }
  const log = new ServerLog(format, {
    out: { write: (text) => lines.out.push(text) },
    err: { write: (text) => lines.err.push(text) },
  })
  return { log, lines }
}

test("an entry is one line of JSON, an error with its stack on the other stream", () => {
  const { log, lines } = logOf("json")
  log.write({ event: "listening", url: "http://127.0.0.1:1" })
  log.write({ event: "error", error: new Error("a bug\nin two lines") })
  expect(lines.out).toEqual(['{"event":"listening","url":"http://127.0.0.1:1"}\n'])
  expect(lines.err).toHaveLength(1)
  expect(lines.err[0]!.trimEnd()).not.toContain("\n")
  expect(JSON.parse(lines.err[0]!)).toEqual({
    event: "error",
    error: expect.stringContaining("server-log.test.ts"),
  })
})

test("a person reads a request as one line", () => {
  const { log, lines } = logOf("text")
  const call = { method: "POST", path: "/queue/a/b", status: 200, ms: 1.25 }
  log.write({ event: "request", ...call, requestId: "an-id" })
  log.write({ event: "request", ...call, requestId: null })
  expect(lines.out[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} POST \/queue\/a\/b 200 1\.[23] ms an-id\n$/)
  expect(lines.out[1]).toMatch(/ 200 1\.[23] ms\n$/)
})

test("a person reads other entries as words, and is not told of what is no news", () => {
  const { log, lines } = logOf("text")
  log.write({ event: "runner_connected", pid: 1 })
  log.write({ event: "session_ended", why: "a reason", detail: { a: 1 }, nothing: undefined })
  expect(lines.out).toHaveLength(1)
  expect(lines.out[0]).toMatch(/ session ended why=a reason detail=\{"a":1\} nothing=undefined\n$/)
})

test("credentials are redacted in every line, whoever wrote them into it", () => {
  const { log, lines } = logOf("json")
  const secret = "5ec4e7".repeat(10)
  log.write({ event: "error", error: new Error(`refused: Authorization: Key id:${secret}`) })
  log.write({ event: "note", text: `bearer ${secret} and Local ${secret} and Bearer id:${secret}` })
  expect(JSON.stringify(lines)).not.toContain(secret)
  expect(redactCredentials("the key of the local runner")).toBe("the key of the local runner")
})
