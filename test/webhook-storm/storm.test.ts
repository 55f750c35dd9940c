import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { Connections } from "../crash/connections.ts"
import { until } from "../crash/probe-calls.ts"
import { killProcessesOf } from "../crash/processes.ts"
import {
  makeDataFolder,
  removeDataFolder,
  type ServerProcess,
  startServerProcess,
} from "../server-process.ts"
import { type AuditedStorm, auditDeliveries } from "./delivery-audit.ts"
import { readDeliveryRows } from "./delivery-rows.ts"
import { type Arrival, Receivers } from "./receivers.ts"
import { stormSuite } from "./storm.suite.ts"

stormSuite({ requests: 60, kills: 2, origins: 2 }, 90_000)

describe("the audit of a storm", () => {
  let data: string
  let server: ServerProcess
  let receivers: Receivers

  beforeEach(async () => {
    receivers = await Receivers.open(1, { lateMs: 0 })
  })

  afterEach(async () => {
    await receivers.close()
    await killProcessesOf(data)
    await removeDataFolder(data)
  })

  it("notices a webhook that is early, altered, missing, unwritten, or of nobody's request", async () => {
    data = await makeDataFolder()
    server = await startServerProcess({ data, config: { webhooks: { retryBaseMs: 50 } } })
    const endpoint = "tintype/echo"
    const webhook = encodeURIComponent(receivers.urlOf("failing", 1, endpoint))
    const url = `${server.url}/queue/${endpoint}?fal_webhook=${webhook}`
    const connections = new Connections(1)
    await connections.call("POST", url, Buffer.from("[1]"))
    connections.close()
    const rows = () => readDeliveryRows(data)
    await until("delivered", async () => rows()[0]?.delivery === "delivered")

    const [first, second, last] = receivers.arrivals as [Arrival, Arrival, Arrival]
    const storm: AuditedStorm = {
      url: server.url,
      rows: rows(),
      arrivals: receivers.arrivals,
      kills: [],
      firstTimeoutMs: 15_000,
      retriesMax: 31,
    }
    const found = async (changed: Partial<AuditedStorm>) =>
      (await auditDeliveries({ ...storm, ...changed })).join("\n")
    const withLast = (fields: Partial<Arrival>) => ({
      arrivals: [first, second, { ...last, ...fields }],
    })
    expect(await found({})).toBe("")
    expect(await found(withLast({ at: rows()[0]!.finishedAt! - 1 }))).toContain("the request ended")
    const altered = await found(withLast({ body: Buffer.concat([last.body!, Buffer.from(" ")]) }))
    expect(altered).toContain("differs from the outcome")
    expect(altered).toContain("does not verify")
    expect(await found(withLast({ text: "other" }))).toContain("has kept")
    expect(await found(withLast({ reply: 500 }))).toContain("no arrival is try 3")
    expect(await found({ arrivals: [] })).toContain("0 have arrived")
    const more = [...receivers.arrivals, last]
    expect(await found({ arrivals: more })).toContain("1 tries are not written, of 0 kills")
    expect(await found({ arrivals: more, kills: [{ from: 0, to: Date.now() }] })).toBe("")
    expect(await found({ rows: [] })).toContain("nobody's request")
    const redirecting = rows()[0]!.webhook.replace("failing", "redirecting")
    expect(await found({ rows: [{ ...rows()[0]!, webhook: redirecting }] })).toContain("not failed")
    expect(await server.kill("SIGTERM")).toBe(0)
  })
})
