import type { ServerResponse } from "node:http"
import { isTerminal } from "@tintype/protocol"
import type { RequestRecord } from "../../domain/request.ts"
import type { EventCursor } from "../../store.ts"
import { type Answer, overloaded } from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"
import { eventStreamHeaders, ping, sseEvent, writeAll } from "./event-stream.ts"
import { readStatus, statusBody, wantsLogs } from "./status.ts"

/** The status as server-sent events: one at once, one for every change, `COMPLETED` last. */
export function answerStatusStream(gateway: Gateway, call: Call, record: RequestRecord): Answer {
  const headers = eventStreamHeaders(record.id)
  if (call.method === "HEAD") return { status: 200, headers, body: null }
  const leave = gateway.waiters.enter()
  if (leave === null) return overloaded("Too many calls wait; try again")
  const { statusBase, query } = call.address
  const subject = { record, statusBase, logs: wantsLogs(query) }
  return {
    status: 200,
    headers,
    // It goes on by itself: a call that waited for its end would keep all that it was made of.
    body: async (response) => void new StatusStream(gateway, response, subject, leave).look(),
  }
}

interface Subject {
  record: RequestRecord
  statusBase: string
  logs: boolean
}

/**
 * One caller who is told every change of a request. Thousands are held open and idle, so it owns little: a watch on the request,
 * one on its events, and what it has told.
 */
class StatusStream {
  readonly #gateway: Gateway
  readonly #response: ServerResponse
  readonly #subject: Subject
  readonly #ends: (() => void)[]
  #after: EventCursor | undefined
  #told = ""
  #saidAt = -Infinity
  #looking = false
  #lookAgain = false

  constructor(gateway: Gateway, response: ServerResponse, subject: Subject, leave: () => void) {
    this.#gateway = gateway
    this.#response = response
    this.#subject = subject
    const { snapshots, events } = gateway.parts
    const { id } = subject.record
    const look = () => void this.look()
    this.#ends = [
      snapshots.watch(id, look),
      events.watch(id, look),
      gateway.pulse.join(() => this.#beat()),
      leave,
    ]
    if (response.destroyed) this.#end()
    else response.once("close", () => this.#end())
  }

  /** Tells what is new, if anything is. One at a time, so that what is told later is newer. */
  async look(): Promise<void> {
    this.#lookAgain = true
    if (this.#looking) return
    this.#looking = true
    try {
      while (this.#lookAgain && !this.#response.writableEnded && !this.#response.destroyed) {
        this.#lookAgain = false
        await this.#tellNews()
      }
    } catch {
      // The head is sent, so an error can only be shown by an end that is none.
      this.#response.destroy()
    } finally {
      this.#looking = false
    }
  }

  /** A position changes without a change of its request. */
  #beat(): void {
    if (this.#subject.record.state === "queued" || this.#isPingDue()) void this.look()
  }

  #isPingDue(): boolean {
    const { streamPingMs } = this.#gateway.parts.config.timing
    return performance.now() + this.#gateway.pulse.everyMs >= this.#saidAt + streamPingMs
  }

  async #tellNews(): Promise<void> {
    const { snapshots } = this.#gateway.parts
    const { logs, statusBase } = this.#subject
    const known = this.#subject.record
    const after = this.#after
    const current = (await snapshots.get(known.id)) ?? known
    const options = after === undefined ? { logs } : { logs, after }
    const { record, facts, cursor } = await readStatus(this.#gateway, current, options)
    this.#subject.record = record
    this.#after = cursor
    const state = JSON.stringify([record.state, facts.position, facts.progress])
    if (state !== this.#told || (facts.logs?.length ?? 0) > 0) {
      this.#told = state
      await this.#write(sseEvent(JSON.stringify(statusBody(record, { statusBase }, facts))))
    } else if (this.#isPingDue()) {
      await this.#write(ping)
    }
    if (isTerminal(record.state)) this.#response.end()
  }

  async #write(text: string): Promise<void> {
    await writeAll(this.#response, text, this.#gateway.parts.config.timing.streamStallMs)
    this.#saidAt = performance.now()
  }

  #end(): void {
    for (const end of this.#ends.splice(0)) end()
  }
}
