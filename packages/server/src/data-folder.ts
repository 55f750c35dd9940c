import { randomBytes } from "node:crypto"
import { chmod, mkdir, mkdtemp, readFile, rm, stat, unlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { DatabaseSync } from "node:sqlite"

/** A start that cannot go on, for a reason that a person can act on. */
export class StartError extends Error {
  readonly code: "data_locked" | "data_unusable" | "port_taken" | "public_without_key" | "settings"

  constructor(code: StartError["code"], message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "StartError"
    this.code = code
  }
}

/**
 * The folder that holds everything durable: the database, blobs, the runner's socket, secret and identity. One process has it
 * at a time. With `:memory:` it is a temporary folder that goes with the process.
 */
export interface DataFolder {
  path: string
  /** What the store opens. */
  database: string
  inMemory: boolean
  /** The link's Unix socket. */
  socketPath: string
  /** Shared with the local runner; 256 random bits, hex. */
  secret: string
  release(): Promise<void>
}

/** A socket's address holds 108 bytes on Linux, 104 on macOS. */
const socketPathBytesMax = 100

/** Creates the folder when there is none, checks that only its owner can enter, and locks it. */
export async function openDataFolder(data: string): Promise<DataFolder> {
  const inMemory = data === ":memory:"
  const path = inMemory ? await mkdtemp(join(tmpdir(), "tintype-")) : resolve(data)
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    await closeToOthers(path)
  } catch (cause) {
    throw new StartError("data_unusable", `The data folder ${path} cannot be used: ${String(cause)}`)
  }
  const unlock = await lock(path)
  const { socketPath, removeSocket } = await placeSocket(path)
  return {
    path,
    database: inMemory ? ":memory:" : join(path, "tintype.sqlite"),
    inMemory,
    socketPath,
    secret: await readSecret(path),
    async release() {
      await removeSocket()
      unlock()
      if (inMemory) await rm(path, { recursive: true, force: true })
    },
  }
}

async function closeToOthers(path: string): Promise<void> {
  const { mode } = await stat(path)
  if ((mode & 0o077) !== 0) await chmod(path, 0o700)
}

/**
 * SQLite's own file lock, held for life: the system lets go of it however the process ends, so that a crash leaves no
 * stale lock behind. Who holds it is written beside it, for the message only.
 */
async function lock(path: string): Promise<() => void> {
  const holderPath = join(path, "lock.json")
  const database = new DatabaseSync(join(path, "lock.sqlite"), { timeout: 0 })
  try {
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE")
  } catch {
    database.close()
    const holder = await readFile(holderPath, "utf8").catch(() => "{}")
    const { pid, startedAt } = JSON.parse(holder) as { pid?: number; startedAt?: string }
    const who = pid === undefined ? "another process" : `process ${pid}, started ${startedAt}`
    throw new StartError("data_locked", `The data folder ${path} is in use by ${who}`)
  }
  const holder = { pid: process.pid, startedAt: new Date().toISOString() }
  await writeFile(holderPath, JSON.stringify(holder), { mode: 0o600 })
  return () => database.close()
}

async function placeSocket(
  path: string,
): Promise<{ socketPath: string; removeSocket(): Promise<void> }> {
  const inside = join(path, "link.sock")
  if (Buffer.byteLength(inside) <= socketPathBytesMax) {
    await unlink(inside).catch(() => {})
    return { socketPath: inside, removeSocket: () => unlink(inside).catch(() => {}) }
  }
  // The same folder at every start, so that a runner left behind by a crash finds its server again.
  const folder = await socketFolder(path)
  const socketPath = join(folder, "link.sock")
  await unlink(socketPath).catch(() => {})
  return { socketPath, removeSocket: () => rm(folder, { recursive: true, force: true }) }
}

async function socketFolder(path: string): Promise<string> {
  const record = join(path, "socket-folder")
  const known = await readFile(record, "utf8").catch(() => null)
  if (known !== null && (await isOwnFolder(known))) return known
  const made = await mkdtemp(join(tmpdir(), "tintype-link-"))
  await writeFile(record, made, { mode: 0o600 })
  return made
}

async function isOwnFolder(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null)
  return (
    found !== null &&
    found.isDirectory() &&
    found.uid === process.getuid?.() &&
    (found.mode & 0o077) === 0
  )
}

async function readSecret(path: string): Promise<string> {
  const file = join(path, "secret")
  const known = await readFile(file, "utf8").catch(() => null)
  if (known !== null && /^[0-9a-f]{64}$/.test(known)) return known
  const made = randomBytes(32).toString("hex")
  await writeFile(file, made, { mode: 0o600 })
  return made
}
