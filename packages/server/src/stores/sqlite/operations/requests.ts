import type { DatabaseSync } from "node:sqlite"
import { type Door, doorPolicies } from "../../../domain/door.ts"
import {
  endAtRestart,
  endAtStartDeadline,
  enqueue,
  failQueued,
  requestCancel,
} from "../../../domain/transitions.ts"
import { headTurn } from "../../../domain/turn.ts"
import { StoreError } from "../../../store.ts"
import type { EngineContext } from "../engine.ts"
import type { Writers } from "../messages.ts"
import { toRecord } from "../rows.ts"

/** What a restart ends is at the head of its app's queue, so that a start never walks along a million that survive it. */
export const openOfDoor = `
  SELECT sequence
  FROM (SELECT DISTINCT app FROM turn_counts)
  CROSS JOIN requests INDEXED BY requests_queue USING (app)
  WHERE state = 'queued' AND held = 0 AND turn = ${headTurn} AND door = ?
  UNION ALL SELECT sequence FROM requests WHERE state = 'running' AND door = ?`

/** Writes that make a request or end one that no runner holds. */
export function requestWriters(
  db: DatabaseSync,
  { requests, repeats, lanes, pools, now }: EngineContext,
): Pick<Writers, "submit" | "cancel" | "failQueued" | "advance" | "recover"> {
  const open = db.prepare(openOfDoor)
  const shortenWaits = waitShortener(db)

  return {
    submit(request) {
      const found = repeats.find(request, now())
      if (found !== null) return found
      const { queueLengthMax, identity } = request
      if (
        typeof queueLengthMax === "number" &&
        requests.queueLength(request.app) > queueLengthMax
      ) {
        const detail = `More than ${queueLengthMax} requests are queued`
        throw new StoreError("queue_too_long", detail)
      }
      const place = { sequence: requests.takeSequence(), turn: lanes.take(request) }
      const record = enqueue(request, place, now())
      requests.insert(record, request)
      if (identity !== undefined) repeats.bind(record, identity, now())
      return record
    },

    cancel({ id, cause }) {
      const row = requests.find("id", id)
      if (row === null) return { result: "unknown", request: null }
      const record = toRecord(row)
      const { verdict, transition } = requestCancel(record, cause, now())
      if (transition !== null) requests.saveTransition(record, transition, now())
      return { result: verdict, request: transition?.record ?? record }
    },

    failQueued(id, errorType) {
      const row = requests.find("id", id)
      if (row === null) return false
      const record = toRecord(row)
      const transition = failQueued(record, errorType, now())
      if (transition !== null) requests.saveTransition(record, transition, now())
      return transition !== null
    },

    advance() {
      const overdue = requests.overdue(now(), overdueMax)
      for (const record of overdue) {
        const transition = endAtStartDeadline(record, now())
        if (transition !== null) requests.saveTransition(record, transition, now())
      }
      return { released: requests.releaseAll(now()), ended: overdue.length }
    },

    recover() {
      pools.recover()
      // The clock was set back since: what waits would wait for longer, by as much.
      shortenWaits((repeats.lastWrittenAt() ?? 0) - now())
      let ended = 0
      for (const door of mortalDoors()) {
        for (const { sequence } of open.all(door, door)) {
          const row = requests.find("sequence", Number(sequence))
          if (row === null) continue
          const record = toRecord(row)
          const transition = endAtRestart(record, now())
          if (transition === null) continue
          requests.saveTransition(record, transition, now())
          ended += 1
        }
      }
      // After those ended whose callers are gone: they are not found again.
      repeats.begin()
      return { ended }
    },
  }
}

/** Has everything that is due at a later time be due sooner, by so many milliseconds. */
function waitShortener(db: DatabaseSync): (ms: number) => void {
  const waits = [
    db.prepare("UPDATE requests SET not_before = not_before - ? WHERE held = 1"),
    db.prepare("UPDATE deliveries SET next_at = next_at - ? WHERE state = 'pending'"),
  ]
  return (ms) => {
    if (ms > 0) for (const wait of waits) wait.run(ms)
  }
}

/** Start deadlines that are judged in one write: so many take some 20 ms. */
const overdueMax = 1_000

function mortalDoors(): Door[] {
  return (Object.keys(doorPolicies) as Door[]).filter((door) => !doorPolicies[door].survivesRestart)
}
