import { afterEach, expect, test } from "vitest"
import { StoreError } from "../store.ts"
import { closeAll, RawPeer, rawApp, standIn, startRunner, TestServer } from "./dispatcher.suite.ts"

afterEach(closeAll)

const echo = rawApp("acme/echo", (input) => input)

/** Nothing is found by looking: only the timer wakes. */
const timing = { retryMinMs: 60, retryMaxMs: 60, dueEveryMs: 600_000, leaseMs: 600_000 }

/** A request whose first attempt was answered with 503, by a runner that is gone. */
async function failOnce(server: TestServer): Promise<string> {
  const peer = await RawPeer.link(server)
  peer.credit()
  const { id } = await server.submit()
  const { lease } = await peer.next("assign")
  peer.send({ type: "accepted", lease })
  peer.done(lease, { status: 503, headers: { "x-fal-stop-runner": "0" } })
  await peer.next("settled")
  peer.cut()
  return id
}

test("a request is tried again when its backoff is over, and not before", async () => {
  const server = await TestServer.open({ timing })
  const id = await failOnce(server)
  const { notBefore } = await server.until(id, (record) => record.notBefore !== null)
  startRunner(server, [echo])
  const { attempt } = await server.until(id, (record) => record.attempts === 2)
  expect(attempt?.startedAt).toBeGreaterThanOrEqual(notBefore!)
  expect((await server.terminal(id)).state).toBe("succeeded")
})

test("what an earlier life of the server left is due all the same", async () => {
  const first = await TestServer.open({ timing: { ...timing, retryMinMs: 300, retryMaxMs: 300 } })
  const failed = await failOnce(first)
  const { id: late } = await first.submit({ app: "acme/other", startTimeoutMs: 120 })
  const server = await TestServer.open({ timing, folder: await first.crash() })
  startRunner(server, [echo])
  expect((await server.terminal(late)).outcome).toMatchObject({ errorType: "startup_timeout" })
  expect((await server.terminal(failed)).attempts).toBe(2)
})

test.each(["queue", "run"] as const)(
  "a request that does not start in time ends then [%s]",
  async (door) => {
    const server = await TestServer.open({ timing })
    const { id, startDeadline } = await server.submit({ door, startTimeoutMs: 100 })
    const ended = await server.terminal(id)
    expect(ended.finishedAt).toBeGreaterThanOrEqual(startDeadline!)
    expect(ended).toMatchObject({ state: "failed", attempts: 0, outcome: { status: 504 } })
  },
)

test("a request that starts in time runs as long as it takes", async () => {
  const server = await TestServer.open({ timing })
  const peer = await RawPeer.link(server)
  peer.credit()
  const { id } = await server.submit({ startTimeoutMs: 400 })
  const { lease } = await peer.next("assign")
  peer.send({ type: "accepted", lease })
  // A later deadline passing shows that this one has.
  const { id: other } = await server.submit({ startTimeoutMs: 450 })
  expect((await server.terminal(other)).state).toBe("failed")
  peer.done(lease)
  expect((await server.terminal(id)).state).toBe("succeeded")
})

test("a store that cannot write then is asked again", async () => {
  let refusals = 2
  const server = await TestServer.open({
    timing: { ...timing, dueEveryMs: 20 },
    wrap: (store) =>
      standIn(store, "advance", () =>
        refusals-- > 0 ? Promise.reject(new StoreError("full", "full")) : store.advance(),
      ),
  })
  const { id } = await server.submit({ startTimeoutMs: 100 })
  expect((await server.terminal(id)).state).toBe("failed")
  await server.logged("advance_failed", 2)
})
