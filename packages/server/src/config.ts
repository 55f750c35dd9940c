import { channelMessageBytesMax } from "@tintype/protocol"
import type { IdempotencySettings } from "./domain/idempotency.ts"

/**
 * Every setting and every limit, with its default. `loadConfig` (config-load.ts) fills it from flags,
 * `TINTYPE_*`, `tintype.config.ts`, in this order. Units are in the names.
 */
export interface Config {
  /** Bind address. */
  host: string
  /** 0 picks a free port. */
  port: number
  /** Where TLS is ended for programs written for the hosted service; null: `port` + 1, a free one when `port` is 0. */
  tlsPort: number | "off" | null
  /** Data folder, or `:memory:`. */
  data: string
  /** Base of the URLs we write; null: the Host of each call. */
  publicUrl: string | null
  /** Proxies whose `X-Forwarded-*` are believed, as CIDR blocks. */
  trustProxy: string[]
  /** Origins beside loopback that a browser may call from. */
  allowedOrigins: string[]
  /** `id:secret` of the bootstrap admin key; null: open mode, on loopback only. */
  key: string | null
  log: "text" | "json"
  /** 0: the painter does not dawdle. */
  pace: number
  /** Modules whose default export is an app, beside the built-in ones; paths or package names. */
  apps: string[]
  runner: {
    /** Start a local runner. */
    local: boolean
    /** Attempts at a time; null: one a core. */
    slots: number | null
  }
  /**
   * What makes the pictures of the built-in apps or of single endpoints of theirs, by id: `{ engine: "diffusion", model, scheduler? }`
   * or `{ engine: "painter" }`. The catalogue reads and checks it, here at the start and in the local runner.
   */
  engines: Record<string, unknown>
  diffusion: Diffusion
  /** Private addresses may be fetched and called; null: only while bound to loopback. */
  allowPrivateTargets: boolean | null
  timing: Timing
  limits: Limits
  webhooks: Webhooks
  retention: Retention
  idempotency: Idempotency
}

/** How models are run by the local runner; null leaves it to the package, see docs/reference/diffusion.md. */
export interface Diffusion {
  provider: "cpu" | "cuda" | null
  /** Of one call of a network; another number may give other bytes. */
  threads: number | null
  /** A model that nobody asked for so long is unloaded. */
  unloadAfterMs: number | null
  /** Models in memory at a time. */
  modelsMax: number | null
  /** Folder for what is fetched from a hub. */
  cache: string | null
}

/** What is taken for a call that comes again; see `domain/idempotency.ts`. */
export interface Idempotency extends IdempotencySettings {
  /** Beginnings of the User-Agents that repeat a call, whatever it costs, when its answer did not come. */
  blindResenders: string[]
  keyLengthMax: number
  /** A keyed run whose callers are gone is cancelled when none of them came back for so long. */
  absenceMs: number
  /** Requests named in calls are told to the store at least so often, and so many are remembered. */
  nameEveryMs: number
  namedMax: number
}

/** How long what is over is kept, from its end. Zero sets no limit of its own. */
export interface Retention {
  /** A request and all that belongs to it; then its id is unknown. */
  requestMs: number
  /** Its input, if that is to go sooner. */
  inputMs: number
  /** Its result, if that is to go sooner: its status is still told. */
  resultMs: number
  /**
   * The result of a request that came with `X-Fal-Store-IO: 0`, and one of 10 KiB or more: as long as the hosted service keeps
   * it. The input of such a request goes at once.
   */
  unstoredResultMs: number
  unstoredLargeResultMs: number
  /** A file of which neither its request or upload nor its account says anything else; 0: for ever. */
  fileMs: number
  /** An upload that was begun and is not finished by then is given up; so long its URL can be used. */
  uploadMs: number
  /** What is past its time is looked for so often. */
  pruneEveryMs: number
  /** The store removes it in slices of at most so long and so many rows, with pauses for other writes between them. */
  sliceMs: number
  sliceRowsMax: number
  pauseMs: number
}

export interface Webhooks {
  /** How long a delivery's first try may take, and each later one. */
  firstTimeoutMs: number
  retryTimeoutMs: number
  /** After the first try; then the delivery is exhausted. */
  retriesMax: number
  /** Before the first retry; doubled before each later one, up to the maximum. */
  retryBaseMs: number
  retryDelayMaxMs: number
  /** Due deliveries that nobody was told of are looked for so often. */
  pollEveryMs: number
  /** Tries at a time: in all, to one origin, and to one whose every answer is a success and comes within `quickMs`. */
  triesMax: number
  triesPerOriginMax: number
  triesPerQuickOriginMax: number
  quickMs: number
  /** A larger output is not sent along: the receiver is told to fetch it. */
  payloadBytesMax: number
  /** Outputs in memory for the tries under way, together. */
  payloadBytesHeldMax: number
  /** Of an answer's body, what is kept for people to read. */
  answerBytesMax: number
}

export interface Timing {
  leaseMs: number
  resumeMs: number
  renewEveryMs: number
  orphanMs: number
  drainMs: number
  /** How long a starting server waits for a living runner before it starts one. */
  adoptMs: number
  /** An assign not accepted for so long means a broken link. */
  acceptMs: number
  /** A run request whose app has no runner for so long fails. */
  startupTimeoutMs: number
  /** Longest `Prefer: wait`. */
  waitMaxMs: number
  /** Events are persisted at least so often. */
  eventFlushMs: number
  /** Positions are asked from the store at most so often. */
  positionEveryMs: number
  /** Longer than the clients' pools keep a connection (5 s provokes resets). */
  keepAliveMs: number
  /** Comment line on an idle stream. */
  streamPingMs: number
  /** A caller who takes nothing of a stream for so long is gone. */
  streamStallMs: number
  /** How long a WebSocket may wait for a runner of its app to start; clients give up after 90 s. */
  channelOpenMs: number
  /** A caller's WebSocket is pinged so often, and dropped when nothing was heard since the ping before. */
  channelPingMs: number
  /** A caller that sends nothing for so long is told to connect again; 0: never. An app may say otherwise. */
  channelIdleMs: number
  /** A body may stand still for so long before its speed counts. */
  bodyGraceMs: number
  /** Backoff between the attempts of a request: from, to. */
  retryMinMs: number
  retryMaxMs: number
  /** Backoffs and start deadlines that nobody was told of are looked for at least so often. */
  dueEveryMs: number
  /** How long an app may take to end after it was told to; then its runner is replaced. */
  graceMs: number
  /** How long a runner that is being replaced may go on with its other attempts. */
  retireMs: number
  /** An app's answers (503, `x-fal-stop-runner`) have a runner replaced at most so often. */
  stopRunnerEveryMs: number
  /** An app that does not say works at most so long on an attempt. */
  requestTimeoutMs: number
  /** How often blobs that no row names are looked for, and how old they must be to be deleted. */
  sweepEveryMs: number
  orphanBlobMs: number
}

export interface Limits {
  /** Larger inputs get 413. */
  bodyBytesMax: number
  /** A sender slower than this is ended: its connection is held for nothing. */
  bodyBytesPerSecondMin: number
  /** Bodies up to here live in the row, larger ones in a blob. */
  inlineBytesMax: number
  /** Headers of an app's answer, together. */
  responseHeaderBytesMax: number
  /** Log lines of one request, together. */
  logBytesMax: number
  /** Committed snapshots kept in memory. */
  snapshotBytesMax: number
  /** Writes waiting for a commit. */
  batchOperationsMax: number
  batchBytesMax: number
  /** Frames of one link waiting for a commit. */
  linkPendingBytesMax: number
  /** Links of runners on other machines, in all and of one key. */
  linksMax: number
  linksPerKeyMax: number
  /** Channels, callers' realtime connections, on one runner at a time. */
  channelsPerRunnerMax: number
  /** Channels of one account; those of its tokens are among them. */
  channelsPerAccountMax: number
  /** One message of a caller; more than a frame of the link holds cannot travel. */
  channelMessageBytesMax: number
  /** Inputs of a channel that wait while the app works; beyond either, the oldest is dropped. An app or a caller may say less. */
  channelInputsMax: number
  channelInputBytesMax: number
  /** What all channels hold in memory together, and those of one account; beyond, inputs are dropped and answers wait. */
  channelBytesMax: number
  channelBytesPerAccountMax: number
  /** Answers that a caller has not read; beyond, it gets no further ones. */
  channelOutputBytesMax: number
  /** Waiters and status streams at a time. */
  waitersMax: number
  /** One output or uploaded file. */
  fileBytesMax: number
  /** Files of one account, together; over it nothing more is uploaded. 0: no limit. */
  storageBytesMax: number
  /** Uploads of one account that were begun and are not finished. */
  uploadsMax: number
  /** Media fetched from a URL the caller gave. */
  fetchBytesMax: number
  fetchTimeoutMs: number
  connectionsMax: number
  /** Requests of one account that run at a time; 0: no limit. A key may narrow this and the next one. */
  concurrencyMax: number
  /** Requests that one account may make a second, as many at once; 0: no limit. */
  requestsPerSecondMax: number
  /** Keys there may be, revoked ones included. */
  keysMax: number
  /** Apps and endpoints that one token opens, and how long. */
  tokenAppsMax: number
  tokenSecondsMax: number
}

const mebibyte = 1024 * 1024

export const defaultConfig: Config = {
  host: "127.0.0.1",
  port: 3250,
  tlsPort: null,
  data: ".tintype",
  publicUrl: null,
  trustProxy: [],
  allowedOrigins: [],
  key: null,
  log: "text",
  pace: 1,
  apps: [],
  runner: { local: true, slots: null },
  engines: {},
  diffusion: { provider: null, threads: null, unloadAfterMs: null, modelsMax: null, cache: null },
  allowPrivateTargets: null,
  timing: {
    leaseMs: 30_000,
    resumeMs: 30_000,
    renewEveryMs: 5_000,
    orphanMs: 600_000,
    drainMs: 30_000,
    adoptMs: 3_000,
    acceptMs: 5_000,
    startupTimeoutMs: 600_000,
    waitMaxMs: 60_000,
    eventFlushMs: 500,
    positionEveryMs: 100,
    keepAliveMs: 72_000,
    streamPingMs: 15_000,
    streamStallMs: 60_000,
    channelOpenMs: 85_000,
    channelPingMs: 20_000,
    channelIdleMs: 0,
    bodyGraceMs: 10_000,
    retryMinMs: 500,
    retryMaxMs: 30_000,
    dueEveryMs: 5_000,
    graceMs: 10_000,
    retireMs: 30_000,
    stopRunnerEveryMs: 30_000,
    requestTimeoutMs: 3_600_000,
    sweepEveryMs: 3_600_000,
    orphanBlobMs: 3_600_000,
  },
  limits: {
    bodyBytesMax: 100 * mebibyte,
    bodyBytesPerSecondMin: 1_024,
    inlineBytesMax: 32 * 1024,
    responseHeaderBytesMax: 16 * 1024,
    logBytesMax: mebibyte,
    snapshotBytesMax: 64 * mebibyte,
    batchOperationsMax: 20_000,
    batchBytesMax: 64 * mebibyte,
    linkPendingBytesMax: 8 * mebibyte,
    linksMax: 1_000,
    linksPerKeyMax: 100,
    channelsPerRunnerMax: 1_000,
    channelsPerAccountMax: 500,
    channelMessageBytesMax,
    channelInputsMax: 1_000,
    channelInputBytesMax: 32 * mebibyte,
    channelBytesMax: 512 * mebibyte,
    channelBytesPerAccountMax: 128 * mebibyte,
    channelOutputBytesMax: 4 * mebibyte,
    waitersMax: 20_000,
    fileBytesMax: 1024 * mebibyte,
    storageBytesMax: 0,
    uploadsMax: 10_000,
    fetchBytesMax: 64 * mebibyte,
    fetchTimeoutMs: 20_000,
    connectionsMax: 20_000,
    concurrencyMax: 0,
    requestsPerSecondMax: 0,
    keysMax: 10_000,
    tokenAppsMax: 50,
    tokenSecondsMax: 86_400,
  },
  webhooks: {
    firstTimeoutMs: 15_000,
    retryTimeoutMs: 120_000,
    retriesMax: 31,
    retryBaseMs: 2_000,
    retryDelayMaxMs: 3_600_000,
    pollEveryMs: 1_000,
    triesMax: 512,
    triesPerOriginMax: 8,
    triesPerQuickOriginMax: 64,
    quickMs: 100,
    payloadBytesMax: 4 * mebibyte,
    payloadBytesHeldMax: 64 * mebibyte,
    answerBytesMax: 1_024,
  },
  retention: {
    requestMs: 30 * 24 * 3_600_000,
    inputMs: 0,
    resultMs: 0,
    unstoredResultMs: 3_600_000,
    unstoredLargeResultMs: 360_000,
    fileMs: 0,
    uploadMs: 24 * 3_600_000,
    pruneEveryMs: 60_000,
    sliceMs: 5,
    sliceRowsMax: 200,
    pauseMs: 20,
  },
  idempotency: {
    keyTtlMs: 86_400_000,
    resendWindowMs: 45_000,
    detectLost: true,
    blindResenders: ["@fal-ai/client/", "@fal-ai/serverless-client/", "fal-client/"],
    keyLengthMax: 255,
    absenceMs: 30_000,
    nameEveryMs: 1_000,
    namedMax: 100_000,
  },
}
