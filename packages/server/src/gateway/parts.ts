import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import type { WebhookKey } from "@tintype/protocol"
import type { BlobStore } from "../blob.ts"
import type { Config } from "../config.ts"
import type { Hints } from "../hints.ts"
import type { Channels } from "../realtime.ts"
import type { EventFeed, Relay, Snapshots } from "../snapshots.ts"
import type { Store } from "../store.ts"
import type { Address } from "./address.ts"
import type { Caller } from "./access/caller.ts"
import type { KeyRing } from "./access/key-ring.ts"
import type { RateLimiter } from "./access/rate-limit.ts"
import type { AppDirectory } from "./app-directory.ts"
import type { Pulse } from "./doors/event-stream.ts"
import type { Repeats } from "./idempotency/repeats.ts"
import type { AccessSettings } from "./open-mode.ts"
import type { ChannelSummary } from "./realtime/caller-socket.ts"
import type { CallerSockets } from "./realtime/caller-sockets.ts"
import type { PositionReader, WaiterCount } from "./position-reader.ts"

/** What the gateway is made of; `main.ts` brings it. */
export interface GatewayParts {
  config: Config
  store: Store
  blobs: BlobStore
  snapshots: Snapshots
  events: EventFeed
  relay: Relay
  hints: Hints
  /** What receivers verify webhooks by. */
  webhookKeys: WebhookKey[]
  /** Of the data folder; administers. */
  localSecret: string
  /** Of the data folder; tokens are signed with it. */
  tokenSecret: string
  /** Null: runners of other machines are not served. */
  runners: RunnerDoor | null
  /** Null: nothing is realtime. */
  channels: Channels | null
  /** A new UUID. */
  newId(): string
  /** Epoch milliseconds. */
  now(): number
  health(): { ready: boolean; detail: object }
  log(entry: GatewayLogEntry): void
  /** Where TLS is ended for programs written for the hosted service, once it is. */
  tls?: TlsDoor
  /** Set while the server stops: open connections are told to close. */
  draining?: boolean
}

export interface TlsDoor {
  readonly port: number
  /** PEM of the authority that its certificate is trusted by. */
  readonly ca: string
}

/** Where runners of other machines come in: the dispatcher's, for those whom the gateway has found to hold a key. */
export interface RunnerDoor {
  /**
   * Makes the connection a link, and answers the function that ends it because the key is revoked. Null, and nothing is
   * done: there are as many links as there may be.
   */
  link(
    dial: { request: IncomingMessage; socket: Duplex; head: Buffer },
    holder: RunnerHolder,
  ): (() => void) | null
  /** Answers a call of `/_/transfer/…` with a body to or from the runner that holds the lease and this key. */
  transfer(request: IncomingMessage, response: ServerResponse, key: string): void
}

export interface RunnerHolder {
  /** The key's id; what was done by its links and leases is its own. */
  key: string
  /** Ids of the apps that it may host, `owner/alias` or `owner/*`; null: all. */
  apps: readonly string[] | null
}

export type GatewayLogEntry =
  | {
      event: "request"
      method: string
      /** Without what must stay secret. */
      path: string
      status: number
      ms: number
      requestId: string | null
    }
  /** A caller's realtime connection has ended. */
  | ({ event: "channel"; endpoint: string; ms: number } & ChannelSummary)
  /** Nobody can have read the answer that told of this request. */
  | { event: "answer_lost"; requestId: string }
  | { event: "error"; requestId: string; error: unknown }

/** The parts and what the doors share. */
export interface Gateway {
  parts: GatewayParts
  access: AccessSettings
  apps: AppDirectory
  positions: PositionReader
  waiters: WaiterCount
  pulse: Pulse
  keys: KeyRing
  rates: RateLimiter
  sockets: CallerSockets
  repeats: Repeats
}

/** One HTTP call, after its address was found. */
export interface Call {
  method: string
  address: Address
  headers: IncomingHttpHeaders
  raw: IncomingMessage
  response: ServerResponse
  caller: Caller
  /** The caller's. */
  account: string
}
