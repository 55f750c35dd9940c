import assert from "node:assert/strict"
import type { DatabaseSync, StatementSync } from "node:sqlite"

/**
 * How many requests are queued before a place, without counting them: a tree of counts over (turn, sequence),
 * one an app, kept in the table `turn_counts`.
 *
 * A node covers a block of turns (4096, 64, 1) and, below a single turn, a block of sequences (16384, 256). Its row
 * says how many requests are queued in it. A node with at most `entriesMax` of them has no children: what lies before
 * a place inside it is counted in the queue's index. A node that grows beyond is split, once, and keeps its children
 * until it is empty. So a queue of one account costs two rows a batch, a million accounts in one turn cost five, and
 * a position is at most five sums of neighbouring rows and 256 index entries.
 *
 * Invariant, after `flush`: every row's `queued` equals the number of queued requests in its block, is above zero, and
 * the children of a split row sum to it.
 */
const entriesMax = 256

interface Level {
  turns: number
  /** 0: the node covers every sequence of its turns. */
  sequences: number
}

const levels: readonly Level[] = [
  { turns: 4096, sequences: 0 },
  { turns: 64, sequences: 0 },
  { turns: 1, sequences: 0 },
  { turns: 1, sequences: 16_384 },
  { turns: 1, sequences: 256 },
]

export interface Place {
  app: string
  turn: number
  sequence: number
}

interface Node {
  turn: number
  block: number
}

interface CountRow {
  queued: number
  split: number
}

/** What was found out about a node: how many are queued before it within its parent, and its own row. */
interface Counted {
  before: number
  row: CountRow | undefined
}

/** Nodes that were counted, to be shared by positions asked together: see `TurnCountReader.before`. */
export type CountedNodes = Map<string, Counted>

function levelAt(index: number): Level {
  const level = levels[index]
  assert(level)
  return level
}

function nodeOf(place: { turn: number; sequence: number }, level: Level): Node {
  return {
    turn: Math.floor(place.turn / level.turns),
    block: level.sequences === 0 ? 0 : Math.floor(place.sequence / level.sequences),
  }
}

const totalQueued =
  "SELECT coalesce(sum(queued), 0) AS queued FROM turn_counts WHERE app = ? AND level = 0"

/** The queue is two indexes, one of what may start and one of what is held back; a position counts both. */
function countEntries(condition: string): string {
  const [ready, held] = [0, 1].map(
    (side) =>
      `(SELECT count(*) FROM requests WHERE state = 'queued' AND held = ${side} AND ${condition})`,
  )
  return `SELECT ${ready} + ${held} AS queued`
}

function entriesWithin(block: string, held: number): string {
  return `SELECT requests.app, requests.turn, ${block} FROM given CROSS JOIN requests
    WHERE requests.state = 'queued' AND requests.held = ${held} AND requests.app = given.app
      AND requests.turn >= given.turn AND requests.turn < given.turn_end
      AND requests.sequence >= given.sequence AND requests.sequence < given.sequence_end`
}

/** The writing side: changes are collected while a batch runs and written once, net, before COMMIT. */
export class TurnCounts {
  readonly #db: DatabaseSync
  readonly #add: StatementSync
  readonly #remove: StatementSync
  readonly #markSplit: StatementSync
  readonly #children = new Map<number, StatementSync>()
  readonly #total: StatementSync
  #changes: (Place & { delta: number })[] = []
  /** The net of the changes, per app. */
  readonly #net = new Map<string, number>()
  /** What the table says of an app, as of the last flush; asked for once a batch. */
  readonly #flushed = new Map<string, number>()

  constructor(db: DatabaseSync) {
    this.#db = db
    this.#add = db.prepare(`
      INSERT INTO turn_counts (app, level, turn, block, queued) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET queued = queued + excluded.queued RETURNING queued, split`)
    this.#remove = db.prepare(
      "DELETE FROM turn_counts WHERE app = ? AND level = ? AND turn = ? AND block = ?",
    )
    this.#total = db.prepare(totalQueued)
    this.#markSplit = db.prepare(
      "UPDATE turn_counts SET split = 1 WHERE app = ? AND level = ? AND turn = ? AND block = ?",
    )
  }

  /** `delta` is 1 when a request joins the queue and -1 when it leaves. */
  change(place: Place, delta: 1 | -1): void {
    const { app, turn, sequence } = place
    this.#changes.push({ app, turn, sequence, delta })
    this.#addNet(app, delta)
  }

  /** Queued requests of the app, those of the batch under way included. */
  queueLength(app: string): number {
    let flushed = this.#flushed.get(app)
    if (flushed === undefined) {
      flushed = count(this.#total.get(app))
      this.#flushed.set(app, flushed)
    }
    return flushed + (this.#net.get(app) ?? 0)
  }

  #addNet(app: string, delta: number): void {
    this.#net.set(app, (this.#net.get(app) ?? 0) + delta)
  }

  mark(): number {
    return this.#changes.length
  }

  /** Forgets what came after the mark: its savepoint was rolled back. */
  revert(mark: number): void {
    for (const { app, delta } of this.#changes.splice(mark)) this.#addNet(app, -delta)
    this.#flushed.clear()
  }

  /** Writes the net of the batch. The queue's index must be as it will be committed. */
  flush(): void {
    const byApp = new Map<string, Map<number, Place & { delta: number }>>()
    for (const change of this.#changes) {
      const ofApp = byApp.get(change.app) ?? new Map<number, Place & { delta: number }>()
      byApp.set(change.app, ofApp)
      // A request never changes its place, so its sequence names the change.
      const delta = (ofApp.get(change.sequence)?.delta ?? 0) + change.delta
      if (delta === 0) ofApp.delete(change.sequence)
      else ofApp.set(change.sequence, { ...change, delta })
    }
    this.#changes = []
    this.#net.clear()
    this.#flushed.clear()
    for (const [app, ofApp] of byApp) {
      if (ofApp.size > 0) this.#apply(app, 0, [...ofApp.values()])
    }
  }

  #apply(app: string, index: number, changes: (Place & { delta: number })[]): void {
    const level = levelAt(index)
    const groups = new Map<string, { node: Node; delta: number; changes: typeof changes }>()
    for (const change of changes) {
      const node = nodeOf(change, level)
      const key = `${node.turn} ${node.block}`
      const group = groups.get(key) ?? { node, delta: 0, changes: [] }
      groups.set(key, group)
      group.delta += change.delta
      group.changes.push(change)
    }
    for (const { node, delta, changes: within } of groups.values()) {
      const row = this.#add.get(app, index, node.turn, node.block, delta) as unknown as CountRow
      assert(row.queued >= 0, `More left ${app} than were queued`)
      if (row.split === 1) this.#apply(app, index + 1, within)
      if (row.queued === 0) this.#remove.run(app, index, node.turn, node.block)
      else if (row.split === 0) this.#splitIfLarge(app, index, node, row.queued)
    }
  }

  #splitIfLarge(app: string, index: number, node: Node, queued: number): void {
    if (queued <= entriesMax || index === levels.length - 1) return
    this.#markSplit.run(app, index, node.turn, node.block)
    const level = levelAt(index)
    const children = this.#childrenStatement(index + 1).all(
      app,
      node.turn * level.turns,
      (node.turn + 1) * level.turns,
      node.block * level.sequences,
      level.sequences === 0 ? Number.MAX_SAFE_INTEGER : (node.block + 1) * level.sequences,
    ) as unknown as (Node & CountRow)[]
    for (const child of children) this.#splitIfLarge(app, index + 1, child, child.queued)
  }

  #childrenStatement(index: number): StatementSync {
    const level = levelAt(index)
    const block = level.sequences === 0 ? "0" : `requests.sequence / ${level.sequences}`
    const known = this.#children.get(index)
    if (known !== undefined) return known
    const statement = this.#db.prepare(`
      INSERT INTO turn_counts (app, level, turn, block, queued)
      WITH given (app, turn, turn_end, sequence, sequence_end) AS (VALUES (?, ?, ?, ?, ?)),
        entries (app, turn, block) AS (
          ${[0, 1].map((held) => entriesWithin(block, held)).join(" UNION ALL ")})
      SELECT app, ${index}, turn / ${level.turns}, block, count(*) FROM entries
      GROUP BY 3, 4 RETURNING turn, block, queued, split`)
    this.#children.set(index, statement)
    return statement
  }
}

/** The reading side, on any connection. Several calls that belong together need one read transaction. */
export class TurnCountReader {
  readonly #sum: StatementSync
  readonly #node: StatementSync
  readonly #entriesOfTurns: StatementSync
  readonly #entriesOfTurn: StatementSync
  readonly #total: StatementSync
  readonly #nextApp: StatementSync

  constructor(db: DatabaseSync) {
    this.#sum = db.prepare(`
      SELECT coalesce(sum(queued), 0) AS queued FROM turn_counts
      WHERE app = ? AND level = ? AND (turn, block) >= (?, ?) AND (turn, block) < (?, ?)`)
    this.#node = db.prepare(
      "SELECT queued, split FROM turn_counts WHERE app = ? AND level = ? AND turn = ? AND block = ?",
    )
    this.#entriesOfTurns = db.prepare(
      countEntries("app = ?1 AND turn >= ?2 AND (turn, sequence) < (?3, ?4)"),
    )
    this.#entriesOfTurn = db.prepare(
      countEntries("app = ?1 AND turn = ?2 AND sequence >= ?3 AND sequence < ?4"),
    )
    this.#total = db.prepare(totalQueued)
    this.#nextApp = db.prepare(
      "SELECT app FROM turn_counts WHERE app > ? ORDER BY app, level, turn, block LIMIT 1",
    )
  }

  /**
   * Queued requests of the app with a smaller (turn, sequence). `known` serves places that are asked together, in one
   * read transaction: neighbours share all nodes but the last.
   */
  before(place: Place, known: CountedNodes = new Map()): number {
    let total = 0
    let first: Node = { turn: 0, block: 0 }
    for (const [index, level] of levels.entries()) {
      const node = nodeOf(place, level)
      const { before, row } = this.#counted(place.app, index, first, node, known)
      total += before
      if (row === undefined) return total
      if (row.split === 0) return total + this.#entries(place, node, level)
      const below = levels[index + 1]
      assert(below)
      first = nodeOf(
        { turn: node.turn * level.turns, sequence: node.block * level.sequences },
        below,
      )
    }
    return total
  }

  #counted(app: string, index: number, first: Node, node: Node, known: CountedNodes): Counted {
    const key = `${index} ${node.turn} ${node.block} ${app}`
    const found = known.get(key)
    if (found !== undefined) return found
    const { turn, block } = node
    const counted: Counted = {
      before: count(this.#sum.get(app, index, first.turn, first.block, turn, block)),
      row: this.#node.get(app, index, turn, block) as unknown as CountRow | undefined,
    }
    known.set(key, counted)
    return counted
  }

  #entries(place: Place, node: Node, level: Level): number {
    const { app, turn, sequence } = place
    if (level.turns === 1) {
      return count(this.#entriesOfTurn.get(app, turn, node.block * level.sequences, sequence))
    }
    return count(this.#entriesOfTurns.get(app, node.turn * level.turns, turn, sequence))
  }

  queueLength(app: string): number {
    return count(this.#total.get(app))
  }

  /** Skips from app to app, however many rows each has. */
  appsWithWork(): string[] {
    const apps: string[] = []
    for (
      let row = this.#nextApp.get("");
      row !== undefined;
      row = this.#nextApp.get(apps.at(-1)!)
    ) {
      apps.push(String(row["app"]))
    }
    return apps
  }
}

function count(row: Record<string, unknown> | undefined): number {
  return Number(row?.["queued"] ?? 0)
}
