import { closeSync, openSync, readSync, writeFileSync, writeSync } from "node:fs"
import { constants } from "node:os"

/** In the order of the shim's `enum kind`, which begins with none. */
export const callKinds = [
  "write",
  "fsync",
  "fdatasync",
  "rename",
  "open",
  "read",
  "truncate",
  "unlink",
  "mkdir",
] as const

export type CallKind = (typeof callKinds)[number]

export type FaultError = "EIO" | "ENOSPC"

/** The n-th call of a kind fails with an error, once. */
export interface Fault {
  kind: CallKind
  error: FaultError
  nth: number
}

/** What a full disk answers to. */
export const callsThatNeedSpace: readonly CallKind[] = [
  "write",
  "fsync",
  "fdatasync",
  "rename",
  "open",
  "truncate",
  "mkdir",
]

const controlBytes = 1_024
const pathOffset = 20

/** The file by which a running process with the shim (fail-nth.c) is told which call is to fail. */
export class FaultControl {
  readonly #path: string
  readonly #shim: string

  constructor(path: string, shim: string) {
    this.#path = path
    this.#shim = shim
    writeFileSync(path, Buffer.alloc(controlBytes))
  }

  /** The environment of a process whose files in the folder are watched. */
  env(folder: string): Record<string, string> {
    return { LD_PRELOAD: this.#shim, FAIL_FOLDER: folder, FAIL_CONTROL: this.#path }
  }

  arm({ kind, error, nth }: Fault): void {
    const bytes = Buffer.alloc(controlBytes)
    bytes.writeInt32LE(callKinds.indexOf(kind) + 1, 0)
    bytes.writeInt32LE(constants.errno[error], 4)
    bytes.writeInt32LE(nth, 8)
    this.#write(bytes)
  }

  /** The path that was hit; null when the scenario passed untouched. */
  disarm(): string | null {
    const bytes = this.#read()
    this.#write(Buffer.alloc(controlBytes))
    if (bytes.readInt32LE(12) === 0) return null
    const path = bytes.subarray(pathOffset)
    return path.subarray(0, path.indexOf(0)).toString()
  }

  /** Calls on watched files since it was armed. */
  seen(): number {
    return this.#read().readInt32LE(16)
  }

  #read(): Buffer {
    const bytes = Buffer.alloc(controlBytes)
    const file = openSync(this.#path, "r")
    readSync(file, bytes, 0, controlBytes, 0)
    closeSync(file)
    return bytes
  }

  #write(bytes: Buffer): void {
    const file = openSync(this.#path, "r+")
    writeSync(file, bytes, 0, controlBytes, 0)
    closeSync(file)
  }
}
