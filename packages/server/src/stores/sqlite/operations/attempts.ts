import {
  concludeAttempt,
  endAtStartDeadline,
  endAttempt,
  startAttempt,
} from "../../../domain/transitions.ts"
import type { RequestRecord } from "../../../domain/request.ts"
import type { Claim } from "../../../store.ts"
import type { EngineContext } from "../engine.ts"
import type { Writers } from "../messages.ts"
import { toRecord } from "../rows.ts"

/** Late ones at the head of a queue that one claim ends; the rest is left to `advance`. */
const overdueMax = 1_000

/** Writes that start attempts and end them. */
export function attemptWriters({
  requests,
  lanes,
  sessions,
  now,
  backoffMs,
}: EngineContext): Pick<Writers, "claim" | "settle" | "endAttempts"> {
  function start(app: string, holder: { lease: string; session: string }): Claim | null {
    const head = headInTime(app)
    if (head === null) return null
    const started = startAttempt(head, holder, now())
    requests.save(head, started)
    lanes.start(started)
    return requests.toClaim(started)
  }

  /** The head of the queue; those before it whose start deadline has passed are ended. */
  function headInTime(app: string): RequestRecord | null {
    for (let judged = 0; judged < overdueMax; judged += 1) {
      const head = requests.head(app)
      const late = head === null ? null : endAtStartDeadline(head, now())
      if (head === null || late === null) return head
      requests.saveTransition(head, late, now())
    }
    return null
  }

  function findHeld(lease: string, session: string): RequestRecord | "stale" | "repeated" {
    const row = requests.find("lease", lease)
    if (row === null || row.session !== session) return "stale"
    // A lease on a row that does not run is there because it concluded the attempt.
    return row.state === "running" ? toRecord(row) : "repeated"
  }

  return {
    claim({ session, apps, leases }) {
      // A claim may cross the end of its session; what it took would never be given back.
      if (!sessions.isOpen(session)) return []
      const claims: Claim[] = []
      let round = [...new Set(apps)]
      for (const app of round) requests.release(app, now())
      while (round.length > 0 && claims.length < leases.length) {
        const next: string[] = []
        for (const app of round) {
          const lease = leases[claims.length]
          if (lease === undefined) break
          const claim = start(app, { lease, session })
          if (claim === null) continue
          claims.push(claim)
          next.push(app)
        }
        round = next
      }
      return claims
    },

    settle({ lease, session, result }) {
      const held = requests.heldBy(lease) ?? findHeld(lease, session)
      if (typeof held === "string") return held
      if (held.attempt?.session !== session) return "stale"
      const record = held
      const transition = concludeAttempt(record, result, now(), backoffMs(record))
      requests.saveTransition(record, transition, now(), { lease, session })
      return "settled"
    },

    endAttempts(session, cause) {
      const running = requests.running(session)
      for (const record of running) {
        const transition = endAttempt(record, cause, now(), backoffMs(record))
        requests.saveTransition(record, transition, now())
      }
      if (cause === "lost") sessions.close(session, now())
      return running.length
    },
  }
}
