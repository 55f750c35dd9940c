import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, describe, expect, it } from "vitest"
import type { Submission } from "../crash/load.ts"
import { until } from "../crash/probe-calls.ts"
import { killProcessesOf } from "../crash/processes.ts"
import { chooseSeed, seededRandom } from "../crash/randomness.ts"
import { recordResult } from "../reliability/results.ts"
import { makeDataFolder, removeDataFolder } from "../server-process.ts"
import { auditDeliveries, mannerOf } from "./delivery-audit.ts"
import { type DeliveryRow, readDeliveryRows } from "./delivery-rows.ts"
import { type Manner, manners, Receivers } from "./receivers.ts"
import { runStorm, type Storm, type StormPlan } from "./storm.ts"

export interface StormSize {
  requests: number
  kills: number
  /** Of each manner. */
  origins: number
}

const lateMs = 1_500
const webhooks = {
  firstTimeoutMs: 1_000,
  retryTimeoutMs: 2_500,
  retriesMax: 8,
  retryBaseMs: 100,
  retryDelayMaxMs: 1_000,
  pollEveryMs: 200,
}
/**
 * Tries at a time for each origin that hangs: more than the eight it may have, until it is known to hang, and far fewer than the
 * requests that wait for it.
 */
const triesPerDeadOrigin = 12
/** Those whose address is not allowed are a storm of their own, a tenth of this one. */
const forbiddenShare = 0.1
const submitsPerSecond = 80
/** From the end of a healthy receiver's request to the call, for half of them. */
const promptMs = 2_000

/** The promise of webhooks, with as many requests and kills as there is time for. */
export function stormSuite(size: StormSize, timeoutMs: number): void {
  let data: string
  let receivers: Receivers

  afterEach(async () => {
    await killProcessesOf(data)
    await receivers.close()
    await removeDataFolder(data)
  })

  async function storm(plan: Pick<StormPlan, "requests" | "kills"> & Chosen) {
    data = await makeDataFolder()
    receivers = await Receivers.open(size.origins, { lateMs })
    const seed = chooseSeed("webhooks")
    const random = seededRandom(seed)
    const aim = (url: string | null) => receivers.aim(url)
    // Of a seed of its own, so that what a request is does not hang on when the kills come.
    const next = (index: number) => plan.choose(index, seededRandom(seed + index))
    const triesMax = triesPerDeadOrigin * size.origins
    const config = { webhooks: { ...webhooks, triesMax }, ...plan.settings }
    return await runStorm({ data, random, submitsPerSecond, aim, next, config, ...plan })
  }

  describe(`webhooks of ${size.requests} requests, and ${size.kills} kills -9 of their server`, () => {
    it(
      "all arrive after the end, signed, with the outcome, whatever their receivers do; the dead delay nobody",
      async () => {
        const { requests, kills } = size
        const done = await storm({
          requests,
          kills,
          choose: (index, random) => submission(index, random, receivers),
        })
        await untilTold(data, (row) => mannerOf(row) !== "hanging")
        const held = readDeliveryRows(data).filter((row) => mannerOf(row) === "hanging")
        expect(held.filter(({ delivery }) => delivery !== "pending")).toEqual([])
        const hung = new Set(receivers.arrivals.filter(({ reply }) => reply === "hang"))
        expect(hung.size).toBeGreaterThan(size.origins)
        receivers.release()
        const rows = await untilTold(data)

        report(done, rows, receivers)
        expectAcknowledged(done, rows)
        const { last, kills: made } = done
        const { arrivals } = receivers
        const audited = { url: last.url, rows, arrivals, kills: made, ...webhooks }
        expect(await auditDeliveries(audited)).toEqual([])
        expect(receivers.trapped).toEqual([])
        expect(receivers.askedStatuses.length).toBeGreaterThan(requests / 20)
        expect(receivers.askedStatuses.filter((status) => status !== "COMPLETED")).toEqual([])
        const waits = waitsOf(rows, receivers)
        expect(waits[Math.floor(waits.length / 2)]).toBeLessThan(promptMs)
        expect(await last.kill("SIGTERM")).toBe(0)
        const counts = { requests: rows.length, calls: arrivals.length, kills: made.length }
        recordResult("webhook-storm", counts)
      },
      timeoutMs,
    )

    it(
      "that may not reach private addresses reach none: each fails once, with the reason",
      async () => {
        const trap = createServer((request, response) => {
          receivers.trapped.push(String(request.headers.host))
          response.end()
        })
        trap.listen(0, "127.0.0.1")
        await once(trap, "listening")
        const { port } = trap.address() as AddressInfo
        const done = await storm({
          requests: Math.ceil(size.requests * forbiddenShare),
          kills: Math.ceil(size.kills / 4),
          settings: { allowPrivateTargets: false },
          choose: (index) => ({
            endpoint: "tintype/echo",
            body: Buffer.from(`{"index": ${index}}`),
            webhook: `http://${privateHosts[index % privateHosts.length]}:${port}/`,
          }),
        })
        const rows = await untilTold(data)
        trap.close()
        expectAcknowledged(done, rows)
        for (const { id, webhook, delivery } of rows) {
          const shown = await fetch(`${done.last.url}/_/webhooks/${id}`)
          const { tries } = (await shown.json()) as { tries: unknown[] }
          const reason = `${new URL(webhook).hostname.replace(/[[\]]/g, "")} is not a public address`
          expect([webhook, delivery, tries]).toEqual([
            webhook,
            "failed",
            [expect.objectContaining({ status: null, error: "forbidden_address", detail: reason })],
          ])
        }
        expect(receivers.trapped).toEqual([])
        expect(await done.last.kill("SIGTERM")).toBe(0)
      },
      timeoutMs,
    )
  })
}

interface Chosen {
  settings?: object
  choose(index: number, random: () => number): Submission
}

/** All of them lead to this machine, should they be called all the same; `localhost` only once it was resolved. */
const privateHosts = ["localhost", "127.0.0.1", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"]

/** Three in ten have a healthy receiver, two in ten a dead one, the others one of the rest; one in ten fails. */
function submission(index: number, random: () => number, receivers: Receivers): Submission {
  const share = random()
  const others = manners.filter((manner) => manner !== "prompt" && manner !== "hanging")
  const other = others[index % others.length]!
  const manner: Manner = share < 0.3 ? "prompt" : share < 0.5 ? "hanging" : other
  const { endpoint, body } = call(index, random, manner)
  return { endpoint, body, webhook: receivers.urlOf(manner, index, endpoint) }
}

function call(index: number, random: () => number, manner: Manner): Omit<Submission, "webhook"> {
  const share = random()
  const echo = { endpoint: "tintype/echo", length: manner === "cutting" ? 200_000 : 200 }
  if (manner === "cutting" || share < 0.6) {
    const padding = "å ✓ ".repeat(Math.ceil(echo.length / 7))
    const text = `{"index": ${index}, "large": 12345678901234567890, "padding": "${padding}"}`
    return { endpoint: echo.endpoint, body: Buffer.from(text) }
  }
  const input =
    share < 0.9 ? { duration_ms: 200 } : share < 0.95 ? { fail: "throw" } : { fail: "unknown" }
  return { endpoint: "test/probe", body: Buffer.from(JSON.stringify(input)) }
}

/** Until every request is terminal, and every delivery that is meant has ended. */
async function untilTold(
  data: string,
  isMeant: (row: DeliveryRow) => boolean = () => true,
): Promise<DeliveryRow[]> {
  const open = () => {
    const rows = readDeliveryRows(data)
    return rows.filter(
      (row) => row.delivery === null || (row.delivery === "pending" && isMeant(row)),
    )
  }
  await until("every webhook has ended", async () => open().length === 0, 90_000)
  return readDeliveryRows(data)
}

function expectAcknowledged({ load, kills }: Storm, rows: DeliveryRow[]): void {
  expect(load.refused).toEqual([])
  expect(kills.length).toBeGreaterThan(0)
  const known = new Set(rows.map(({ id }) => id))
  expect(load.acknowledged.filter(({ id }) => !known.has(id))).toEqual([])
}

/** From the end of each request to its first call, of those whose receivers are healthy; sorted. */
function waitsOf(rows: DeliveryRow[], { arrivals }: Receivers): number[] {
  const firsts = Map.groupBy(arrivals, ({ requestId }) => requestId)
  return rows
    .filter((row) => mannerOf(row) === "prompt")
    .map(({ id, finishedAt }) => firsts.get(id)![0]!.at - finishedAt!)
    .toSorted((a, b) => a - b)
}

function report({ load, kills }: Storm, rows: DeliveryRow[], receivers: Receivers): void {
  const counts = manners.map((manner) => {
    const ids = rows.filter((row) => mannerOf(row) === manner).length
    const calls = receivers.arrivals.filter((arrival) => arrival.manner === manner).length
    return `${manner} ${ids}/${calls}`
  })
  const waits = waitsOf(rows, receivers)
  const at = (share: number) => waits[Math.floor((waits.length - 1) * share)]
  console.log(
    `${load.acknowledged.length} acknowledged, ${rows.length} stored, ${kills.length} kills; requests/calls: ` +
      `${counts.join(", ")}; ${receivers.askedStatuses.length} asked; ` +
      `healthy receivers waited ${at(0.5)} ms (median), ${at(0.95)} ms (95 %), ${at(1)} ms (most)`,
  )
}
