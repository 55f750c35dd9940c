import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"

/** What the store's file says about a request and its webhook; times are epoch milliseconds. */
export interface DeliveryRow {
  id: string
  endpoint: string
  state: string
  finishedAt: number | null
  webhook: string
  /** Null while nothing is owed. */
  delivery: string | null
}

/** Of every request that asked for a webhook; read-only, beside whatever else has the file open. */
export function readDeliveryRows(data: string): DeliveryRow[] {
  const db = new DatabaseSync(join(data, "tintype.sqlite"), { readOnly: true, timeout: 5_000 })
  try {
    return db
      .prepare(
        `SELECT id, endpoint, requests.state, requests.finished_at AS finishedAt, webhook,
           deliveries.state AS delivery
         FROM requests LEFT JOIN deliveries USING (sequence)
         WHERE webhook IS NOT NULL ORDER BY sequence`,
      )
      .all() as unknown as DeliveryRow[]
  } finally {
    db.close()
  }
}
