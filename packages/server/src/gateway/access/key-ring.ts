import { type Clock, systemClock, type Timer } from "../../clock.ts"
import type { Hints } from "../../hints.ts"
import type { KeyLimits, KeyRow, KeyScope, Store } from "../../store.ts"
import { equalsSecret, matchesHash } from "./credentials.ts"

/** Who holds a key, as far as a call is concerned. */
export interface KeyHolder {
  id: string
  account: string
  scope: KeyScope
  /** Of a runner key: what it may host. */
  apps: readonly string[]
  limits: KeyLimits
}

/** The account of open mode and of the bootstrap key. */
export const localAccount = "local"

export const noLimits: KeyLimits = {
  concurrencyMax: null,
  requestsPerSecondMax: null,
  bodyBytesMax: null,
}

export interface KeyRingParts {
  store: Pick<Store, "key" | "anyKey" | "touchKeys">
  hints: Pick<Hints, "onKeyChanged">
  /** `id:secret` of the setting; null without one. */
  bootstrap: string | null
  /** Only this machine can reach the listener. */
  loopback: boolean
  clock?: Clock
}

/** What is known of a key is read again when it is older: a change that nobody told us of holds within a second. */
const knownForMs = 500
/** Keys held in memory; the one read longest ago goes first. */
const knownMax = 10_000
const touchEveryMs = 30_000

/**
 * Which keys open the doors, and whether any is needed. Owns what was read of keys lately, the calls that hold one open, and
 * the uses not yet written. The truth is the store: a hint of a change is acted on at once, and what no hint told is seen by
 * looking again, every `knownForMs` while calls are held.
 */
export class KeyRing {
  readonly #parts: KeyRingParts
  readonly #clock: Clock
  readonly #known = new Map<string, { row: KeyRow; readAt: number }>()
  readonly #held = new Map<string, Set<() => void>>()
  readonly #used = new Map<string, number>()
  #anyKey = false
  #lookedAt = -Infinity
  #looking: Promise<void> | null = null
  #watch: Timer | null = null
  #touch: Timer | null = null

  constructor(parts: KeyRingParts) {
    this.#parts = parts
    this.#clock = parts.clock ?? systemClock
    parts.hints.onKeyChanged((id) => {
      this.#known.delete(id)
      this.#lookedAt = -Infinity
      if (this.#held.has(id)) void this.#check(id)
    })
  }

  /** No key is needed, as of the last look: none exists, and only this machine can call. */
  get open(): boolean {
    return this.#parts.bootstrap === null && this.#parts.loopback && !this.#anyKey
  }

  /** Makes `open` true to the store, at most `knownForMs` ago. */
  async look(): Promise<void> {
    if (this.#parts.bootstrap !== null || this.#clock.monotonic() - this.#lookedAt < knownForMs) {
      return
    }
    this.#looking ??= this.#look()
    await this.#looking
  }

  /** The holder of a living key; null for an unknown id, a wrong secret and a revoked key alike. */
  async find(id: string, secret: string): Promise<KeyHolder | null> {
    const { bootstrap } = this.#parts
    if (bootstrap !== null && this.#isBootstrap(id)) {
      return equalsSecret(`${id}:${secret}`, bootstrap) ? bootstrapHolder(id) : null
    }
    const row = await this.#read(id)
    return matchesHash(secret, row?.secretHash ?? null) ? this.#use(row) : null
  }

  /** The same for whom a living key has vouched for. */
  async findById(id: string): Promise<KeyHolder | null> {
    return this.#isBootstrap(id) ? bootstrapHolder(id) : this.#use(await this.#read(id))
  }

  /** Calls `end` when the key is revoked, within a second, until the returned function is called. */
  hold(id: string, end: () => void): () => void {
    // It has no row that could say so, and lives as long as this process.
    if (this.#isBootstrap(id)) return () => {}
    const ends = this.#held.get(id) ?? new Set()
    this.#held.set(id, ends.add(end))
    this.#watch ??= this.#later(() => this.#watchHeld(), knownForMs)
    return () => {
      ends.delete(end)
      if (ends.size === 0 && this.#held.get(id) === ends) this.#held.delete(id)
    }
  }

  /** Notes that the key is used; null for one that does not live. */
  #use(row: KeyRow | null): KeyHolder | null {
    if (row === null || row.revokedAt !== null) return null
    const { id, account, scope, apps, limits } = row
    this.#used.set(id, this.#clock.now())
    this.#touch ??= this.#later(() => this.#writeUses(), touchEveryMs)
    return { id, account, scope, apps, limits }
  }

  #isBootstrap(id: string): boolean {
    const { bootstrap } = this.#parts
    return bootstrap !== null && id === bootstrap.slice(0, bootstrap.indexOf(":"))
  }

  /** Writes what is left to write. */
  close(): void {
    this.#clock.clear(this.#watch)
    this.#clock.clear(this.#touch)
    this.#writeUses()
  }

  async #look(): Promise<void> {
    const startedAt = this.#clock.monotonic()
    // A change that is told of while we read must not be taken for read.
    this.#lookedAt = startedAt
    try {
      this.#anyKey = await this.#parts.store.anyKey()
    } catch (error) {
      this.#lookedAt = -Infinity
      throw error
    } finally {
      this.#looking = null
    }
  }

  async #read(id: string): Promise<KeyRow | null> {
    const known = this.#known.get(id)
    const startedAt = this.#clock.monotonic()
    if (known !== undefined && startedAt - known.readAt < knownForMs) return known.row
    const row = await this.#parts.store.key(id)
    const newer = this.#known.get(id)?.row
    // A read that began before a change may end after the one that saw it.
    if (row !== null && newer !== undefined && newer.version > row.version) return newer
    this.#known.delete(id)
    if (row !== null) this.#known.set(id, { row, readAt: startedAt })
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= knownMax) break
      this.#known.delete(oldest)
    }
    return row
  }

  #watchHeld(): void {
    this.#watch = null
    if (this.#held.size === 0) return
    const ids = [...this.#held.keys()]
    void Promise.all(ids.map((id) => this.#check(id))).then(() => {
      this.#watch ??= this.#later(() => this.#watchHeld(), knownForMs)
    })
  }

  async #check(id: string): Promise<void> {
    // A store that cannot be read now is asked again at the next turn.
    const row = await this.#parts.store.key(id).catch(() => undefined)
    if (row === undefined || (row !== null && row.revokedAt === null)) return
    this.#known.delete(id)
    for (const end of this.#held.get(id) ?? []) end()
  }

  #writeUses(): void {
    this.#touch = null
    const uses = [...this.#used].map(([id, at]) => ({ id, at }))
    this.#used.clear()
    // The time of a use is worth no failed call: the next use says it again.
    if (uses.length > 0) this.#parts.store.touchKeys(uses).catch(() => {})
  }

  #later(work: () => void, ms: number): Timer {
    const timer = this.#clock.setTimeout(work, ms)
    timer.unref()
    return timer
  }
}

function bootstrapHolder(id: string): KeyHolder {
  return { id, account: localAccount, scope: "admin", apps: [], limits: noLimits }
}
