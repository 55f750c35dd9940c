import { parentPort, workerData } from "node:worker_threads"
import type { DatabaseSync } from "node:sqlite"
import type { Claim, SessionResumption } from "../../store.ts"
import { openWriter } from "./connection.ts"
import { Engine, type EngineOptions } from "./engine.ts"
import {
  type Applied,
  type EngineSettings,
  type FromEngine,
  type Operation,
  type OperationResult,
  Packer,
  toFailure,
  type ToEngine,
} from "./messages.ts"
import { Reader } from "./reads.ts"

/** The engine's thread: it owns the one connection that writes, and answers message by message. */

function say(message: FromEngine, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer)
}

function attempt(work: () => unknown): OperationResult {
  try {
    return { ok: true, value: work() }
  } catch (error) {
    return { ok: false, failure: toFailure(error) }
  }
}

/** What an operation's value gives to runners: bodies that are worth moving instead of copying. */
function claimsOf(operation: Operation, result: OperationResult): Claim[] {
  if (!result.ok) return []
  if (operation.name === "claim") return result.value as Claim[]
  if (operation.name === "openSession") return (result.value as SessionResumption).reassign
  return []
}

function sayApplied(operations: Operation[], applied: Applied): void {
  const packer = new Packer()
  const claims = applied.results.flatMap((result, index) => {
    const operation = operations[index]
    return operation === undefined ? [] : claimsOf(operation, result)
  })
  for (const claim of claims) packer.add(claim.input)
  const { buffer, replace } = packer.pack()
  for (const claim of claims) claim.input = replace(claim.input)
  say({ type: "applied", ...applied }, [buffer])
}

function serve(db: DatabaseSync, options: EngineOptions): void {
  const engine = new Engine(db, options)
  const reader = new Reader(db)

  function receive(message: ToEngine): void {
    switch (message.type) {
      case "batch":
        try {
          sayApplied(message.operations, engine.apply(message.operations, message.now))
        } catch (error) {
          say({ type: "fatal", failure: toFailure(error) })
          parentPort?.close()
        }
        return
      case "read": {
        const read = reader[message.name].bind(reader) as (...input: unknown[]) => unknown
        say({ type: "answer", id: message.id, result: attempt(() => read(...message.arguments)) })
        return
      }
      case "checkpoint":
        say({ type: "answer", id: message.id, result: attempt(() => engine.checkpoint()) })
        return
      case "close":
        engine.end()
        db.close()
        parentPort?.close()
    }
  }

  parentPort?.on("message", receive)
}

try {
  const settings = workerData as EngineSettings
  const { path, pagesMax, ...options } = settings
  serve(openWriter(path, pagesMax === null ? {} : { pagesMax }), options)
  say({ type: "opened" })
} catch (error) {
  say({ type: "refused", failure: toFailure(error) })
  parentPort?.close()
}
