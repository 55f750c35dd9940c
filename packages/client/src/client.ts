import { type CallOptions, keyFor, type RequestOptions, requestHeadersOf } from "./call-options.ts"
import type { EndpointId, Endpoints, Input, Output } from "./endpoints.ts"
import { limitsOf, QueueCalls, type QueueStatus, readEndpoint } from "./queue.ts"
import { RealtimeConnection, type RealtimeOptions } from "./realtime/connection.ts"
import { type ClientOptions, readSettings, type Settings } from "./settings.ts"
import { transformInput } from "./storage/transform-input.ts"
import { upload, type UploadOptions } from "./storage/upload.ts"
import { type EventStream, stream, type StreamOptions } from "./stream.ts"
import {
  type StatusStreamOptions,
  streamStatus,
  subscribe,
  type SubscribeOptions,
  subscribeToStatus,
  type SubscribeToStatusOptions,
} from "./subscribe.ts"
import { createToken, type TokenOptions } from "./tokens.ts"
import { withDeadline } from "./transport/deadline.ts"
import { readResult, type Result, send } from "./transport/send.ts"
import type { CompletedStatus } from "./queue.ts"

/** The calls of the queue, one by one. */
class Queue<Known> extends QueueCalls<Known> {
  readonly #settings: Settings

  constructor(settings: Settings) {
    super(settings)
    this.#settings = settings
  }

  /** Every change of a request, until it is over; of the logs, each event tells those that are new. */
  streamStatus(
    endpoint: EndpointId<Known>,
    options: StatusStreamOptions,
  ): AsyncIterable<QueueStatus> {
    return streamStatus(this.#settings, endpoint, options)
  }

  /** Resolves when a request is over, however it has ended. */
  async subscribeToStatus(
    endpoint: EndpointId<Known>,
    options: SubscribeToStatusOptions,
  ): Promise<CompletedStatus> {
    return await subscribeToStatus(this.#settings, endpoint, options)
  }
}

class Realtime<Known> {
  readonly #settings: Settings

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** Opens a connection, and another one when the server has ended it and there is something to send. */
  connect<Id extends EndpointId<Known>, Message = unknown>(
    endpoint: Id,
    options: RealtimeOptions<Message>,
  ): RealtimeConnection<Input<Id, Known>, Message> {
    return new RealtimeConnection(this.#settings, endpoint, options)
  }
}

class Storage {
  readonly #settings: Settings

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** Resolves to the file's URL. */
  async upload(file: Blob, options: UploadOptions = {}): Promise<string> {
    return await upload(this.#settings, file, options)
  }

  /** A copy of the input in which every `Blob` is uploaded and stands as its URL. Every call does it by itself. */
  async transformInput(input: unknown, options: CallOptions = {}): Promise<unknown> {
    return await withDeadline(limitsOf(this.#settings, options), (signal) =>
      transformInput(this.#settings, input, signal),
    )
  }
}

class Tokens<Known> {
  readonly #settings: Settings

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** For a page: with it, it can call this app for a while without the key. */
  async create(endpoint: EndpointId<Known>, options: TokenOptions = {}): Promise<string> {
    return await createToken(this.#settings, endpoint, options)
  }
}

export class Client<Known = Endpoints> {
  readonly queue: Queue<Known>
  readonly realtime: Realtime<Known>
  readonly storage: Storage
  readonly tokens: Tokens<Known>
  readonly #settings: Settings

  constructor(settings: Settings) {
    this.#settings = settings
    this.queue = new Queue(settings)
    this.realtime = new Realtime(settings)
    this.storage = new Storage(settings)
    this.tokens = new Tokens(settings)
  }

  /**
   * Calls an endpoint and holds the connection until it has answered. An abort cancels the request: at once without an idempotency
   * key, else when nobody has come back for it.
   */
  async run<Id extends EndpointId<Known>>(
    endpoint: Id,
    options: RequestOptions<Input<Id, Known>>,
  ): Promise<Result<Output<Id, Known>>> {
    const settings = this.#settings
    return await withDeadline(limitsOf(settings, options), async (signal) => {
      const input = await transformInput(settings, options.input, signal)
      const key = keyFor(settings, options)
      return await send(settings, {
        method: "POST",
        url: `${settings.run}/${readEndpoint(endpoint).id}`,
        headers: requestHeadersOf(options),
        body: JSON.stringify(input),
        signal,
        tryMs: null,
        key,
        when: key === null ? "refused" : "always",
        read: (response) => readResult<Output<Id, Known>>(response),
      })
    })
  }

  /** Calls an endpoint through the queue: submits, follows, fetches. */
  async subscribe<Id extends EndpointId<Known>>(
    endpoint: Id,
    options: SubscribeOptions<Input<Id, Known>>,
  ): Promise<Result<Output<Id, Known>>> {
    return await subscribe<Known, Id>(this.#settings, endpoint, options)
  }

  /** Calls an endpoint that tells on the way what it has so far. */
  async stream<Id extends EndpointId<Known>>(
    endpoint: Id,
    options: StreamOptions<Input<Id, Known>>,
  ): Promise<EventStream<Output<Id, Known>>> {
    return await stream<Known, Id>(this.#settings, endpoint, options)
  }
}

/**
 * A client of a Tintype server, or of the hosted service. Any number of them may live side by side.
 *
 *     const client = createClient({ url: "http://127.0.0.1:3250" })
 *     const { data } = await client.run("fal-ai/flux/dev", { input: { prompt: "a lighthouse at dusk" } })
 */
export function createClient<Known = Endpoints>(options: ClientOptions = {}): Client<Known> {
  return new Client(readSettings(options))
}
