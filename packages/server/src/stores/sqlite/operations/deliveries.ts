import type { DatabaseSync, StatementSync } from "node:sqlite"
import {
  type Delivery,
  deliveryAfterTry,
  type DeliveryTry,
  newDelivery,
  resendDelivery,
} from "../../../domain/delivery.ts"
import type { RequestRecord } from "../../../domain/request.ts"
import type { Writers } from "../messages.ts"
import { type DeliveryRow, toDelivery } from "../rows.ts"

/** Owns the rows of `deliveries` and of their tries, and the mark `owed` of their requests. */
export class DeliveryTable {
  readonly #insert: StatementSync
  readonly #select: Record<"sequence" | "request", StatementSync>
  readonly #update: StatementSync
  readonly #insertTry: StatementSync
  readonly #setOwed: StatementSync

  constructor(db: DatabaseSync) {
    this.#insert = db.prepare(`
      INSERT INTO deliveries (sequence, request, account, url, origin, state, tries, tries_in_round,
        next_at, created_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
    this.#select = {
      sequence: db.prepare("SELECT * FROM deliveries WHERE sequence = ?"),
      request: db.prepare(`
        SELECT deliveries.* FROM requests JOIN deliveries USING (sequence) WHERE requests.id = ?`),
    }
    this.#update = db.prepare(`
      UPDATE deliveries SET state = ?, tries = ?, tries_in_round = ?, next_at = ?, finished_at = ?
      WHERE sequence = ?`)
    this.#setOwed = db.prepare("UPDATE requests SET owed = ?1 WHERE sequence = ?2 AND owed <> ?1")
    this.#insertTry = db.prepare(`
      INSERT INTO delivery_tries (sequence, number, at, duration_ms, status, answer, error, detail)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
  }

  /** Writes the delivery that a request owes that has just become terminal, if it owes one. */
  owe(record: RequestRecord): void {
    const delivery = newDelivery(record)
    if (delivery === null) return
    this.#insert.run(
      delivery.sequence,
      delivery.request,
      delivery.account,
      delivery.url,
      delivery.origin,
      delivery.state,
      delivery.tries,
      delivery.triesInRound,
      delivery.nextAt,
      delivery.createdAt,
    )
    this.#follow(delivery)
  }

  find(column: "sequence" | "request", value: string | number): Delivery | null {
    const row = this.#select[column].get(value) as unknown as DeliveryRow | undefined
    return row === undefined ? null : toDelivery(row)
  }

  save(delivery: Delivery): void {
    const { state, tries, triesInRound, nextAt, finishedAt, sequence } = delivery
    this.#update.run(state, tries, triesInRound, nextAt, finishedAt, sequence)
    this.#follow(delivery)
  }

  /** Of a request that owes a delivery nothing is pruned. */
  #follow({ state, sequence }: Delivery): void {
    this.#setOwed.run(state === "pending" ? 1 : 0, sequence)
  }

  addTry(sequence: number, number: number, made: DeliveryTry): void {
    const { at, durationMs, status, answer, error, detail } = made
    this.#insertTry.run(sequence, number, at, durationMs, status, answer, error, detail)
  }
}

/** Writes about webhooks that are on their way. */
export function deliveryWriters(
  deliveries: DeliveryTable,
): Pick<Writers, "recordTry" | "requeueDelivery"> {
  return {
    recordTry({ sequence, number, made, policy, random }) {
      const delivery = deliveries.find("sequence", sequence)
      if (delivery === null) return "unknown"
      if (delivery.tries >= number) return "repeated"
      const after = deliveryAfterTry(delivery, made, policy, random)
      deliveries.addTry(sequence, number, made)
      deliveries.save(after)
      return after
    },

    requeueDelivery(request) {
      const delivery = deliveries.find("request", request)
      if (delivery === null) return null
      const again = resendDelivery(delivery)
      deliveries.save(again)
      return again
    },
  }
}
