import type { Body, RequestRecord } from "../../domain/request.ts"
import type { IdempotencySettings } from "../../domain/idempotency.ts"
import type { RetryTiming } from "../../domain/retry.ts"
import { type Store, StoreError, type StoreReads } from "../../store.ts"
import { resultCode, resultCodes } from "./connection.ts"

/** What the shell and the engine's thread say to each other. */

export type ReadName = keyof StoreReads
export type WriteName = Exclude<keyof Store, ReadName | "close" | "checkpoint">

/** A call of one of the port's writes, as data. */
export type Operation = {
  [Name in WriteName]: { name: Name; arguments: Parameters<Store[Name]> }
}[WriteName]

/** What performs each write, in one thread and inside a transaction. */
export type Writers = {
  [Name in WriteName]: (...input: Parameters<Store[Name]>) => Awaited<ReturnType<Store[Name]>>
}

/** The port's reads, answered at once. */
export type SyncReads = {
  [Name in ReadName]: (
    ...input: Parameters<StoreReads[Name]>
  ) => Awaited<ReturnType<StoreReads[Name]>>
}

/** Errors cross threads as data: a structured clone would lose their class and code. */
export interface Failure {
  code: StoreError["code"] | null
  message: string
}

export type OperationResult = { ok: true; value: unknown } | { ok: false; failure: Failure }

/** What became of a batch: a result for each operation, and the changed records in commit order. */
export interface Applied {
  results: OperationResult[]
  changed: RequestRecord[]
  /** Apps in which requests may start that waited for another one to end; see `onFreed`. */
  freed: string[]
  /** Transactions that were flushed, since the engine was made. */
  commits: number
}

export type ToEngine =
  | { type: "batch"; now: number; operations: Operation[] }
  | { type: "read"; id: number; name: ReadName; arguments: unknown[] }
  | { type: "checkpoint"; id: number }
  | { type: "close" }

export type FromEngine =
  | { type: "opened" }
  | { type: "refused"; failure: Failure }
  | ({ type: "applied" } & Applied)
  | { type: "answer"; id: number; result: OperationResult }
  | { type: "fatal"; failure: Failure }

export interface EngineSettings {
  path: string
  pagesMax: number | null
  retry: RetryTiming
  /** Requests of one account that run at a time; 0: no limit. */
  concurrencyMax: number
  idempotency: IdempotencySettings
}

export function toFailure(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof StoreError) return { code: error.code, message }
  const code = resultCode(error)
  const isCorrupt = code === resultCodes.corrupt || code === resultCodes.notADatabase
  return { code: isCorrupt ? "corrupt" : null, message }
}

export function fromFailure(failure: Failure): Error {
  return failure.code === null
    ? new Error(failure.message)
    : new StoreError(failure.code, failure.message)
}

/** What an operation costs beside its payload: its row, its record, its place in the queue. */
const operationBytes = 512

/** Roughly what the operation holds in memory until it is committed. */
export function sizeOf(operation: Operation): number {
  switch (operation.name) {
    case "submit":
      return operationBytes + inlineBytes(operation.arguments[0].input)
    case "settle": {
      const { result } = operation.arguments[0]
      return operationBytes + (result.kind === "answered" ? inlineBytes(result.body) : 0)
    }
    case "appendEvents":
      return operation.arguments[0].reduce(
        (sum, batch) => sum + batch.events.reduce((bytes, event) => bytes + textBytes(event), 0),
        operationBytes,
      )
    default:
      return operationBytes
  }
}

function inlineBytes(body: Body): number {
  return "inline" in body ? body.inline.byteLength : 0
}

function textBytes(event: { kind: string; message?: string; data?: string }): number {
  return 100 + (event.message ?? event.data ?? "").length
}

/**
 * Moves the bytes of many bodies in one buffer. A structured clone of a view copies all of the buffer behind it, and
 * one transfer a body costs more than a small body itself; views on one transferred buffer cost neither.
 */
export class Packer {
  #bodies: Uint8Array[] = []
  #bytes = 0

  /** Call for every body first: the buffer is made once its size is known. */
  add(body: Body): void {
    if ("inline" in body) {
      this.#bodies.push(body.inline)
      this.#bytes += body.inline.byteLength
    }
  }

  /** The buffer to transfer, and what turns each added body into a view on it. */
  pack(): { buffer: ArrayBuffer; replace: (body: Body) => Body } {
    const buffer = new ArrayBuffer(this.#bytes)
    const views = new Map<Uint8Array, Uint8Array>()
    let offset = 0
    for (const bytes of this.#bodies) {
      const view = new Uint8Array(buffer, offset, bytes.byteLength)
      view.set(bytes)
      views.set(bytes, view)
      offset += bytes.byteLength
    }
    return {
      buffer,
      replace: (body) =>
        "inline" in body ? { inline: views.get(body.inline) ?? body.inline } : body,
    }
  }
}

/** The operations with their bodies moved into `buffer`; the callers' own arrays stay as they are. */
export function packOperations(operations: Operation[]): {
  operations: Operation[]
  buffer: ArrayBuffer
} {
  const packer = new Packer()
  for (const operation of operations) {
    if (operation.name === "submit") packer.add(operation.arguments[0].input)
    if (operation.name === "settle") {
      const { result } = operation.arguments[0]
      if (result.kind === "answered") packer.add(result.body)
    }
  }
  const { buffer, replace } = packer.pack()
  return { operations: operations.map((operation) => repack(operation, replace)), buffer }
}

function repack(operation: Operation, replace: (body: Body) => Body): Operation {
  if (operation.name === "submit") {
    const [request] = operation.arguments
    return { name: "submit", arguments: [{ ...request, input: replace(request.input) }] }
  }
  if (operation.name === "settle") {
    const [settlement] = operation.arguments
    const { result } = settlement
    if (result.kind !== "answered") return operation
    return {
      name: "settle",
      arguments: [{ ...settlement, result: { ...result, body: replace(result.body) } }],
    }
  }
  return operation
}
