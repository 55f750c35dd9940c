import { afterEach, expect, test } from "vitest"
import { closeAll, RawPeer, rawApp, startRunner, TestServer } from "./dispatcher.suite.ts"

afterEach(closeAll)

/** What becomes of an outcome with these headers and this status, the only one that its request has. */
async function outcomeOf(fields: { status?: number; headers?: Record<string, string> }) {
  const server = await TestServer.open()
  const peer = await RawPeer.link(server)
  peer.credit()
  const { id } = await server.submit({ noRetry: true })
  const { lease } = await peer.next("assign")
  peer.send({ type: "accepted", lease })
  peer.done(lease, fields)
  return (await server.terminal(id)).outcome!
}

test("headers that are the platform's own or that HTTP cannot carry do not pass", async () => {
  const { headers } = await outcomeOf({
    headers: {
      "X-Fine": "yes",
      "set-cookie": "a=b",
      "access-control-allow-origin": "*",
      "x-broken": "a\r\nx-smuggled: 1",
      "x-wide": "☃",
      "not a name": "1",
    },
  })
  expect(headers).toEqual({ "x-fine": "yes" })
})

test.each([
  [200, undefined],
  [400, undefined],
  [429, "1"],
  [500, "1"],
])("what an app says of a retry passes with a 429 and a 5xx alone [%i]", async (status, told) => {
  const { headers } = await outcomeOf({ status, headers: { "X-Fal-Needs-Retry": "1" } })
  expect(headers["x-fal-needs-retry"]).toBe(told)
})

test("an answer with an error status is a failure with the app's own status", async () => {
  expect(await outcomeOf({ status: 422, headers: {} })).toMatchObject({ status: 422 })
})

test("an app that throws is answered with the platform's error", async () => {
  const server = await TestServer.open()
  const app = rawApp("acme/echo", () => {
    throw new Error("a bug")
  })
  startRunner(server, [app])
  const ended = await server.terminal((await server.submit()).id)
  expect(ended).toMatchObject({ state: "failed", outcome: { errorType: "runner_server_error" } })
  expect(await server.messages(ended)).toEqual([expect.stringContaining("a bug")])
})

test("an outcome whose body was never put is incomplete", async () => {
  const server = await TestServer.open()
  const peer = await RawPeer.link(server)
  peer.credit()
  const { id } = await server.submit()
  const { lease } = await peer.next("assign")
  peer.done(lease, { body: null })
  const { outcome } = await server.terminal(id)
  expect(outcome).toMatchObject({ status: 502, errorType: "runner_incomplete_response" })
})
