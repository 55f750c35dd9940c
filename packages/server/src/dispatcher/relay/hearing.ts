import type { ChunkFrame, EventFrame, GatewayFrame } from "@tintype/protocol"
import { doorPolicies } from "../../domain/door.ts"
import type { RequestRecord } from "../../domain/request.ts"
import { EventBook, type EventBookOptions } from "../event-book.ts"
import type { RunnerSession } from "../runner-session.ts"
import { ChunkRelay } from "./chunk-relay.ts"

export interface HearingOptions extends Omit<EventBookOptions, "onStored"> {
  /** To the runner that holds this lease. */
  send(lease: string, frame: GatewayFrame): void
}

/** What running attempts say: their events go into the book, their chunks to whoever reads along. */
export class Hearing {
  readonly events: EventBook
  readonly relay: ChunkRelay

  constructor(options: HearingOptions) {
    this.events = new EventBook({
      ...options,
      onStored: (lease, seq) => options.send(lease, { type: "stored", lease, seq }),
    })
    this.relay = new ChunkRelay({
      onTaken: (lease, seq) => options.send(lease, { type: "taken", lease, seq }),
    })
  }

  /** From now on the attempt of this running request is heard. */
  open({ id, door, attempt }: RequestRecord, storedSeq: number): void {
    const { lease, number } = attempt!
    this.events.open(lease, id, number, storedSeq)
    if (doorPolicies[door].streams) this.relay.open(lease, id)
  }

  close(lease: string): void {
    this.events.close(lease)
    this.relay.close(lease)
  }

  /** Returns why it is a protocol error, or null. What is said after an attempt's end belongs to nobody. */
  hear(session: RunnerSession, frame: EventFrame | ChunkFrame): string | null {
    const held = session.attempts.get(frame.lease)
    if (held === undefined || held.concluding) return null
    if (!held.accepted) return `${frame.type} before accepted`
    if (frame.type === "chunk") return this.relay.add(frame)
    return this.events.add(frame.lease, frame.event) ? null : "event out of order"
  }
}
