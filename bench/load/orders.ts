import type { Target } from "./target.ts"

/** What the load's process can be told to do, and what it answers. */

export interface LoadOrders {
  /** Submits and waits for the result, over and over, on so many connections. */
  jobs(order: {
    target: Target
    concurrency: number
    seconds: number
    /** What is acknowledged is remembered under this name. */
    batch: string
  }): Promise<JobFigures>
  /** Asks for the result of everything that was acknowledged in a batch, and forgets the batch. */
  count(order: { target: Target; batch: string }): Promise<StoredCount>
  /** Makes so many jobs, one after another on each connection, and answers their ids when all have their results. */
  prepare(order: { target: Target; count: number }): Promise<{ ids: string[] }>
  /** GETs these paths over and over; an answer may not change from one time to the next. */
  polls(order: {
    port: number
    paths: string[]
    /** Text that each answer must have so many times. */
    holds: { text: string; times: number }
    concurrency: number
    seconds: number
    /** Submits that go on beside it, on connections of their own. */
    submits: { target: Target; perSecond: number } | null
  }): Promise<PollFigures>
  /** One POST after another on so many connections, answered with its own body. */
  calls(order: {
    port: number
    path: string
    concurrency: number
    seconds: number
  }): Promise<JobFigures>
  /** One POST after another that is answered as soon as it is taken; whatever becomes of it. */
  submits(order: { target: Target; seconds: number }): Promise<JobFigures>
  /** Submits so many and answers their ids, whatever becomes of them. */
  queue(order: { target: Target; count: number }): Promise<{ ids: string[] }>
  /** Reads one event stream after another; each has two events, the last one the call's own input. */
  streams(order: {
    port: number
    path: string
    count: number
  }): Promise<{ firstP50Ms: number; lastP50Ms: number }>
  /** Sends so many messages on one WebSocket, each when the one before was answered with itself. */
  turns(order: {
    port: number
    path: string
    count: number
  }): Promise<{ p50Ms: number; p99Ms: number }>
  /** Opens so many event streams, of these paths by turns, and leaves them open. */
  hold(order: { port: number; paths: string[]; count: number }): Promise<{ open: number }>
  /** Closes what `hold` left open. */
  release(order: object): Promise<object>
  /** Sends a file of so many bytes, made anew, over and over. */
  uploads(order: TransferOrder & { flushes: string | null }): Promise<TransferFigures>
  /** Reads such a file over and over. */
  downloads(order: TransferOrder): Promise<TransferFigures>
  /** Submits to an app that answers with the moment of its start, one at a time. */
  pickups(order: { target: Target; count: number }): Promise<PickupFigures>
}

export interface JobFigures {
  jobs: number
  perSecond: number
  p50Ms: number
  p99Ms: number
  /** Processor time that the load itself took. */
  cpuMs: number
}

export interface PollFigures extends JobFigures {
  /** Of the submits beside it; null without them. */
  submitsPerSecond: number | null
}

export interface StoredCount {
  acknowledged: number
  /** Whose result is there and right. */
  found: number
}

export interface TransferOrder {
  port: number
  method: "GET" | "POST" | "PUT"
  path: string
  bytes: number
  count: number
}

export interface TransferFigures {
  /** Megabytes a second of each transfer. */
  perSecond: number[]
  /** Body of the last answer to an upload. */
  answer: string
}

/** Milliseconds, one a job. */
export interface PickupFigures {
  /** From the submit's first byte, which is before its commit, to the app's first line. */
  fromSubmit: number[]
  /** From the answer to the submit, which is after its commit, to the app's first line. */
  fromAnswer: number[]
}

export type LoadOrderName = keyof LoadOrders

export interface OrderMessage {
  number: number
  name: LoadOrderName
  order: unknown
}

export type ReplyMessage = { number: number } & ({ figures: unknown } | { error: string })
