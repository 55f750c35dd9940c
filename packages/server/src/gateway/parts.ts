import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import type { WebhookKey } from "@tintype/protocol"
import type { BlobStore } from "../blob.ts"
import type { Config } from "../config.ts"
import type { Hints } from "../hints.ts"
import type { EventFeed, Snapshots } from "../snapshots.ts"
import type { Store } from "../store.ts"
import type { Address } from "./address.ts"
import type { Caller } from "./access/caller.ts"
import type { KeyRing } from "./access/key-ring.ts"
import type { RateLimiter } from "./access/rate-limit.ts"
import type { AppDirectory } from "./app-directory.ts"
import type { Repeats } from "./idempotency/repeats.ts"
import type { AccessSettings } from "./open-mode.ts"
import type { PositionReader, WaiterCount } from "./position-reader.ts"

/** What the gateway is made of; `main.ts` brings it. */
export interface GatewayParts {
  config: Config
  store: Store
  blobs: BlobStore
  snapshots: Snapshots
  events: EventFeed
  hints: Hints
  /** What receivers verify webhooks by. */
  webhookKeys: WebhookKey[]
  /** Of the data folder; administers. */
  localSecret: string
  /** Null: runners of other machines are not served. */
  runners: RunnerDoor | null
  /** A new UUID. */
  newId(): string
  /** Epoch milliseconds. */
  now(): number
  health(): { ready: boolean; detail: object }
  log(entry: GatewayLogEntry): void
  /** Set while the server stops: open connections are told to close. */
  draining?: boolean
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
  keys: KeyRing
  rates: RateLimiter
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
