import type { Target } from "../load/target.ts"
import type { Processes } from "../processes.ts"

/** One who takes part: the product, the product with nothing behind it, or a peer. */
export interface Contender {
  name: ContenderName
  /** What it is and how it is set up, for the report. */
  about: string
  /** The page that recommends the set-up; null for our own. */
  page: string | null
  /** It keeps what it acknowledges, so that it can be asked for after a restart. */
  stores: boolean
  /** What is missing here to run it, and how to get it; null: nothing. */
  missing(): string | null
  /** Starts all of it upon what the folder holds; resolves when it takes jobs. */
  start(place: Place): Promise<Running>
}

export type ContenderName =
  | "tintype"
  | "bare"
  | "BullMQ, appendfsync always"
  | "BullMQ, no persistence"
  | "graphile-worker"
  | "pg-boss"

export interface Place {
  processes: Processes
  /** Its own; empty at its first start. */
  folder: string
  /** Flags of Node for the product's server. */
  nodeFlags?: string[]
  /** Flags of the product. */
  flags?: string[]
  /** What its server's environment has beside. */
  env?: Record<string, string>
  /** False: without a runner, so that what is submitted stays queued. */
  runner?: boolean
}

export interface Running {
  target: Target
  /** Their processor time, and that of all below them, is what it costs. */
  pids: number[]
  /** From the spawn of its server to the first answer. */
  listeningMs: number
  /** Ends it as a crash would: what was not flushed is lost. */
  crash(): Promise<void>
  /** Ends it in good order. */
  stop(): Promise<void>
}

/** Work at a time, for all whose pages do not recommend another number. */
export const workerConcurrency = 64
