import { spawn } from "node:child_process"
import { copyFile, mkdtemp, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { DatabaseSync } from "node:sqlite"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { defaultConfig } from "../../config.ts"
import type { IdempotencySettings } from "../../domain/idempotency.ts"
import { StoreError } from "../../store.ts"
import { describeBatches } from "../batches.suite.ts"
import { describeDeliveries } from "../deliveries.suite.ts"
import { describeHistory } from "../history.suite.ts"
import { describeCrashLosses, describeIdempotency } from "../idempotency.suite.ts"
import { describeLimits } from "../limits.suite.ts"
import { describeRetention } from "../retention.suite.ts"
import { describeRetries } from "../retries.suite.ts"
import { describeUploads } from "../uploads.suite.ts"
import {
  describeStore,
  newHello,
  newLease,
  newRequest,
  type OpenedStore,
  type StoreSetup,
} from "../store.suite.ts"
import { schemaVersion } from "./migrations.ts"
import { openSqliteStore, type SqliteStore } from "./sqlite-store.ts"

let folder = ""
let files = 0

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tintype-store-"))
})

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

function newPath(): string {
  files += 1
  return join(folder, `${files}.db`)
}

async function open(
  path: string,
  setup: Partial<StoreSetup> & { pagesMax?: number; idempotency?: IdempotencySettings } = {},
): Promise<OpenedStore & { store: SqliteStore }> {
  const committed: OpenedStore["committed"] = []
  const freed: OpenedStore["freed"] = []
  const { clock = Date.now, batchOperationsMax = 20_000, batchBytesMax = 64e6, ...others } = setup
  const { concurrencyMax = 0, ...rest } = others
  const store = await openSqliteStore({
    path,
    limits: { batchOperationsMax, batchBytesMax, concurrencyMax },
    clock,
    onCommit: (changed) => committed.push(changed),
    onFreed: (apps) => freed.push(apps),
    onFatal: (error) => {
      throw error
    },
    ...rest,
  })
  return { store, committed, freed, commits: () => store.counts().commits }
}

describeStore("SQLite in a file", (setup) => open(newPath(), setup))
describeBatches("SQLite in a file", (setup) => open(newPath(), setup))
describeDeliveries("SQLite in a file", (setup) => open(newPath(), setup))
describeHistory("SQLite in a file", (setup) => open(newPath(), setup))
describeIdempotency("SQLite in a file", (setup) => open(newPath(), setup))
describeLimits("SQLite in a file", (setup) => open(newPath(), setup))
describeRetries("SQLite in a file", (setup) => open(newPath(), setup))
describeRetention("SQLite in a file", (setup) => open(newPath(), setup))
describeUploads("SQLite in a file", (setup) => open(newPath(), setup))
describeCrashLosses("SQLite in a file", {
  newPath,
  open: (path, clock, detectLost) =>
    open(path, { clock, idempotency: { ...defaultConfig.idempotency, detectLost } }),
  // What a killed process leaves: the file and its log as they are, without the close.
  die: async (path) => {
    const left = newPath()
    await copyFile(path, left)
    await copyFile(`${path}-wal`, `${left}-wal`)
    return left
  },
})

const app = newRequest().app

/** Runs a program of ours in a process of its own, which can be killed. */
function run(program: string, shell = 'exec "$0" "$@"') {
  const source = new URL("./sqlite-store.ts", import.meta.url).href
  const suite = new URL("../../store.ts", import.meta.url).href
  const text = `
    import { openSqliteStore } from ${JSON.stringify(source)}
    import { StoreError } from ${JSON.stringify(suite)}
    const limits = { batchOperationsMax: 20000, batchBytesMax: 64e6 }
    const request = (id, input = new Uint8Array(10)) => ({ id, account: "a" + (id.length % 3), door: "queue",
      app: ${JSON.stringify(app)}, endpoint: "x", path: "/", priority: "normal", input: { inline: input },
      headers: {}, fileBase: "" })
    ${program}`
  const node = ["--conditions=tintype-source", "--input-type=module-typescript", "--eval", text]
  return spawn("sh", ["-c", shell, process.execPath, ...node], {
    stdio: ["ignore", "pipe", "inherit"],
  })
}

describe("SQLite in a file, across lives", () => {
  test("everything is there after a close and an open (state, order, clock, sessions, dead ones)", async () => {
    const path = newPath()
    const first = await open(path)
    await first.store.openSession(newHello("s1"))
    await first.store.openSession(newHello("dead"))
    await first.store.endAttempts("dead", "lost")
    const records = await Promise.all(
      Array.from({ length: 600 }, (_, index) =>
        first.store.submit(newRequest({ account: `account-${index % 7}` })),
      ),
    )
    const order = { session: "s1", apps: [app], leases: [newLease(), newLease()] }
    const claims = await first.store.claim(order)
    const ids = records.map((record) => record.id)
    const positions = await first.store.positions(ids)
    await first.store.checkpoint()
    await first.store.close()

    const second = await open(path)
    expect(await second.store.recover()).toEqual({ ended: 0 })
    expect(await second.store.positions(ids)).toEqual(positions)
    const [head] = claims
    expect(await second.store.request(head?.request.id ?? "")).toEqual(head?.request)
    const resumed = await second.store.openSession(newHello("s1"))
    expect(resumed.reassign.map((claim) => claim.request.id).toSorted()).toEqual(
      claims.map((claim) => claim.request.id).toSorted(),
    )
    expect((await second.store.openSession(newHello("dead", { unacked: ["u"] }))).abandon).toEqual([
      "u",
    ])
    // The clock stands at turn 1, so an account that was never seen gets turn 2.
    expect(await second.store.submit(newRequest({ account: "new" }))).toMatchObject({
      sequence: 601,
      turn: 2,
    })
    await second.store.close()
  })

  test("a request that succeeds at once has no row of attempts; a killed runner is known after an open", async () => {
    const path = newPath()
    const first = await open(path)
    await first.store.openSession(newHello("s1"))
    const head = { status: 200, headers: {}, body: { inline: new Uint8Array(1) }, inferenceMs: 1 }
    const records = [
      await first.store.submit(newRequest()),
      await first.store.submit(newRequest({ noRetry: true })),
      await first.store.submit(newRequest()),
    ]
    const leases = [newLease(), newLease(), newLease()]
    const [claimed] = await first.store.claim({ session: "s1", apps: [app], leases })
    const lease = claimed?.request.attempt?.lease ?? ""
    await first.store.settle({ lease, session: "s1", result: { kind: "answered", ...head } })
    await first.store.endAttempts("s1", "lost")
    const sequences = records.map(({ sequence }) => sequence)
    const known = await Promise.all(sequences.map((one) => first.store.attempts(one)))
    await first.store.close()
    const raw = new DatabaseSync(path)
    const rows = raw.prepare("SELECT sequence, number FROM attempts").all()
    expect(rows).toEqual([{ sequence: sequences[2], number: 1 }])
    raw.close()
    const second = await open(path)
    const again = await Promise.all(sequences.map((one) => second.store.attempts(one)))
    expect(again).toEqual(known)
    expect(again.flat()).toMatchObject([1, 2, 3].map(() => ({ number: 1, runner: { pid: 1 } })))
    await second.store.close()
  })

  test("a delivery that is owed and the tries made of it are there after an open", async () => {
    const path = newPath()
    const first = await open(path)
    await first.store.openSession(newHello("s1"))
    const webhook = "https://example.com/hook"
    const { id, sequence } = await first.store.submit(newRequest({ webhook }))
    await first.store.cancel({ id, cause: "client_cancelled" })
    const none = { status: 500, answer: "no", error: null, detail: null }
    const policy = { retriesMax: 9, retryBaseMs: 1_000, retryDelayMaxMs: 1_000 }
    const made = { at: 5, durationMs: 1, ...none }
    await first.store.recordTry({ sequence, number: 1, made, policy, random: 0 })
    const known = await first.store.delivery(id)
    await first.store.close()
    const second = await open(path)
    expect(await second.store.delivery(id)).toEqual(known)
    const due = await second.store.dueDeliveries({ now: 1e6, limit: 9, perOrigin: 9, except: [] })
    expect(due.map(({ delivery }) => delivery)).toEqual([known?.delivery])
    expect(known?.tries).toEqual([made])
    await second.store.close()
  })

  test("every acknowledged submit, claim and cancel survives kill -9 (a child that is killed)", async () => {
    const path = newPath()
    const child = run(`
      const store = await openSqliteStore({ path: ${JSON.stringify(path)}, limits, onCommit() {}, onFatal() {} })
      await store.openSession({ session: "s", runner: { pid: 1, startedAt: "", build: "" }, apps: [], held: [], unacked: [] })
      const say = (...words) => process.stdout.write(words.join(" ") + "\\n")
      for (let n = 0; ; n += 1) {
        const work = Array.from({ length: 20 }, (_, k) => store.submit(request("r" + n + "-" + k))
          .then((record) => say("queued", record.id)))
        await Promise.all(work)
        await store.claim({ session: "s", apps: [${JSON.stringify(app)}], leases: ["lease-" + n] })
          .then(([claim]) => say("running", claim.request.id))
        const id = "r" + n + "-19"
        await store.cancel({ id, cause: "client_cancelled" }).then(() => say("cancelled", id))
      }`)
    const acknowledged = new Map<string, string>()
    for await (const line of createInterface({ input: child.stdout })) {
      const [state = "", id = ""] = line.split(" ")
      acknowledged.set(id, state)
      if (acknowledged.size === 1_000) child.kill("SIGKILL")
    }
    const { store } = await open(path)
    for (const [id, state] of acknowledged) {
      const record = await store.request(id)
      // What was acknowledged last may have gone on before the kill.
      const reachable = state === "queued" ? ["queued", "running", "cancelled"] : [state]
      expect(reachable).toContain(record?.state)
    }
    const running = await store.openSession(newHello("s"))
    const length = await store.queueLength(app)
    const rows = new DatabaseSync(path, { readOnly: true })
    const states = rows.prepare("SELECT state, count(*) AS n FROM requests GROUP BY state").all()
    const counts = new Map(states.map((row) => [row["state"], row["n"]]))
    expect(counts.get("queued")).toBe(length)
    expect(counts.get("running")).toBe(running.reassign.length)
    rows.close()
    await store.close()
  })

  test("the file alone holds everything after a close", async () => {
    const path = newPath()
    const { store } = await open(path)
    const { id } = await store.submit(newRequest())
    await store.close()
    await expect(stat(`${path}-wal`)).rejects.toMatchObject({ code: "ENOENT" })
    const copy = newPath()
    await copyFile(path, copy)
    const restored = await open(copy)
    expect(await restored.store.request(id)).toMatchObject({ id, state: "queued" })
    await restored.store.close()
  })

  test("a database of a newer build is refused by name and left as it is", async () => {
    const path = newPath()
    const { store } = await open(path)
    await store.close()
    const raw = new DatabaseSync(path)
    expect(raw.prepare("PRAGMA user_version").get()).toEqual({ user_version: schemaVersion })
    raw.exec(`PRAGMA user_version = ${schemaVersion + 1}`)
    raw.close()
    const refused = await open(path).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(StoreError)
    expect(String(refused)).toMatch(/newer Tintype/)
  })

  test("a file that is no database is refused", async () => {
    const path = newPath()
    await writeFile(path, "This is a letter to my aunt. ".repeat(500))
    await expect(open(path)).rejects.toMatchObject({ name: "StoreError", code: "corrupt" })
  })

  test("the database and its log are readable by their owner alone", async () => {
    const path = newPath()
    const { store } = await open(path)
    await store.submit(newRequest())
    for (const file of [path, `${path}-wal`, `${path}-shm`]) {
      expect([file, (await stat(file)).mode & 0o777]).toEqual([file, 0o600])
    }
    await store.close()
  })
})

describe("SQLite in a file, in trouble", () => {
  test("a full disk rejects the batch with `full`, keeps what was there, and reads go on", async () => {
    const path = newPath()
    const { store, committed } = await open(path, { pagesMax: 200 })
    const kept: string[] = []
    const input = { inline: new Uint8Array(20_000) }
    let failure: unknown = null
    while (failure === null) {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 10 }, () => store.submit(newRequest({ input }))),
      )
      const refused = outcomes.filter((outcome) => outcome.status === "rejected")
      // All or nothing: the batch is one transaction.
      expect([0, 10]).toContain(refused.length)
      failure = refused[0]?.reason ?? null
      for (const outcome of outcomes) {
        if (outcome.status === "fulfilled") kept.push(outcome.value.id)
      }
    }
    expect(failure).toMatchObject({ name: "StoreError", code: "full" })
    expect(kept.length).toBeGreaterThan(0)
    expect(await store.positions(kept)).toEqual(kept.map((_, index) => index))
    expect(committed.flat().map((record) => record.id)).toEqual(kept)
    // What needs no room still works, at the turn that the rolled-back batch gave back.
    const [first] = kept
    const removed = await store.cancel({ id: first ?? "", cause: "client_cancelled" })
    expect(removed.result).toBe("removed")
    const small = await store.submit(newRequest()).catch((error: StoreError) => error)
    expect([kept.length + 1, "full"]).toContain(
      small instanceof StoreError ? small.code : small.turn,
    )
    await store.close()
  })

  test("a COMMIT that fails otherwise is fatal: nothing of the batch is answered (a file size limit)", async () => {
    const path = newPath()
    const child = run(
      `
      const store = await openSqliteStore({ path: ${JSON.stringify(path)}, limits, onCommit() {},
        onFatal(error) { process.stdout.write("fatal " + (error instanceof StoreError) + "\\n")
          setTimeout(() => process.exit(70), 50) } })
      let acknowledged = 0
      for (let n = 0; ; n += 1) {
        const outcome = await store.submit(request("r" + n, new Uint8Array(30000))).then(() => "ok", (error) => error.message)
        process.stdout.write(outcome + "\\n")
      }`,
      'ulimit -f 2000; exec "$0" "$@"',
    )
    const lines: string[] = []
    for await (const line of createInterface({ input: child.stdout })) lines.push(line)
    expect(lines.at(-1)).toBe("fatal false")
    expect(new Set(lines.slice(0, -1))).toEqual(new Set(["ok"]))
    const { store } = await open(path)
    expect(await store.queueLength(app)).toBeGreaterThanOrEqual(lines.length - 1)
    await store.close()
  })
})
