import type { DatabaseSync, StatementSync } from "node:sqlite"
import type { Door, Priority } from "../../../domain/door.ts"
import type { RequestRecord } from "../../../domain/request.ts"
import { clockAfterStart, type Lane, nextTurn } from "../../../domain/turn.ts"

/** Beside two for every lane written: so many outlived rows a batch are pruned, however many there are. */
const prunedMax = 32

interface LaneState {
  app: string
  account: string
  priority: Priority
  last: number
}

/**
 * Owns the clocks of the apps and the last turn of each lane, a lane being an (account, priority) in an app.
 *
 * What a batch changes is kept here, in memory, and written once by `flush`; `revert` undoes what a rolled-back
 * savepoint did, `reset` what a rolled-back transaction did. A lane whose last turn is not beyond the clock says nothing
 * (`nextTurn` takes the larger of both): it is not written, and its row is pruned, a bounded number a batch.
 */
export class Lanes {
  readonly #clocks = new Map<string, number>()
  readonly #lanes = new Map<string, LaneState>()
  readonly #changedClocks = new Set<string>()
  readonly #touchedApps = new Set<string>()
  #undo: (() => void)[] = []
  readonly #readClock: StatementSync
  readonly #writeClock: StatementSync
  readonly #readLane: StatementSync
  readonly #writeLane: StatementSync
  readonly #outlived: StatementSync
  readonly #prune: StatementSync

  constructor(db: DatabaseSync) {
    this.#readClock = db.prepare("SELECT clock FROM clocks WHERE app = ?")
    this.#writeClock = db.prepare(
      "INSERT INTO clocks (app, clock) VALUES (?, ?) ON CONFLICT DO UPDATE SET clock = excluded.clock",
    )
    this.#readLane = db.prepare(
      "SELECT last FROM lanes WHERE app = ? AND account = ? AND priority = ?",
    )
    this.#writeLane = db.prepare(`
      INSERT INTO lanes (app, account, priority, last) VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET last = excluded.last`)
    this.#outlived = db.prepare("SELECT 1 FROM lanes WHERE app = ? AND last <= ? LIMIT 1")
    this.#prune = db.prepare(`
      DELETE FROM lanes WHERE (app, account, priority) IN (
        SELECT app, account, priority FROM lanes WHERE app = ? AND last <= ? LIMIT ?)`)
  }

  /** The turn of a request that is being inserted. */
  take(request: { app: string; account: string; door: Door; priority: Priority }): number {
    const { app, account, door, priority } = request
    const key = `${priority}\n${app}\n${account}`
    const known = this.#lanes.get(key)
    const lane: Lane = {
      clock: this.#clock(app),
      last: known?.last ?? Number(this.#readLane.get(app, account, priority)?.["last"] ?? 0),
    }
    const turn = nextTurn(door, priority, lane)
    if (turn <= lane.last) return turn
    this.#lanes.set(key, { app, account, priority, last: turn })
    this.#undo.push(() => {
      if (known === undefined) this.#lanes.delete(key)
      else this.#lanes.set(key, known)
    })
    return turn
  }

  /** A request of the app was started: its clock follows. */
  start(record: RequestRecord): void {
    const before = this.#clock(record.app)
    const after = clockAfterStart(before, record.turn)
    if (after === before) return
    this.#clocks.set(record.app, after)
    this.#changedClocks.add(record.app)
    this.#undo.push(() => this.#clocks.set(record.app, before))
  }

  mark(): number {
    return this.#undo.length
  }

  revert(mark: number): void {
    while (this.#undo.length > mark) this.#undo.pop()?.()
  }

  flush(): void {
    let written = 0
    for (const lane of this.#lanes.values()) {
      this.#touchedApps.add(lane.app)
      if (lane.last <= this.#clock(lane.app)) continue
      this.#writeLane.run(lane.app, lane.account, lane.priority, lane.last)
      written += 1
    }
    for (const app of this.#changedClocks) {
      this.#writeClock.run(app, this.#clock(app))
      this.#touchedApps.add(app)
    }
    for (const app of this.#touchedApps) {
      const clock = this.#clock(app)
      // Nearly always there is none, and to ask costs a tenth of a DELETE that finds nothing.
      if (this.#outlived.get(app, clock) === undefined) continue
      this.#prune.run(app, clock, prunedMax + 2 * written)
    }
    this.#forgetBatch()
  }

  /** The transaction was rolled back: nothing of it is true. */
  reset(): void {
    this.#clocks.clear()
    this.#forgetBatch()
  }

  #forgetBatch(): void {
    this.#lanes.clear()
    this.#changedClocks.clear()
    this.#touchedApps.clear()
    this.#undo = []
  }

  #clock(app: string): number {
    const known = this.#clocks.get(app)
    if (known !== undefined) return known
    const clock = Number(this.#readClock.get(app)?.["clock"] ?? 0)
    this.#clocks.set(app, clock)
    return clock
  }
}
