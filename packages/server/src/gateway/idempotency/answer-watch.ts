import type { IncomingMessage } from "node:http"
import type { Socket } from "node:net"
import type { Idempotency } from "../../config.ts"
import { wasLost } from "../../domain/idempotency.ts"
import { type Store, StoreError } from "../../store.ts"
import type { Call, GatewayLogEntry } from "../parts.ts"
import { isBlindResender } from "./submit-identity.ts"

export interface AnswerWatchParts {
  store: Pick<Store, "markLost">
  settings: Pick<Idempotency, "detectLost" | "blindResenders">
  now: () => number
  isStopping: () => boolean
  isNamed: (id: string) => boolean
  log: (entry: GatewayLogEntry) => void
  onError: (error: unknown) => void
}

/** A submit whose answer is watched. */
export interface WatchedSubmit {
  /** It got this request: the one that was to be made, or an older one. */
  taken(request: string): void
}

interface Sent {
  /** Under which it was submitted. */
  id: string
  /** The request that it got, once that is known. */
  request: string
  /** Null until its last byte was written. */
  answeredAt: number | null
  /** Of the connection, when this one came. */
  calls: number
  endsWithAnswer: boolean
  resendsBlindly: boolean
}

interface Connection {
  /** That it has carried so far. */
  calls: number
  /** The last submit that was answered on it. */
  last: Sent | null
}

/**
 * Watches the connections that carry the answers of submits, and tells the store which are lost. Owns, of every open socket,
 * how many calls it has carried, and the last submit that was answered on it.
 */
export class AnswerWatch {
  readonly #parts: AnswerWatchParts
  readonly #connections = new WeakMap<Socket, Connection>()

  constructor(parts: AnswerWatchParts) {
    this.#parts = parts
  }

  /** A call came on this connection, whatever it is. */
  carry(socket: Socket): void {
    if (!this.#parts.settings.detectLost) return
    const known = this.#connections.get(socket)
    if (known !== undefined) {
      known.calls += 1
      return
    }
    const connection: Connection = { calls: 1, last: null }
    this.#connections.set(socket, connection)
    socket.once("close", () => {
      if (connection.last !== null) this.#judge(connection.last, connection)
    })
  }

  /**
   * Follows the answer of a submit that was handed to the store in this tick, under this id: its mark comes after it and
   * before whatever is sent again.
   */
  follow({ raw, response }: Call, id: string): WatchedSubmit {
    const connection = this.#connections.get(raw.socket)
    if (connection === undefined) return { taken: () => {} }
    const { calls } = connection
    const sent: Sent = { id, request: id, answeredAt: null, calls, ...this.#callerOf(raw) }
    const closed = () => {
      if (!response.writableFinished) {
        this.#judge(sent, connection)
        return
      }
      sent.answeredAt = this.#parts.now()
      connection.last = sent
    }
    if (response.destroyed || raw.socket.destroyed) closed()
    else response.once("close", closed)
    return {
      taken: (request) => {
        sent.request = request
      },
    }
  }

  #callerOf({ headers, httpVersionMinor }: IncomingMessage) {
    const asked = headers.connection?.toLowerCase() ?? (httpVersionMinor === 0 ? "close" : "")
    return {
      endsWithAnswer: asked.split(",").some((word) => word.trim() === "close"),
      resendsBlindly: isBlindResender(headers, this.#parts.settings.blindResenders),
    }
  }

  #judge(sent: Sent, connection: Connection): void {
    const { now, isNamed, isStopping } = this.#parts
    const { answeredAt, calls, endsWithAnswer, resendsBlindly } = sent
    const isLost = wasLost({
      answeredMs: answeredAt === null ? null : now() - answeredAt,
      carriedMore: connection.calls !== calls,
      endsWithAnswer,
      resendsBlindly,
      named: isNamed(sent.request),
      stopping: isStopping(),
    })
    if (isLost) this.#mark(sent.id)
  }

  #mark(id: string): void {
    const { store, log, onError } = this.#parts
    store.markLost([id]).then(
      (lost) => {
        for (const requestId of lost) log({ event: "answer_lost", requestId })
      },
      (error: unknown) => {
        // Nothing was written: at worst there is one request more.
        if (!(error instanceof StoreError)) onError(error)
      },
    )
  }
}
