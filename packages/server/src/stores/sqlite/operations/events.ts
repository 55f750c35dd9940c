import type { DatabaseSync } from "node:sqlite"
import type { EngineContext } from "../engine.ts"
import type { Writers } from "../messages.ts"

/** Writes of what running attempts say. */
export function eventWriters(
  db: DatabaseSync,
  { requests }: EngineContext,
): Pick<Writers, "appendEvents"> {
  const insert = db.prepare(`
    INSERT INTO events (sequence, attempt, seq, source, event) VALUES (?, ?, ?, 'app', ?)`)
  const advance = db.prepare("UPDATE requests SET stored_seq = ? WHERE sequence = ?")

  return {
    appendEvents(batches) {
      const stored = new Map<string, number>()
      for (const { lease, events } of batches) {
        const row = requests.find("lease", lease)
        if (row === null || row.state !== "running") continue
        let last = row.stored_seq
        for (const event of events) {
          // Smaller: sent again after a reconnect. Larger: something before it is missing and will be sent again.
          if (event.seq !== last + 1) continue
          last = event.seq
          insert.run(row.sequence, row.attempts, event.seq, JSON.stringify(event))
        }
        if (last !== row.stored_seq) advance.run(last, row.sequence)
        stored.set(lease, last)
      }
      return [...stored].map(([lease, storedSeq]) => ({ lease, storedSeq }))
    },
  }
}
