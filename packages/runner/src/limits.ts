import { linkChunkBytesMax, linkInlineBytesMax, linkUntakenBytesMax } from "@tintype/protocol"

const kibibyte = 1024
const mebibyte = 1024 * kibibyte

/** The runner's limits. Units are in the names. */
export const runnerLimits = {
  /** Unstored events of one attempt; at the limit events are dropped and counted. */
  eventBufferBytesMax: mebibyte,
  /** One log line; the rest of it is cut. */
  logLineBytesMax: 32 * kibibyte,
  /** The labels of one log line; larger ones are left out. */
  labelBytesMax: 4 * kibibyte,
  /** What `failed` says of its cause. */
  detailCharactersMax: 1_024,
  /** One chunk of a stream; a larger one is refused to the app. */
  chunkBytesMax: linkChunkBytesMax,
  /** Chunks of one attempt that its reader has not taken: above it, an app that awaits `emit` waits. */
  chunkWindowBytes: mebibyte,
  /** The same for an app that does not await: it is refused what goes beyond. */
  untakenBytesMax: linkUntakenBytesMax,
  /** A larger answer goes by transfer; the rest of the message is for its headers. */
  inlineAnswerBytesMax: linkInlineBytesMax,
  /** Headers of an answer, together. */
  answerHeaderBytesMax: 16 * kibibyte,
  /** No credit is granted while this much in outcomes waits for the gateway to settle them. */
  unsettledBytesMax: 256 * mebibyte,
  /** The same, in number, beyond the slots. */
  unsettledMax: 256,
  /** What `fetchMedia` reads when the app sets no limit. */
  mediaBytesMax: 64 * mebibyte,
  /** The runner's own log is put aside at start when it is larger. */
  logFileBytesMax: 10 * mebibyte,
}

/** The runner's times, in milliseconds. */
export interface RunnerTiming {
  /** Backoff of the dial: from, to. */
  redialMinMs: number
  redialMaxMs: number
  /** Before a dial after one that was refused. */
  refusedRedialMs: number
  /** The gateway pings every 5 s; silence for so long means a dead link. */
  silenceMs: number
  /** Without a link for so long, everything is given up; `welcome` may say otherwise. */
  orphanMs: number
  /** How long an aborted app may take before its outcome no longer counts. */
  graceMs: number
  /** How long a SIGTERM waits for running attempts. */
  drainMs: number
  /** Backoff of a transfer: from, to. */
  transferRetryMinMs: number
  transferRetryMaxMs: number
  /** How long `fetchMedia` may take when the app does not say. */
  mediaMs: number
  /** A transfer without progress for so long has failed. */
  transferIdleMs: number
}

export const runnerTiming: RunnerTiming = {
  redialMinMs: 50,
  redialMaxMs: 1_000,
  refusedRedialMs: 15_000,
  silenceMs: 15_000,
  orphanMs: 600_000,
  graceMs: 10_000,
  drainMs: 30_000,
  transferRetryMinMs: 100,
  transferRetryMaxMs: 2_000,
  mediaMs: 20_000,
  transferIdleMs: 30_000,
}
