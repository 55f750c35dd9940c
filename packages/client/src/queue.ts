import { parseEndpointId, requestHeaders } from "@tintype/protocol"
import { type CallOptions, keyFor, type RequestOptions, requestHeadersOf } from "./call-options.ts"
import type { EndpointId, Input, Output } from "./endpoints.ts"
import { ApiError } from "./errors.ts"
import type { Settings } from "./settings.ts"
import { transformInput } from "./storage/transform-input.ts"
import { withDeadline } from "./transport/deadline.ts"
import { readAny, readResult, type Result, send } from "./transport/send.ts"

export interface LogLine {
  message: string
  /** ISO 8601. */
  timestamp: string
  level: string
  source: string
  labels?: Record<string, string>
}

interface StatusShared {
  requestId: string
  /** Of all attempts so far; empty unless asked for. */
  logs: LogLine[]
}

export interface QueuedStatus extends StatusShared {
  status: "IN_QUEUE"
  /** Requests before it. */
  queuePosition: number
}

export interface RunningStatus extends StatusShared {
  status: "IN_PROGRESS"
  /** When the app tells. */
  progress: { step: number; steps: number } | null
}

export interface CompletedStatus extends StatusShared {
  status: "COMPLETED"
  inferenceSeconds: number | null
  /** Null: it has succeeded. Otherwise `queue.result` throws it whole. */
  error: string | null
  errorType: string | null
}

export type QueueStatus = QueuedStatus | RunningStatus | CompletedStatus

export interface SubmitOptions<Taken> extends RequestOptions<Taken> {
  /** Told when the request is over; `verifyWebhook` is its other end. */
  webhookUrl?: string
  priority?: "normal" | "low"
  /** The submit is refused when as many are waiting already. */
  queueLengthMax?: number
}

export interface SubmittedRequest {
  requestId: string
  queuePosition: number
}

export interface RequestReference extends CallOptions {
  requestId: string
}

export interface StatusOptions extends RequestReference {
  logs?: boolean
}

/** One try of a call that asks or tells something, and waits for no work. */
export const tryMs = 60_000

export class QueueCalls<Known> {
  readonly #settings: Settings

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** Makes a request and does not wait for it. */
  async submit<Id extends EndpointId<Known>>(
    endpoint: Id,
    options: SubmitOptions<Input<Id, Known>>,
  ): Promise<SubmittedRequest> {
    const settings = this.#settings
    return await withDeadline(limitsOf(settings, options), async (signal) => {
      const input = await transformInput(settings, options.input, signal)
      return await submitRequest(settings, endpoint, { ...options, input, signal })
    })
  }

  async status(endpoint: EndpointId<Known>, options: StatusOptions): Promise<QueueStatus> {
    return await withDeadline(limitsOf(this.#settings, options), (signal) =>
      readStatusOnce(this.#settings, endpoint, { ...options, signal }),
    )
  }

  /** What a finished request has answered; the error that it ended with is thrown. */
  async result<Id extends EndpointId<Known>>(
    endpoint: Id,
    options: RequestReference,
  ): Promise<Result<Output<Id, Known>>> {
    return await withDeadline(limitsOf(this.#settings, options), (signal) =>
      fetchResult<Output<Id, Known>>(this.#settings, endpoint, { ...options, signal }),
    )
  }

  /**
   * `cancelled`: it will not run any more. `requested`: it runs, and was told to stop; it may still succeed. `completed`: it was
   * over.
   */
  async cancel(
    endpoint: EndpointId<Known>,
    options: RequestReference,
  ): Promise<"cancelled" | "requested" | "completed"> {
    return await withDeadline(limitsOf(this.#settings, options), (signal) =>
      cancelRequest(this.#settings, endpoint, { ...options, signal }),
    )
  }
}

/** The input holds no files any more. */
export async function submitRequest(
  settings: Settings,
  endpoint: string,
  options: SubmitOptions<unknown> & { signal: AbortSignal },
): Promise<SubmittedRequest> {
  const { input, priority, signal } = options
  const key = keyFor(settings, options)
  const answer = await send(settings, {
    method: "POST",
    url: submitUrl(settings, endpoint, options),
    headers: {
      ...requestHeadersOf(options),
      ...(priority === undefined ? {} : { [requestHeaders.queuePriority]: priority }),
    },
    body: JSON.stringify(input),
    signal,
    tryMs,
    key,
    when: key === null ? "refused" : "always",
    read: readAny,
  })
  const { request_id: requestId, queue_position: position } = fieldsOf(answer)
  return { requestId: String(requestId), queuePosition: Number(position ?? 0) }
}

interface Asked {
  requestId: string
  signal: AbortSignal
}

/** `waitSeconds`: the answer may be held until the request is over. */
export async function readStatusOnce(
  settings: Settings,
  endpoint: string,
  { requestId, signal, logs, waitSeconds }: Asked & { logs?: boolean; waitSeconds?: number },
): Promise<QueueStatus> {
  const answer = await send(settings, {
    method: "GET",
    url: `${requestUrl(settings, endpoint, requestId)}/status?logs=${logs === true ? 1 : 0}`,
    ...(waitSeconds === undefined ? {} : { headers: { prefer: `wait=${waitSeconds}` } }),
    signal,
    tryMs,
    when: "always",
    read: readAny,
  })
  return toStatus(answer)
}

export async function fetchResult<Given>(
  settings: Settings,
  endpoint: string,
  { requestId, signal }: Asked,
): Promise<Result<Given>> {
  return await send(settings, {
    method: "GET",
    url: requestUrl(settings, endpoint, requestId),
    signal,
    tryMs: null,
    when: "always",
    // The request's own outcome stays what it is, whatever its status says about trying again.
    isFinal: (error) => error.requestId === requestId,
    read: (response) => readResult<Given>(response),
  })
}

export async function cancelRequest(
  settings: Settings,
  endpoint: string,
  { requestId, signal }: Asked,
): Promise<"cancelled" | "requested" | "completed"> {
  try {
    const status = await send(settings, {
      method: "PUT",
      url: `${requestUrl(settings, endpoint, requestId)}/cancel`,
      signal,
      tryMs,
      when: "always",
      read: async (response) => {
        await response.arrayBuffer()
        return response.status
      },
    })
    return status === 202 ? "requested" : "cancelled"
  } catch (error) {
    const isOver = error instanceof ApiError && error.status === 400
    if (isOver && fieldsOf(error.body)["status"] === "ALREADY_COMPLETED") return "completed"
    throw error
  }
}

/** Always by the app, and never an address that an answer tells: the key would follow it. */
export function requestUrl({ queue }: Settings, endpoint: string, requestId: string): string {
  const { app } = readEndpoint(endpoint)
  return `${queue}/${app}/requests/${encodeURIComponent(requestId)}`
}

export function readEndpoint(endpoint: string): NonNullable<ReturnType<typeof parseEndpointId>> {
  const id = parseEndpointId(endpoint)
  if (id === null) throw new TypeError(`${JSON.stringify(endpoint)} is no endpoint's id`)
  return id
}

function submitUrl(
  { queue }: Settings,
  endpoint: string,
  { webhookUrl, queueLengthMax }: SubmitOptions<unknown>,
): string {
  const url = new URL(`${queue}/${readEndpoint(endpoint).id}`)
  if (webhookUrl !== undefined) url.searchParams.set("fal_webhook", webhookUrl)
  if (queueLengthMax !== undefined) {
    url.searchParams.set("fal_max_queue_length", String(queueLengthMax))
  }
  return url.href
}

export function toStatus(answer: unknown): QueueStatus {
  const fields = fieldsOf(answer)
  const shared = {
    requestId: String(fields["request_id"]),
    logs: Array.isArray(fields["logs"]) ? (fields["logs"] as LogLine[]) : [],
  }
  switch (fields["status"]) {
    case "IN_QUEUE":
      return { ...shared, status: "IN_QUEUE", queuePosition: Number(fields["queue_position"] ?? 0) }
    case "IN_PROGRESS": {
      const progress = fields["progress"] as RunningStatus["progress"] | undefined
      return { ...shared, status: "IN_PROGRESS", progress: progress ?? null }
    }
    case "COMPLETED": {
      const { inference_time: seconds } = fieldsOf(fields["metrics"])
      return {
        ...shared,
        status: "COMPLETED",
        inferenceSeconds: typeof seconds === "number" ? seconds : null,
        error: textOrNull(fields["error"]),
        errorType: textOrNull(fields["error_type"]),
      }
    }
    default:
      throw new TypeError(`The server answered a status that is none: ${String(fields["status"])}`)
  }
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {}
}

export function limitsOf(
  { timeoutMs }: Settings,
  options: CallOptions,
): { signal: AbortSignal | undefined; timeoutMs: number | null } {
  return { signal: options.signal, timeoutMs: options.timeoutMs ?? timeoutMs }
}
