import type { Clock, Timer } from "../clock.ts"
import type { Claim, Store } from "../store.ts"
import { Backlog } from "./backlog.ts"
import type { RunnerSession } from "./runner-session.ts"

export interface ClaimerParts {
  store: Pick<Store, "claim" | "appsWithWork" | "queueLength">
  sessions: ReadonlyMap<string, RunnerSession>
  /** See `leaseId`; 128 bits of it are random. */
  newLease: () => string
  clock: Clock
  log: (entry: Record<string, unknown>) => void
  /** Gives slots to inputs of channels; `requests` could be claimed for the session. */
  feedChannels(session: RunnerSession, requests: number): void
  /** Takes what was claimed, which may be nothing, for a session that lives. */
  onClaims(session: RunnerSession, claims: Claim[]): void
}

/** After a write that the store refused. */
export const retryAfterMs = 500

/**
 * Gives the free slots of the runners to queued requests. What is queued it knows from hints, which may be lost: `look`
 * asks the store. Invariant: the leases asked for a session never exceed its room, claims under way included.
 */
export class Claimer {
  readonly #parts: ClaimerParts
  readonly #backlog = new Backlog()
  #retry: Timer | null = null
  #looking = false
  #stopped = false

  constructor(parts: ClaimerParts) {
    this.#parts = parts
  }

  /** Learns what an earlier life left in the queues. */
  async start(): Promise<void> {
    const { store } = this.#parts
    for (const app of await store.appsWithWork()) {
      this.#backlog.add(app, await store.queueLength(app))
    }
  }

  /** Nothing is claimed any more. */
  stop(): void {
    this.#stopped = true
    this.#parts.clock.clear(this.#retry)
  }

  /** One request of the app more may be started. */
  onWork(app: string): void {
    this.#backlog.add(app)
    this.pump()
  }

  /** Hints may be lost: with a slot free and nothing known to be queued, the store is asked. */
  async look(): Promise<void> {
    const { store, sessions, log } = this.#parts
    if (this.#looking || this.#stopped) return
    if (![...sessions.values()].some((session) => session.room > 0)) return
    this.#looking = true
    try {
      for (const app of await store.appsWithWork()) {
        if (this.#backlog.estimate(app) > 0) continue
        this.#backlog.add(app, await store.queueLength(app))
      }
      this.pump()
    } catch (error) {
      log({ event: "look_failed", error: String(error) })
    } finally {
      this.#looking = false
    }
  }

  /** Claims for every session that has room. */
  pump(): void {
    if (this.#stopped) return
    for (const session of this.#parts.sessions.values()) {
      if (session.room === 0) continue
      const apps = this.#backlog.among(session.apps)
      const requests = this.#backlog.sum(apps)
      this.#parts.feedChannels(session, requests)
      const count = Math.min(session.room, requests)
      if (count > 0) this.#claim(session, apps, count)
    }
  }

  #claim(claimant: RunnerSession, apps: string[], count: number): void {
    const { store, sessions, newLease, log } = this.#parts
    const { id } = claimant
    const leases = Array.from({ length: count }, newLease)
    const finish = this.#backlog.claiming(apps, count)
    claimant.claiming += count
    store.claim({ session: id, apps, leases }).then(
      (claims) => {
        // The session may have a new link by now, or have ended: then the store gave nothing, whatever is queued, or
        // what it gave was put back.
        const session = sessions.get(id)
        finish(
          claims.map((claim) => claim.request.app),
          session !== undefined,
        )
        if (session !== undefined) {
          session.claiming -= count
          this.#parts.onClaims(session, claims)
        }
        this.pump()
      },
      (error: unknown) => {
        finish([], false)
        const session = sessions.get(id)
        if (session !== undefined) session.claiming -= count
        log({ event: "claim_failed", error: String(error) })
        this.#pumpLater()
      },
    )
  }

  #pumpLater(): void {
    if (this.#stopped) return
    this.#retry ??= this.#parts.clock.setTimeout(() => {
      this.#retry = null
      this.pump()
    }, retryAfterMs)
  }
}
