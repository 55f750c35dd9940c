import type { CallOptions } from "./call-options.ts"
import type { EndpointId, Input, Output } from "./endpoints.ts"
import { TimeoutError, TransportError } from "./errors.ts"
import {
  cancelRequest,
  type CompletedStatus,
  fetchResult,
  limitsOf,
  type LogLine,
  type QueueStatus,
  readStatusOnce,
  requestUrl,
  type RequestReference,
  type SubmitOptions,
  type SubmittedRequest,
  submitRequest,
  toStatus,
} from "./queue.ts"
import type { Settings } from "./settings.ts"
import { transformInput } from "./storage/transform-input.ts"
import { tokenQuery, type TokenSource } from "./tokens.ts"
import { limitSignal, sleep, withDeadline } from "./transport/deadline.ts"
import { readEvents } from "./transport/event-stream.ts"
import { delayBefore } from "./transport/retry.ts"
import { type Result, send } from "./transport/send.ts"

/** How a request is followed to its end. */
export interface WatchOptions {
  /** `polling`: asks again and again. `streaming`: one connection, which is told of every change. Default polling. */
  mode?: "polling" | "streaming"
  /** Between two questions; default 500. */
  pollMs?: number
  logs?: boolean
  /** Told whenever it is looked at, and whenever it changes. With logs, of all lines so far. */
  onQueueUpdate?: (status: QueueStatus) => void
}

export interface StatusStreamOptions extends RequestReference {
  logs?: boolean
  token?: TokenSource
}

export type SubscribeToStatusOptions = RequestReference & WatchOptions

export interface SubscribeOptions<Taken> extends SubmitOptions<Taken>, WatchOptions {
  /** Told the id at once: with it the result can be fetched whatever becomes of this program. */
  onEnqueue?: (requestId: string) => void
  /** An abort or a timeout cancels the request as well; default true. */
  cancelOnAbort?: boolean
}

const pollMsDefault = 500
/** Nobody listens for what happens meanwhile, so the server may hold its answer. */
const waitSeconds = 20
/** A cancel after an abort is for the server's sake; nobody waits for it longer. */
const cancelMs = 5_000

/** Submits, follows and fetches: the queue's durability with the convenience of a run. */
export async function subscribe<Known, Id extends EndpointId<Known>>(
  settings: Settings,
  endpoint: Id,
  options: SubscribeOptions<Input<Id, Known>>,
): Promise<Result<Output<Id, Known>>> {
  return await withDeadline(limitsOf(settings, options), async (signal) => {
    const input = await transformInput(settings, options.input, signal)
    const { requestId } = await submitFor(settings, endpoint, { ...options, input, signal })
    try {
      options.onEnqueue?.(requestId)
      await watch(settings, endpoint, { ...options, requestId, signal })
      return await fetchResult<Output<Id, Known>>(settings, endpoint, { requestId, signal })
    } catch (error) {
      if (signal.aborted && options.cancelOnAbort !== false) {
        await cancelQuietly(settings, endpoint, requestId)
      }
      throw named(error, requestId)
    }
  })
}

/**
 * A submit is not cut off by an abort: its request might be made all the same, and nobody would know its id. It goes on for a
 * moment behind the caller's back, so that what it has made can be cancelled.
 */
async function submitFor(
  settings: Settings,
  endpoint: string,
  options: SubscribeOptions<unknown> & { signal: AbortSignal },
): Promise<SubmittedRequest> {
  const { signal, cancelOnAbort } = options
  if (cancelOnAbort === false) return await submitRequest(settings, endpoint, options)
  const ends = new AbortController()
  const submitted = submitRequest(settings, endpoint, { ...options, signal: ends.signal })
  return await new Promise((resolve, reject) => {
    const onAbort = () => {
      reject(signal.reason as Error)
      const timer = setTimeout(() => ends.abort(signal.reason), cancelMs)
      submitted
        .then(({ requestId }) => cancelQuietly(settings, endpoint, requestId))
        .catch(() => {})
        .finally(() => clearTimeout(timer))
    }
    signal.addEventListener("abort", onAbort, { once: true })
    submitted.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort))
  })
}

/** Resolves when the request is over, however it has ended. */
export async function watch(
  settings: Settings,
  endpoint: string,
  options: WatchOptions & { requestId: string; signal: AbortSignal },
): Promise<CompletedStatus> {
  const { mode = "polling" } = options
  return mode === "streaming"
    ? await watchStream(settings, endpoint, options)
    : await watchPolls(settings, endpoint, options)
}

async function watchPolls(
  settings: Settings,
  endpoint: string,
  options: WatchOptions & { requestId: string; signal: AbortSignal },
): Promise<CompletedStatus> {
  const { requestId, signal, logs = false, onQueueUpdate, pollMs = pollMsDefault } = options
  const hold = onQueueUpdate === undefined ? { waitSeconds } : {}
  for (;;) {
    const status = await readStatusOnce(settings, endpoint, { requestId, signal, logs, ...hold })
    onQueueUpdate?.(status)
    if (status.status === "COMPLETED") return status
    await sleep(pollMs, signal)
  }
}

/** A stream that ends early, as with its server, is opened again; it tells all logs from the first. */
async function watchStream(
  settings: Settings,
  endpoint: string,
  options: WatchOptions & { requestId: string; signal: AbortSignal },
): Promise<CompletedStatus> {
  const { signal, onQueueUpdate } = options
  for (let next = 2; ; next += 1) {
    const logs: LogLine[] = []
    try {
      for await (const told of statusEvents(settings, endpoint, options)) {
        // It was heard: what ends it from here on is another end.
        next = 2
        logs.push(...told.logs)
        const status = { ...told, logs: [...logs] }
        onQueueUpdate?.(status)
        if (status.status === "COMPLETED") return status
      }
      throw new TransportError("The status stream ended before its request")
    } catch (failure) {
      signal.throwIfAborted()
      const delayMs = delayBefore(next, failure, { when: "always" }, settings.retry)
      if (delayMs === null || !(failure instanceof TransportError)) throw failure
      await sleep(delayMs, signal)
    }
  }
}

/** Every change of a request; of the logs, each event tells those that are new. */
export async function* streamStatus(
  settings: Settings,
  endpoint: string,
  options: StatusStreamOptions,
): AsyncGenerator<QueueStatus, void, undefined> {
  const limited = limitSignal(limitsOf(settings, options))
  try {
    yield* statusEvents(settings, endpoint, { ...options, signal: limited.signal })
  } finally {
    limited.release()
  }
}

async function* statusEvents(
  settings: Settings,
  endpoint: string,
  options: { requestId: string; logs?: boolean; signal: AbortSignal; token?: TokenSource },
): AsyncGenerator<QueueStatus, void, undefined> {
  const { requestId, logs, signal, token } = options
  const query = new URLSearchParams({ logs: logs === true ? "1" : "0" })
  const shown = await tokenQuery(token, endpoint, query)
  const body = await send(settings, {
    method: "GET",
    url: `${requestUrl(settings, endpoint, requestId)}/status/stream?${query.toString()}`,
    headers: { accept: "text/event-stream" },
    signal,
    tryMs: null,
    when: "always",
    withoutCredentials: shown,
    read: (response) => Promise.resolve(response.body),
  })
  if (body === null) return
  try {
    for await (const event of readEvents(body)) yield toStatus(event)
  } catch (cause) {
    signal.throwIfAborted()
    throw new TransportError("The status stream broke off", { cause, requestId })
  }
}

async function cancelQuietly(
  settings: Settings,
  endpoint: string,
  requestId: string,
): Promise<void> {
  const cancel = (signal: AbortSignal) =>
    cancelRequest(settings, endpoint, { requestId, signal }).then(() => {})
  await withDeadline({ timeoutMs: cancelMs }, cancel).catch(() => {})
}

/** Whoever is left without a result knows at least whose: the request goes on without them. */
function named(error: unknown, requestId: string): unknown {
  if (error instanceof TimeoutError) return new TimeoutError(error.timeoutMs, requestId)
  if (error instanceof TransportError && error.requestId === null) {
    return new TransportError(error.message, { cause: error.cause, requestId })
  }
  return error
}

export async function subscribeToStatus(
  settings: Settings,
  endpoint: string,
  options: SubscribeToStatusOptions & CallOptions,
): Promise<CompletedStatus> {
  return await withDeadline(limitsOf(settings, options), (signal) =>
    watch(settings, endpoint, { ...options, signal }),
  )
}
