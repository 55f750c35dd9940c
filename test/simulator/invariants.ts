import { isDeepStrictEqual } from "node:util"
import type { DatabaseSync } from "node:sqlite"
import { isTerminal } from "@tintype/protocol"
import { silentDetail } from "../../packages/server/src/dispatcher/conclusion.ts"
import { doorPolicies } from "../../packages/server/src/domain/door.ts"
import type { RequestRecord } from "../../packages/server/src/domain/request.ts"
import { comparePlaces } from "../../packages/server/src/domain/turn.ts"
import type { Claim, Settlement } from "../../packages/server/src/store.ts"
import type { Applied, Operation } from "../../packages/server/src/stores/sqlite/messages.ts"
import type { Reader } from "../../packages/server/src/stores/sqlite/reads.ts"
import { isHistoryWhole } from "./history-check.ts"
import { Callers } from "./callers.ts"
import { type Concluded, Logs } from "./logs.ts"
import { Violation } from "./violation.ts"

interface Known {
  record: RequestRecord
  /** The outcome's body, once there is one. */
  output: string | null
  /** The newest version that anybody was told. */
  told: number
  /** Attempts there were when a cancel was answered with "requested". */
  cancelledAtAttempt: number | null
}

/** Attempts that count and those that do not, together. */
const attemptsMax = 100

/**
 * What must be true, kept beside the platform in the plainest way: a list of what was committed. It sees every batch
 * when it is committed, every answer and every wake-up, and throws a `Violation` at the first that contradicts.
 */
export class Ledger {
  /** Requests of one account that may run at a time; 0: as many as will. */
  readonly #concurrencyMax: number
  readonly #known = new Map<string, Known>()
  readonly #acknowledged = new Set<string>()
  readonly callers = new Callers()
  readonly #refused = new Set<string>()
  /** Leases whose outcome was taken, with the attempt that it was. */
  readonly #concluded = new Map<string, Concluded>()
  readonly logs = new Logs()

  constructor(concurrencyMax: number) {
    this.#concurrencyMax = concurrencyMax
  }

  /** A batch was committed. */
  applied(
    batch: Operation[],
    { results, changed }: Applied,
    { reader, now }: { reader: Reader; now: number },
  ): void {
    const before = new Map<string, RequestRecord>()
    for (const { id } of changed) {
      const known = this.#known.get(id)
      if (known !== undefined) before.set(id, known.record)
    }
    const running = this.#running()
    const claims = batch.flatMap(({ name }, index) => {
      const result = results[index]
      return name === "claim" && result?.ok === true ? (result.value as Claim[]) : []
    })
    // The most that may have run of each account at any moment of the batch.
    const run = [...running, ...claims.map(({ request }) => request)]
    const leases = new Map(running.map((record) => [record.attempt!.lease, record]))
    for (const record of changed) this.#commit(record, reader)
    this.#checkConcurrency()
    for (const [index, operation] of batch.entries()) {
      const result = results[index]
      if (result?.ok !== true) continue
      if (operation.name === "claim") this.#started(result.value as Claim[], { before, run, now })
      if (operation.name === "settle") {
        this.#settled(operation.arguments[0], String(result.value), leases)
      }
      if (operation.name === "endAttempts") {
        const [session] = operation.arguments
        for (const [lease, { attempt }] of leases) {
          if (attempt?.session === session) leases.delete(lease)
        }
      }
    }
  }

  #commit(record: RequestRecord, reader: Reader): void {
    const { id, version, state } = record
    const known = this.#known.get(id)
    if (this.#refused.has(id)) throw new Violation("a refused submit leaves no trace", id)
    const output = isTerminal(state) ? outputOf(reader, record) : null
    checkDelivery(record, reader)
    if (!isHistoryWhole(record, reader.attempts(record.sequence))) {
      throw new Violation("every attempt is on record", `${id}, ${record.attempts} made`)
    }
    if (known === undefined) {
      this.callers.made(id)
      this.#known.set(id, { record, output, told: 0, cancelledAtAttempt: null })
      return
    }
    const old = known.record
    if (isTerminal(old.state)) {
      throw new Violation("terminal is final", `${id} was ${old.state}, becomes ${state}`)
    }
    if (version <= old.version) throw new Violation("versions rise", `${id} at ${version}`)
    if (record.turn !== old.turn || record.sequence !== old.sequence) {
      throw new Violation("a place is kept", id)
    }
    if (record.attempts < old.attempts || record.attempts > attemptsMax) {
      throw new Violation("attempts are counted", `${id}: ${record.attempts}`)
    }
    const policyMax = record.noRetry ? 1 : doorPolicies[record.door].attemptsMax
    if (record.attemptsCounted > policyMax) {
      throw new Violation("attempts keep to the policy", `${id}: ${record.attemptsCounted}`)
    }
    if (known.cancelledAtAttempt !== null && record.attempts > known.cancelledAtAttempt) {
      throw new Violation("a cancelled request never runs again", `${id}: ${record.attempts}`)
    }
    known.record = record
    known.output = output
  }

  #settled(
    { lease, session, result: said }: Settlement,
    result: string,
    leases: Map<string, RequestRecord>,
  ): void {
    const holder = leases.get(lease)
    const isCurrent = holder?.attempt?.session === session
    if (result === "settled") {
      if (!isCurrent) throw new Violation("a stale lease cannot write", lease)
      if (this.#concluded.has(lease)) throw new Violation("one outcome a lease", lease)
      leases.delete(lease)
      const { record, output } = this.#known.get(holder.id)!
      const ended = isTerminal(record.state)
      const isRunners = said.kind === "answered" || said.detail !== silentDetail
      const { id, attempts: attempt } = holder
      this.#concluded.set(lease, { id, attempt, session, ended, isRunners })
      const isOfApp = record.state === "succeeded" || output?.includes('"lease"') === true
      if (isOfApp && output !== JSON.stringify({ lease })) {
        throw new Violation("the outcome is the attempt's own", `${record.id}: ${output}`)
      }
    } else if (result === "repeated" && !this.#concluded.has(lease)) {
      throw new Violation("only what was settled is repeated", lease)
    } else if (result === "stale" && (isCurrent || this.#hasEnded(lease, session))) {
      throw new Violation("the holder of the lease can write", lease)
    }
  }

  /** Did the outcome of this lease, brought by this session, end its request? One that was retried may be forgotten. */
  #hasEnded(lease: string, session: string): boolean {
    const concluded = this.#concluded.get(lease)
    return concluded?.session === session && concluded.ended
  }

  /** Nothing that could have been started stands before what was. */
  #started(
    claims: Claim[],
    seen: { before: Map<string, RequestRecord>; run: RequestRecord[]; now: number },
  ): void {
    for (const { request } of claims) {
      for (const { record } of this.#known.values()) {
        // One that this batch touched may have been anything when the claim looked.
        if (record.app !== request.app || seen.before.has(record.id)) continue
        if (!isDue(record, seen.now) || !this.#hasRoom(record, seen.run)) continue
        // Submitted in this batch, perhaps after the claim.
        if (record.version === 1 && !this.#acknowledged.has(record.id)) continue
        if (comparePlaces(record, request) < 0) {
          throw new Violation("starts go in order", `${request.id} started before ${record.id}`)
        }
      }
    }
  }

  #hasRoom({ account }: RequestRecord, running: RequestRecord[]): boolean {
    if (this.#concurrencyMax === 0) return true
    return running.filter((one) => one.account === account).length < this.#concurrencyMax
  }

  #checkConcurrency(): void {
    if (this.#concurrencyMax === 0) return
    const counts = new Map<string, number>()
    for (const { account } of this.#running()) {
      const count = (counts.get(account) ?? 0) + 1
      counts.set(account, count)
      if (count > this.#concurrencyMax) throw new Violation("concurrency is limited", account)
    }
  }

  /** A submit was answered with success: with the request that it made, or with one that a copy of it made before. */
  acknowledged(submit: string, record: RequestRecord): void {
    this.callers.answered(submit, record.id)
    this.#acknowledged.add(record.id)
    // It may have been claimed in the same batch, and be running by now.
    this.told(record, { mayBeOld: true })
  }

  /** A submit was refused. */
  refused(id: string): void {
    this.#refused.add(id)
    this.callers.answered(id, null)
    if (this.#known.has(id)) throw new Violation("a refused submit leaves no trace", id)
  }

  /** Somebody was told this, as a watcher, a waiter or in an answer. */
  told(record: RequestRecord, { mayBeOld = false } = {}): void {
    const known = this.#known.get(record.id)
    if (known === undefined || known.record.version < record.version) {
      throw new Violation("nothing is told before it is committed", `${record.id} ${record.state}`)
    }
    if (known.told > record.version && !mayBeOld) {
      throw new Violation("what is told never goes back", `${record.id} to ${record.version}`)
    }
    if (isTerminal(known.record.state) && isTerminal(record.state)) {
      if (known.record.state !== record.state) throw new Violation("terminal is final", record.id)
    }
    known.told = Math.max(known.told, record.version)
  }

  cancelAnswered(id: string, result: string): void {
    const known = this.#known.get(id)
    if (known === undefined) {
      if (result !== "unknown") throw new Violation("cancel tells the truth", `${id}: ${result}`)
      return
    }
    const { state, attempts } = known.record
    const isTrue = {
      removed: state === "cancelled",
      already_cancelled: state === "cancelled",
      finished: state === "succeeded" || state === "failed",
      requested: state !== "queued",
    }[result]
    if (isTrue !== true) throw new Violation("cancel tells the truth", `${id} ${state}: ${result}`)
    if (result === "requested") known.cancelledAtAttempt ??= attempts
  }

  /** A runner was told what became of its outcome. */
  runnerTold(lease: string, result: string): void {
    if (result !== "stale" && !this.#concluded.has(lease)) {
      throw new Violation("settled is said after the commit", `${lease}: ${result}`)
    }
  }

  /** Positions, lengths and the apps with work are what a naive count says. */
  checkQueue(reader: Reader): void {
    const queued = this.queued()
    const ids = [...this.#known.keys()]
    const positions = reader.positions(ids)
    for (const [index, id] of ids.entries()) {
      const { record } = this.#known.get(id)!
      const isBefore = (one: RequestRecord) =>
        one.app === record.app && comparePlaces(one, record) < 0
      const expected = record.state === "queued" ? queued.filter(isBefore).length : null
      if (positions[index] !== expected) {
        throw new Violation("positions are true", `${id}: ${positions[index]}, not ${expected}`)
      }
    }
    const apps = [...new Set(queued.map(({ app }) => app))].toSorted()
    if (!isDeepStrictEqual(reader.appsWithWork(), apps)) {
      throw new Violation("apps with work are those with queued requests", apps.join(" "))
    }
    for (const app of apps) {
      const length = queued.filter((record) => record.app === app).length
      if (reader.queueLength(app) !== length) throw new Violation("lengths are true", app)
    }
  }

  /** The rows are what was said of them. */
  checkRows(db: DatabaseSync): void {
    const rows = db.prepare("SELECT id, state, version, attempts FROM requests").all()
    if (rows.length !== this.#known.size) throw new Violation("none is lost", `${rows.length} rows`)
    for (const { id, state, version, attempts } of rows) {
      const record = this.#known.get(String(id))?.record
      const isSame =
        record?.state === state && record?.version === version && record?.attempts === attempts
      if (!isSame) throw new Violation("rows are what was committed", String(id))
    }
  }

  /** After everything has healed and come to rest. */
  checkEnd(db: DatabaseSync, reader: Reader): void {
    this.checkRows(db)
    this.checkQueue(reader)
    for (const id of this.#acknowledged) {
      if (!this.#known.has(id)) throw new Violation("an acknowledged submit survives", id)
    }
    for (const { record, output } of this.#known.values()) {
      if (!isTerminal(record.state))
        throw new Violation("none is stuck", `${record.id} ${record.state}`)
      const row = reader.request(record.id)
      if (!isDeepStrictEqual(row?.outcome, record.outcome) || row?.outcome === null) {
        throw new Violation("one outcome", record.id)
      }
      if (outputOf(reader, record) !== output) throw new Violation("one outcome", record.id)
      checkDelivery(record, reader)
      this.logs.checkEnd(record, reader.events(record.sequence), this.#concluded)
    }
  }

  queued(): RequestRecord[] {
    return this.#records().filter(({ state }) => state === "queued")
  }

  /** Queued requests that a free slot could start now. */
  claimable(now: number): RequestRecord[] {
    const running = this.#running()
    return this.queued().filter((one) => isDue(one, now) && this.#hasRoom(one, running))
  }

  get isAtRest(): boolean {
    for (const { record } of this.#known.values()) if (!isTerminal(record.state)) return false
    return true
  }

  record(id: string): RequestRecord | null {
    return this.#known.get(id)?.record ?? null
  }

  get ids(): string[] {
    return [...this.#known.keys()]
  }

  #records(): RequestRecord[] {
    return [...this.#known.values()].map(({ record }) => record)
  }

  #running(): RequestRecord[] {
    return this.#records().filter(({ state }) => state === "running")
  }
}

/** Queued, and not waiting out its backoff. */
function isDue({ state, notBefore }: RequestRecord, now: number): boolean {
  return state === "queued" && (notBefore ?? 0) <= now
}

function outputOf(reader: Reader, { sequence, id }: RequestRecord): string {
  const body = reader.body(sequence, "output")
  if (body === null || !("inline" in body)) throw new Violation("an outcome has its body", id)
  return Buffer.from(body.inline).toString()
}

/** A terminal request owes its webhook from the moment that it is one, and not before. */
function checkDelivery(record: RequestRecord, reader: Reader): void {
  if (record.webhook === null) return
  const isOwed = reader.delivery(record.id) !== null
  if (isOwed !== isTerminal(record.state)) {
    throw new Violation("a webhook commits with the outcome", `${record.id} ${record.state}`)
  }
}
