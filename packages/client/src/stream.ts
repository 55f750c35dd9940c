import { responseHeaders } from "@tintype/protocol"
import { type RequestOptions, requestHeadersOf } from "./call-options.ts"
import type { EndpointId, Input, Output } from "./endpoints.ts"
import { ApiError, toApiError, TransportError } from "./errors.ts"
import { limitsOf, readEndpoint } from "./queue.ts"
import type { Settings } from "./settings.ts"
import { transformInput } from "./storage/transform-input.ts"
import { tokenQuery, type TokenSource } from "./tokens.ts"
import { limitSignal } from "./transport/deadline.ts"
import { readEvents } from "./transport/event-stream.ts"
import { send } from "./transport/send.ts"

export interface StreamOptions<Taken> extends Omit<RequestOptions<Taken>, "idempotencyKey"> {
  /** Below the endpoint; default `/stream`. */
  path?: string
  /** Shown in place of the credentials: for pages. */
  token?: TokenSource
}

/**
 * What an endpoint tells while it works, each time as much of its output as there is. Read it once, with `for await`; leaving
 * the loop ends the call, which cancels it at the server. `done` resolves to the last event, which is the result, and reads
 * what nobody else does.
 */
export class EventStream<Told> implements AsyncIterable<Told> {
  /** Empty when the server tells none. */
  readonly requestId: string
  readonly #events: AsyncGenerator<Told, void, undefined>
  readonly #ended = new Settled<Told>()
  #isRead = false

  constructor(requestId: string, events: AsyncIterable<Told>) {
    this.requestId = requestId
    this.#events = this.#follow(events)
  }

  [Symbol.asyncIterator](): AsyncIterator<Told> {
    if (this.#isRead) throw new TypeError("The events of this stream are read already")
    this.#isRead = true
    return this.#events
  }

  async done(): Promise<Told> {
    if (!this.#isRead) await this.#drain()
    return await this.#ended.promise
  }

  async #drain(): Promise<void> {
    this.#isRead = true
    for (;;) if ((await this.#events.next()).done === true) return
  }

  async *#follow(events: AsyncIterable<Told>): AsyncGenerator<Told, void, undefined> {
    let last: Told | undefined
    let isWhole = false
    try {
      for await (const event of events) {
        last = event
        yield event
      }
      isWhole = true
      if (last === undefined) this.#ended.reject(new TransportError("The stream told nothing"))
      else this.#ended.resolve(last)
    } catch (error) {
      this.#ended.reject(error)
      throw error
    } finally {
      if (!isWhole) this.#ended.reject(new TransportError("The stream was left before its end"))
    }
  }
}

/** Resolves when the server has taken the call and begins to tell. */
export async function stream<Known, Id extends EndpointId<Known>>(
  settings: Settings,
  endpoint: Id,
  options: StreamOptions<Input<Id, Known>>,
): Promise<EventStream<Output<Id, Known>>> {
  const { signal, release } = limitSignal(limitsOf(settings, options))
  try {
    const path = pathOf(endpoint, options.path ?? "/stream")
    const query = new URLSearchParams()
    const shown = await tokenQuery(options.token, path, query)
    const input = await transformInput(settings, options.input, signal)
    const response = await send(settings, {
      method: "POST",
      url: `${settings.run}/${path}${shown ? `?${query.toString()}` : ""}`,
      headers: { ...requestHeadersOf(options), accept: "text/event-stream" },
      body: JSON.stringify(input),
      signal,
      tryMs: null,
      // No key names a stream: it ends with its caller.
      when: "refused",
      withoutCredentials: shown,
      read: (opened) => Promise.resolve(opened),
    })
    const requestId = response.headers.get(responseHeaders.requestId) ?? ""
    return new EventStream(requestId, eventsOf(response, { requestId, signal, release }))
  } catch (error) {
    release()
    throw error
  }
}

async function* eventsOf<Told>(
  response: Response,
  { requestId, signal, release }: { requestId: string; signal: AbortSignal; release: () => void },
): AsyncGenerator<Told, void, undefined> {
  try {
    if (response.body !== null) {
      for await (const event of readEvents(response.body)) {
        const failure = toFailure(event, response.headers)
        if (failure !== null) throw failure
        yield event as Told
      }
    }
  } catch (cause) {
    signal.throwIfAborted()
    if (cause instanceof ApiError) throw cause
    throw new TransportError("The stream broke off", { cause, requestId })
  } finally {
    release()
  }
}

/** After the head only an event can tell of a failure: `{"error": {"status", …}}`, with what the answer would have said. */
function toFailure(event: unknown, headers: Headers): ApiError | null {
  const { error, ...others } =
    typeof event === "object" && event !== null ? (event as Record<string, unknown>) : {}
  if (typeof error !== "object" || error === null || Object.keys(others).length > 0) return null
  const { status, ...body } = error as Record<string, unknown>
  return typeof status === "number" ? toApiError({ status, body, headers }) : null
}

/** An id that names its own path keeps it: `fal-ai/flux/dev/stream`. */
export function pathOf(endpoint: string, path: string): string {
  const { id } = readEndpoint(endpoint)
  const suffix = path === "" || path.startsWith("/") ? path : `/${path}`
  return id.endsWith(suffix) ? id : `${id}${suffix}`
}

/** A promise that is settled from outside; nobody has to wait for it. */
class Settled<T> {
  readonly promise: Promise<T>
  resolve!: (value: T) => void
  reject!: (reason: unknown) => void

  constructor() {
    // `Promise.withResolvers` came after Node 20.
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
    // Whoever only iterates gets the failure there.
    this.promise.catch(() => {})
  }
}
