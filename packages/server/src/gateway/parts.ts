import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http"
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
  /** A new UUID v4. */
  newId(): string
  health(): { ready: boolean; detail: object }
  log(entry: GatewayLogEntry): void
  /** Set while the server stops: open connections are told to close. */
  draining?: boolean
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
