import { afterEach, expect, test } from "vitest"
import { type AppRow, StoreError } from "../store.ts"
import { closeAll, RawPeer, standIn, TestServer } from "./dispatcher.suite.ts"

afterEach(closeAll)

const timing = { startupTimeoutMs: 150 }

test("a run request whose app has no runner fails after the timeout", async () => {
  const server = await TestServer.open({ timing })
  const askedAt = performance.now()
  const { id } = await server.submit({ door: "run" })
  const ended = await server.terminal(id)
  expect(performance.now() - askedAt).toBeGreaterThan(timing.startupTimeoutMs - 5)
  expect(ended).toMatchObject({
    state: "failed",
    attempts: 0,
    outcome: { status: 503, errorType: "runner_scheduling_failure" },
  })
})

test("a request of the queue waits, and so does a run whose app has a busy runner", async () => {
  const server = await TestServer.open({ timing })
  await RawPeer.link(server)
  const { id: queued } = await server.submit({ app: "acme/other" })
  const { id: hosted } = await server.submit({ door: "run" })
  const { id: unhosted } = await server.submit({ door: "run", app: "acme/other" })
  await server.terminal(unhosted)
  expect((await server.store.request(queued))?.state).toBe("queued")
  expect((await server.store.request(hosted))?.state).toBe("queued")
})

test("an app that allows its start more time than the configuration gets it", async () => {
  const server = await TestServer.open({
    timing,
    wrap: (store) => standIn(store, "apps", () => Promise.resolve([patientApp])),
  })
  const { id: patient } = await server.submit({ door: "run", app: patientApp.id })
  const { id: other } = await server.submit({ door: "run" })
  expect((await server.terminal(other)).state).toBe("failed")
  expect((await server.store.request(patient))?.state).toBe("queued")
})

test("an attempt may take as long as its app says, and the configuration otherwise", async () => {
  const hasty = { ...patientApp, id: "acme/hasty", timeouts: { requestMs: 1_500 } }
  const server = await TestServer.open({
    timing: { requestTimeoutMs: 9_000 },
    wrap: (store) => standIn(store, "apps", () => Promise.resolve([patientApp, hasty])),
  })
  for (const [app, timeoutMs] of [
    [hasty.id, 1_500],
    [patientApp.id, 9_000],
    ["acme/echo", 9_000],
  ] as const) {
    const peer = await RawPeer.link(server, { apps: [app] })
    peer.credit()
    await server.submit({ app })
    expect(await peer.next("assign")).toMatchObject({ app, timeoutMs })
  }
})

const patientApp: AppRow = {
  id: "acme/patient",
  endpoints: [],
  openapi: {},
  metadata: {},
  timeouts: { startupMs: 600_000 },
  revision: 1,
}

test("a store that cannot write then is asked again", async () => {
  let refusals = 2
  const server = await TestServer.open({
    timing,
    wrap: (store) =>
      standIn(store, "failQueued", (...input) =>
        refusals-- > 0
          ? Promise.reject(new StoreError("full", "full"))
          : store.failQueued(...input),
      ),
  })
  const { id } = await server.submit({ door: "run" })
  expect((await server.terminal(id)).state).toBe("failed")
})
