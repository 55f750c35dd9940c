import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { DatabaseSync } from "node:sqlite"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { defaultConfig } from "../../config.ts"
import type { NewRequest } from "../../domain/request.ts"
import type { Pruned, PruneOrder } from "../../domain/retention.ts"
import { newRequest } from "../store.suite.ts"
import { openWriter } from "./connection.ts"
import { Engine } from "./engine.ts"
import type { Operation } from "./messages.ts"
import { pruningSql } from "./pruning.ts"
import { Reader } from "./reads.ts"

/** The engine in this thread: its clock can be played with, and what a slice costs can be measured. */

const policy = { ...defaultConfig.retention, requestMs: 1_000 }
const endedAt = 1_000_000

let folder = ""
let db: DatabaseSync
let monotonicMs = 0
/** How long each look at the clock takes. */
let tickMs = 0

function openEngine(monotonic?: () => number): Engine {
  db = openWriter(join(folder, "pruning.db"))
  return new Engine(db, monotonic === undefined ? {} : { monotonic })
}

function apply(engine: Engine, operations: Operation[], now: number): unknown[] {
  return engine.apply(operations, now).results.map((result) => {
    if (!result.ok) throw new Error(result.failure.message)
    return result.value
  })
}

/** Requests that have ended, with an input and a result each. */
function end(engine: Engine, count: number): void {
  const requests: NewRequest[] = Array.from({ length: count }, () => newRequest())
  const submits = requests.map((one): Operation => ({ name: "submit", arguments: [one] }))
  const cancels = requests.map(({ id }): Operation => ({
    name: "cancel",
    arguments: [{ id, cause: "client_cancelled" }],
  }))
  apply(engine, [...submits, ...cancels], endedAt)
}

function prune(engine: Engine, order: Partial<PruneOrder>, others: Operation[] = []): Pruned {
  const whole = { policy, rowsMax: 1_000, budgetMs: 1_000, ...order }
  const now = endedAt + policy.requestMs
  return apply(engine, [...others, { name: "prune", arguments: [whole] }], now).at(-1) as Pruned
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tintype-pruning-"))
})

afterEach(async () => {
  db.close()
  await rm(folder, { recursive: true })
})

describe("a slice", () => {
  test.each([
    [5, 1, 5],
    [5, 2, 3],
    [4.5, 1, 5],
    [3, 100, 1],
    [0, 1, 1],
  ])("of %d ms, each row taking %d ms, ends after %d rows", (budgetMs, rowMs, rows) => {
    monotonicMs = 0
    tickMs = rowMs
    const engine = openEngine(() => {
      const before = monotonicMs
      monotonicMs += tickMs
      return before
    })
    end(engine, 20)
    expect(prune(engine, { budgetMs })).toMatchObject({ requests: rows, more: true })
  })

  test("looks at the clock within the log of one request", () => {
    tickMs = 0
    let looks = 0
    const engine = openEngine(() => (looks += 1))
    end(engine, 1)
    db.exec(`
      WITH RECURSIVE numbers (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM numbers LIMIT 1000)
      INSERT INTO events SELECT 1, 1, seq, 'app', '{}' FROM numbers`)
    expect(prune(engine, { budgetMs: 2 })).toMatchObject({ requests: 0, more: true })
    const left = new Reader(db).events(1).length
    expect(left).toBeGreaterThan(500)
    expect(left).toBeLessThan(1_000)
  })
})

test("no statement of a slice walks over a table, whatever the tables hold", () => {
  end(openEngine(), 2_000)
  db.exec("ANALYZE")
  for (const [name, sql] of Object.entries(pruningSql)) {
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all()
    const steps = plan.map(({ detail }) => String(detail))
    const slow = steps.filter((step) => /^SCAN (?!CONSTANT)|TEMP B-TREE/.test(step))
    expect([name, ...slow]).toEqual([name])
  }
})

/** Of the thread, so that what else this machine does at the time does not count. */
function cpuMs(since?: NodeJS.CpuUsage): NodeJS.CpuUsage & { ms: number } {
  const usage = process.threadCpuUsage(since)
  return { ...usage, ms: (usage.user + usage.system) / 1_000 }
}

test("100,000 requests go in slices of at most 5 ms, with submits in each of their commits", () => {
  const engine = openEngine()
  const count = 100_000
  db.exec("PRAGMA synchronous = OFF")
  for (let made = 0; made < count; made += 10_000) end(engine, 10_000)
  db.exec("PRAGMA synchronous = FULL")
  const { sliceMs, sliceRowsMax } = policy
  const times: number[] = []
  let removed = 0
  for (let more = true; more;) {
    const submit: Operation = { name: "submit", arguments: [newRequest()] }
    const before = cpuMs()
    // As the pruner asks for it: the other half is the COMMIT's.
    const pruned = prune(engine, { rowsMax: sliceRowsMax, budgetMs: sliceMs / 2 }, [submit])
    times.push(cpuMs(before).ms)
    removed += pruned.requests
    more = pruned.more
  }
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))] ?? Infinity
  const [median, p95, longest] = [at(0.5), at(0.95), at(1)].map((ms) => ms.toFixed(1))
  console.log(
    `${removed} requests in ${times.length} slices: median ${median} ms, 95 % ${p95} ms, longest ${longest} ms`,
  )
  expect(removed).toBe(count)
  expect(new Reader(db).queueLength(newRequest().app)).toBe(times.length)
  expect(at(0.5)).toBeLessThanOrEqual(sliceMs)
  // Now and then a commit folds the write-ahead log into the file, as any commit may, and the collector runs.
  expect(at(0.95)).toBeLessThanOrEqual(3 * sliceMs)
}, 240_000)
