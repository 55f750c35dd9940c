import { randomBytes } from "node:crypto"
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readFile,
  readdir,
  rm,
  stat,
  unlink,
  writeFile,
} from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { StartError } from "../start-error.ts"

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
  /** What tokens are signed with, alike. Another one would end those that are out there, which are for minutes. */
  tokenSecret: string
  release(): Promise<void>
}

/** A socket's address holds 108 bytes on Linux, 104 on macOS. */
const socketPathBytesMax = 100

/** Creates the folder when there is none, checks that only its owner can enter, and locks it. */
export async function openDataFolder(data: string): Promise<DataFolder> {
  const inMemory = data === ":memory:"
  const path = inMemory ? await mkdtemp(join(tmpdir(), "tintype-")) : resolve(data)
  const undo: (() => Promise<void> | void)[] = []
  const release = async () => {
    for (const step of undo.splice(0).toReversed()) await step()
  }
  if (inMemory) undo.push(() => rm(path, { recursive: true, force: true, maxRetries: 3 }))
  try {
    await makeFolder(path)
    await closeToOthers(path)
    undo.push(await lock(path))
    const { socketPath, removeSocket } = await placeSocket(path)
    undo.push(removeSocket)
    return {
      path,
      database: inMemory ? ":memory:" : join(path, "tintype.sqlite"),
      inMemory,
      socketPath,
      secret: await readSecret(join(path, "secret")),
      tokenSecret: await readSecret(join(path, "token-secret")),
      release,
    }
  } catch (cause) {
    await release()
    throw asUnusable(path, cause)
  }
}

/** What a person is told when the disk under the folder does not do what it is asked. */
export function asUnusable(path: string, cause: unknown): StartError {
  if (cause instanceof StartError) return cause
  const message = `The data folder ${path} cannot be used: ${reasonOf(cause)}`
  return new StartError("data_unusable", message, { cause })
}

/** Its name and those of the folders above that had to be made are flushed: what lies in it is lost with any of them. */
async function makeFolder(path: string): Promise<void> {
  const found = await stat(path).catch(() => null)
  if (found?.isDirectory() === true) return
  if (found !== null) throw new Error("it is a file")
  if (dirname(path) !== path) await makeFolder(dirname(path))
  // One at a time: where the system answers ENOENT in a folder that is there (/proc), the recursive form never ends.
  await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error
  })
  await using parent = await open(dirname(path), "r")
  await parent.sync()
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}

/** The folder alone would do; its files are repaired too, as a copy of them would keep their modes. */
async function closeToOthers(path: string): Promise<void> {
  await chmodToOwner(path, 0o700)
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isFile()) await chmodToOwner(join(path, entry.name), 0o600)
  }
}

async function chmodToOwner(path: string, mode: number): Promise<void> {
  const found = await lstat(path).catch(() => null)
  if (found !== null && (found.mode & 0o077) !== 0) await chmod(path, mode)
}

/** What SQLite says when another connection has the file. */
const sqliteBusy = 5

/**
 * SQLite's own file lock, held for life: the system lets go of it however the process ends, so that a crash leaves no
 * stale lock behind. Who holds it is written beside it, for the message only.
 */
async function lock(path: string): Promise<() => void> {
  const file = join(path, "lock.sqlite")
  const holderPath = join(path, "lock.json")
  const database = new DatabaseSync(file, { timeout: 0 })
  try {
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE")
  } catch (cause) {
    database.close()
    if ((cause as { errcode?: number }).errcode !== sqliteBusy) throw cause
    const message = `The data folder ${path} is in use by ${await holderOf(holderPath)}`
    throw new StartError("data_locked", message, { cause })
  }
  const holder = { pid: process.pid, startedAt: new Date().toISOString() }
  await chmodToOwner(file, 0o600)
  await writeFile(holderPath, JSON.stringify(holder), { mode: 0o600 })
  return () => database.close()
}

/** Its writer may just be writing it, or have died in the middle of it. */
async function holderOf(holderPath: string): Promise<string> {
  try {
    const found: unknown = JSON.parse(await readFile(holderPath, "utf8"))
    const { pid, startedAt } = found as { pid: number; startedAt: string }
    return `process ${pid}, started ${startedAt}`
  } catch {
    return "another process"
  }
}

async function placeSocket(
  path: string,
): Promise<{ socketPath: string; removeSocket: () => Promise<void> }> {
  const inside = join(path, "link.sock")
  if (Buffer.byteLength(inside) <= socketPathBytesMax) {
    await rm(inside, { force: true })
    return { socketPath: inside, removeSocket: () => unlink(inside).catch(() => {}) }
  }
  // The same folder at every start, so that a runner left behind by a crash finds its server again.
  const folder = await socketFolder(path)
  const socketPath = join(folder, "link.sock")
  await rm(socketPath, { force: true })
  return { socketPath, removeSocket: () => rm(folder, { recursive: true, force: true }) }
}

async function socketFolder(path: string): Promise<string> {
  const record = join(path, "socket-folder")
  const known = await readFile(record, "utf8").catch(() => null)
  if (known !== null && (await isOwnFolder(known))) return known
  const made = await mkdtemp(join(temporaryFolder(), "tintype-link-"))
  await writeFile(record, made, { mode: 0o600 })
  return made
}

/** The system's own, unless somebody has set one that is too long for the very purpose. */
function temporaryFolder(): string {
  return Buffer.byteLength(tmpdir()) <= socketPathBytesMax - 32 ? tmpdir() : "/tmp"
}

/** Made anew where a clean stop removed it. Anybody can write beside it, so what is there must be ours. */
async function isOwnFolder(path: string): Promise<boolean> {
  await mkdir(path, { mode: 0o700 }).catch(() => {})
  const found = await lstat(path).catch(() => null)
  return (
    found !== null &&
    found.isDirectory() &&
    found.uid === process.getuid?.() &&
    (found.mode & 0o077) === 0
  )
}

/** One that cannot be read is not replaced: runners and tokens know it. */
async function readSecret(file: string): Promise<string> {
  const known = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null
    throw error
  })
  if (known !== null && /^[0-9a-f]{64}$/.test(known)) return known
  const made = randomBytes(32).toString("hex")
  await writeFile(file, made, { mode: 0o600 })
  return made
}
