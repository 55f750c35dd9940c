import type { AttemptEvent, HeldAttempt, RequestState } from "@tintype/protocol"
import type { Delivery, DeliveryState, DeliveryTry, RetryPolicy } from "./domain/delivery.ts"
import type { BlobRef } from "./blob.ts"
import type { FileAccess, FileLifecycle } from "./domain/files/object-lifecycle.ts"
import type {
  AttemptResult,
  Body,
  CancelCause,
  CancelVerdict,
  RequestRecord,
} from "./domain/request.ts"
import type { ListedPart, UploadPart } from "./domain/files/upload.ts"

/** The shapes that go into the store and come out of it: rows, orders and pages of `store.ts`. */

export interface AppRow {
  id: string
  /** Full ids of its endpoints. */
  endpoints: string[]
  /** Of these, the ones that can be streamed; absent: none. */
  streams?: string[]
  /** By endpoint id: the OpenAPI document without what depends on the caller (servers). */
  openapi: Record<string, unknown>
  /** By endpoint id: display name, category …: what `GET /v1/models` tells. */
  metadata: Record<string, unknown>
  /** Who may call it; absent in the row of an older build, which counts as `private`. */
  auth?: AppAuth
  /** Whose it is; absent: `local`. */
  account?: string
  /** Where the app says otherwise than the configuration: how long an attempt may take, how long a run waits for a runner. */
  timeouts?: { requestMs?: number; startupMs?: number }
  /** By endpoint id: those that are served at `{endpoint}/realtime`, and where they say otherwise than the configuration. */
  realtime?: Record<string, RealtimeRow>
  revision: number
}

export interface RealtimeRow {
  /** Inputs that may wait. */
  inputsMax?: number
  /** A caller that sends nothing for so long is told to connect again. */
  idleMs?: number
  /** A caller keeps a slot of its runner from its first input on. */
  exclusive?: boolean
}

/** `private`: its account and admins. `shared`: any key. `public`: everyone. */
export type AppAuth = "private" | "shared" | "public"

/** `api` calls endpoints, `admin` also administers every account, `runner` only links. */
export type KeyScope = "api" | "admin" | "runner"

/** What a key narrows; null: only its account's limit counts. */
export interface KeyLimits {
  /** Its requests that run at a time. */
  concurrencyMax: number | null
  /** Requests it may make a second. */
  requestsPerSecondMax: number | null
  /** Of the body of one request. */
  bodyBytesMax: number | null
}

export interface NewKey {
  id: string
  /** SHA-256 of the secret, hex; the secret itself is never stored. */
  secretHash: string
  scope: KeyScope
  name: string
  account: string
  /** Of a runner key: ids of the apps that it may host, `owner/alias` or `owner/*`. */
  apps: string[]
  limits: KeyLimits
}

export interface KeyRow extends NewKey {
  createdAt: number
  revokedAt: number | null
  /** Up to a minute late. */
  lastUsedAt: number | null
  /** Rises with every change but a use; caches go by (id, version). */
  version: number
}

export interface ClaimOrder {
  session: string
  /** App ids to take from, first one first. */
  apps: string[]
  /** A fresh lease for each attempt that may be started. */
  leases: string[]
}

/** All that an `assign` needs. */
export interface Claim {
  request: RequestRecord
  input: Body
  headers: Record<string, string>
  fileBase: string
  /** Stored log lines of earlier attempts, messages and labels together. */
  logBytes: number
}

export interface Settlement {
  lease: string
  session: string
  result: AttemptResult
}

export type SettleResult = "settled" | "repeated" | "stale"

export interface Advance {
  /** The app of each request that may start again. */
  released: string[]
  /** How many were ended. */
  ended: number
}

export interface CancelOrder {
  id: string
  cause: CancelCause
}

export interface CancelResult {
  result: CancelVerdict | "unknown"
  request: RequestRecord | null
}

export interface SessionHello {
  session: string
  /** Whose it is: the key that opened its link; absent: no key's, it came by the data folder's socket. */
  key?: string | null
  runner: { pid: number; startedAt: string; build: string }
  apps: string[]
  held: HeldAttempt[]
  unacked: string[]
}

export interface SessionResumption {
  /** The session had ended, or is another key's: nothing of it is kept, and it never opens for this one. */
  expired: boolean
  keep: {
    lease: string
    /** The running request that it belongs to. */
    request: RequestRecord
    storedSeq: number
  }[]
  abandon: string[]
  /** Attempts of the session whose assign the runner never saw. */
  reassign: Claim[]
}

export interface SessionRow {
  session: string
  /** As in `SessionHello`. */
  key: string | null
  runner: { pid: number; startedAt: string; build: string }
  apps: string[]
  renewedAt: number
}

export interface EventBatch {
  lease: string
  events: AttemptEvent[]
}

export interface EventCursor {
  attempt: number
  seq: number
}

export interface StoredEvent {
  attempt: number
  /** `app` said it, or the `gateway` about the attempt. */
  source: "app" | "gateway"
  event: AttemptEvent
}

export interface FileRow extends FileAccess {
  /** What follows `/files/` in its URL. */
  name: string
  /** Its bytes, in order; one at least, and several of what came in parts. */
  blobs: BlobRef[]
  /** Of them all. */
  bytes: number
  contentType: string
  /** The request that made it; null for an upload. */
  request: string | null
  createdAt: number
}

/** A file that was announced and is not there yet. */
export interface UploadRow {
  /** The name that the file will have. */
  file: string
  account: string
  contentType: string
  /** It comes in parts. */
  multipart: boolean
  /** Of the whole file. */
  bytesMax: number
  /** Of the file. */
  lifecycle: FileLifecycle
  createdAt: number
  /** Then it is given up, and what came of it is removed. */
  expiresAt: number
}

export interface NewPart {
  file: string
  part: UploadPart
  /** Of its account's files and parts together; 0: no limit. */
  storageBytesMax: number
}

export type PartResult =
  /** `replaced`: the blob of an earlier try, which no row names any more. */
  { result: "added"; replaced: string | null } | { result: "unknown" } | { result: "too_large" }

export interface UploadEnd {
  file: string
  /** The whole file, or which parts it consists of. */
  content: { blob: BlobRef } | { parts: ListedPart[] }
  /** As in `NewPart`; parts were counted when they came. */
  storageBytesMax: number
}

export type UploadResult =
  | { result: "added"; file: FileRow }
  /** `objection`: a sentence for whoever listed the parts. */
  | { result: "refused"; objection: string }
  | { result: "unknown" }

export interface AccountStorage {
  /** Of its files, and of the parts of what is being uploaded. */
  bytes: number
  /** What holds for its new files where they say nothing themselves; null: what the configuration says. */
  settings: FileLifecycle
}

export interface DueOrder {
  /** Epoch milliseconds. */
  now: number
  limit: number
  perOrigin: number
  /** Origins to pass over: what is due there could not be sent, or is known, and would hide others. */
  except: string[]
}

export interface DueDelivery {
  delivery: Delivery
  /** Of the output that it carries. */
  payloadBytes: number
}

export interface RecordedTry {
  /** Of the delivery's request. */
  sequence: number
  /** From 1. */
  number: number
  made: DeliveryTry
  policy: Pick<RetryPolicy, "retriesMax" | "retryBaseMs" | "retryDelayMaxMs">
  /** From [0, 1): spreads the next retry. */
  random: number
}

export interface DeliveryPage {
  account: string
  /** Only those in this state. */
  state?: DeliveryState
  /** Only those of requests before this sequence: the last one of the page before. */
  before?: number
  limit: number
}

export interface RequestPage {
  account: string
  /** Only those in this state, of this endpoint, of this app. */
  state?: RequestState
  endpoint?: string
  app?: string
  /** Only those before this sequence: `next` of the page before. */
  before?: number
  limit: number
}

export interface FoundRequests {
  requests: RequestRecord[]
  /** `before` of the next page; null: there is none. */
  next: number | null
}
