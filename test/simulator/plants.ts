import type { StatementSync } from "node:sqlite"
import { type RequestRow, toRecord } from "../../packages/server/src/stores/sqlite/rows.ts"
import type { Plant } from "./engine-store.ts"

/**
 * Defects that such platforms have had, planted around the real parts: a simulator that does not find them is worth
 * nothing. Each function makes a fresh one.
 */
export const plants: Record<string, () => Plant> = {
  "no lease check at settle": noLeaseCheck,
  "wake before commit": wakeBeforeCommit,
  "cancel lost on requeue": cancelLostOnRequeue,
  "lost submits forgotten": lostSubmitsForgotten,
}

/** An outcome is written whoever brings it: the row of a lease is found long after the lease was lost. */
function noLeaseCheck(): Plant {
  const sequences = new Map<string, number>()
  const sessions = new Map<string, string>()
  return {
    wrapDatabase: (db) => {
      const ofSequence = db.prepare("SELECT * FROM requests WHERE sequence = ?")
      const findAnyway = (found: unknown, lease: string) => {
        const sequence = sequences.get(lease)
        if (found !== undefined || sequence === undefined) return found
        const row = ofSequence.get(sequence)
        const isOpen = row?.["state"] === "running" || row?.["state"] === "queued"
        const session = sessions.get(lease) ?? null
        return isOpen ? { ...row, state: "running", lease, session } : undefined
      }
      const prepare = (sql: string) => {
        const statement = db.prepare(sql)
        if (sql !== "SELECT * FROM requests WHERE lease = ?") return statement
        return around(statement, {
          get: (lease: string) => findAnyway(statement.get(lease), lease),
        })
      }
      return around(db, { prepare })
    },
    tamper: (batch, db) => {
      const running = db.prepare("SELECT sequence, lease FROM requests WHERE state = 'running'")
      for (const { lease, sequence } of running.all()) {
        sequences.set(String(lease), Number(sequence))
      }
      for (const operation of batch) {
        if (operation.name !== "settle") continue
        const [{ lease, session }] = operation.arguments
        sessions.set(lease, session)
      }
      return batch
    },
  }
}

/** Who waits is woken when the rows are written and not yet committed. */
function wakeBeforeCommit(): Plant {
  return {
    wrapDatabase: (db, wake) => {
      const select = db.prepare("SELECT * FROM requests")
      const versions = new Map<string, number>()
      const wakeAll = () => {
        const records = (select.all() as unknown as RequestRow[]).map(toRecord)
        const changed = records.filter(({ id, version }) => versions.get(id) !== version)
        for (const { id, version } of changed) versions.set(id, version)
        if (changed.length > 0) wake(changed)
      }
      return around(db, {
        prepare: (sql: string) =>
          sql === "COMMIT" ? runsFirst(db.prepare(sql), wakeAll) : db.prepare(sql),
      })
    },
  }
}

/** A lost attempt goes back to the queue and forgets that it was to be cancelled. */
function cancelLostOnRequeue(): Plant {
  return {
    tamper: (batch, db) => {
      const forget = db.prepare(`
        UPDATE requests SET cancel_requested_at = NULL, cancel_cause = NULL
        WHERE state = 'running' AND session = ?`)
      for (const operation of batch) {
        if (operation.name === "endAttempts") forget.run(operation.arguments[0])
      }
      return batch
    },
  }
}

/** Nobody notes that a caller went before its answer came. */
function lostSubmitsForgotten(): Plant {
  return {
    tamper: (batch) =>
      batch.map((one) => (one.name === "markLost" ? { name: "markLost", arguments: [[]] } : one)),
  }
}

function runsFirst(statement: StatementSync, first: () => void): StatementSync {
  return around(statement, {
    run: () => {
      first()
      return statement.run()
    },
  })
}

/** The same object to who holds it, but for these methods. */
function around<Thing extends object>(
  thing: Thing,
  methods: Partial<Record<keyof Thing, unknown>>,
) {
  return new Proxy(thing, {
    get: (target, name) => {
      if (Object.hasOwn(methods, name)) return methods[name as keyof Thing]
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === "function" ? (value.bind(target) as unknown) : value
    },
  })
}
