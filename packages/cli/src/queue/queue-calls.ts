import { setTimeout } from "node:timers/promises"
import { CommandError, reasonOf } from "../terminal.ts"
import { ApiError, readApiError } from "./api-error.ts"
import { readEvents } from "./event-stream.ts"
import type { ModelsPage, StatusUpdate } from "./wire-reading.ts"
import {
  parseJson,
  readModelsPage,
  WireError,
  readRequestId,
  readStatusUpdate,
} from "./wire-reading.ts"

export interface QueueTarget {
  /** Of the server, without a slash at the end. */
  url: string
  key: string | null
}

/** A status stream that was cut is opened again: the request lives on, and so may a restarting server. */
const reconnectsMax = 20
const reconnectMs = 500

/** The calls of the queue door, one method each. Errors: `ApiError` from the server, `CommandError` without an answer. */
export class QueueCalls {
  readonly #target: QueueTarget

  constructor(target: QueueTarget) {
    this.#target = target
  }

  /** Resolves to the request id. */
  async submit(endpoint: string, body: string): Promise<string> {
    const headers = { "content-type": "application/json" }
    const response = await this.#call(`/queue/${endpoint}`, { method: "POST", headers, body })
    return readRequestId(parseJson(await response.text()))
  }

  /** Every update until the request is complete, the last one included. Log lines come once each, in order. */
  async *follow(endpoint: string, id: string, signal: AbortSignal): AsyncGenerator<StatusUpdate> {
    const path = `/queue/${endpoint}/requests/${id}/status/stream?logs=1`
    let logsSeen = 0
    for (let reconnects = 0; reconnects <= reconnectsMax; reconnects++) {
      if (reconnects > 0) await setTimeout(reconnectMs, undefined, { signal })
      let logsHere = 0
      for await (const update of this.#stream(path, signal)) {
        reconnects = 0
        // A new stream tells all log lines again.
        const logs = update.logs.filter(() => ++logsHere > logsSeen)
        logsSeen = Math.max(logsSeen, logsHere)
        yield { ...update, logs }
        if (update.status === "COMPLETED") return
      }
    }
    throw new CommandError(`The server at ${this.#target.url} is gone; request ${id} may still run`)
  }

  /** Ends without an error when the connection is cut. */
  async *#stream(path: string, signal: AbortSignal): AsyncGenerator<StatusUpdate> {
    try {
      const response = await this.#call(path, { headers: { accept: "text/event-stream" }, signal })
      if (response.body === null) return
      for await (const data of readEvents(response.body)) {
        yield readStatusUpdate(parseJson(data))
      }
    } catch (error) {
      if (signal.aborted || error instanceof ApiError || error instanceof WireError) throw error
    }
  }

  /** The app's answer as it came, JSON as a rule. */
  async result(endpoint: string, id: string): Promise<string> {
    const response = await this.#call(`/queue/${endpoint}/requests/${id}`, {})
    return await response.text()
  }

  /** True when the request will not give a result any more or was asked to stop. */
  async cancel(endpoint: string, id: string): Promise<boolean> {
    const path = `/queue/${endpoint}/requests/${id}/cancel`
    try {
      await this.#call(path, { method: "PUT", signal: AbortSignal.timeout(5_000) })
      return true
    } catch {
      return false
    }
  }

  /** One page of `/v1/models`. */
  async models(query: URLSearchParams): Promise<ModelsPage> {
    const response = await this.#call(`/v1/models?${query.toString()}`, {})
    return readModelsPage(parseJson(await response.text()))
  }

  /** Any URL; the credential goes only to the server itself. */
  async download(url: string, signal: AbortSignal): Promise<Response> {
    const own = new URL(url).origin === new URL(this.#target.url).origin
    return await this.#fetch(url, { signal }, own)
  }

  #call(path: string, init: RequestInit): Promise<Response> {
    return this.#fetch(`${this.#target.url}${path}`, init, true)
  }

  async #fetch(url: string, init: RequestInit, withKey: boolean): Promise<Response> {
    const headers = new Headers(init.headers)
    headers.set("user-agent", "tintype-cli")
    const key = this.#target.key
    if (withKey && key !== null) headers.set("authorization", `Key ${key}`)
    let response: Response
    try {
      response = await fetch(url, { ...init, headers })
    } catch (error) {
      if (init.signal?.aborted === true) throw error
      throw new CommandError(`${new URL(url).origin} does not answer: ${reasonOf(error)}`, {
        cause: error,
      })
    }
    if (!response.ok) throw await readApiError(response)
    return response
  }
}
