import { execFile } from "node:child_process"
import { link, readFile, unlink, writeFile } from "node:fs/promises"

/**
 * Who a process is: its pid, and the time at which it started, because a pid alone is given again to strangers.
 * The identity file of the local runner is also its lock: only its creator hosts apps.
 */
export interface ProcessIdentity {
  pid: number
  /** Opaque; equal for the same process, different for any other that has or had its pid. */
  startedAt: string
  /** What code it runs; see `buildId`. */
  build: string
  /** The socket that it dials. */
  socket: string
}

/** The start time of a living process as the system tells it; null when there is none, or only its corpse. */
export async function processStartTime(pid: number): Promise<string | null> {
  if (!Number.isSafeInteger(pid) || pid <= 0) return null
  return process.platform === "linux" ? readProcStat(pid) : askPs(pid)
}

/** Does this very process live? */
export async function isAlive(identity: { pid: number; startedAt: string }): Promise<boolean> {
  return (await processStartTime(identity.pid)) === identity.startedAt
}

/** Sends the signal if, and only if, the process with that start time lives; false when it is gone. */
export async function signalProcess(
  identity: { pid: number; startedAt: string },
  signal: NodeJS.Signals,
): Promise<boolean> {
  if (!(await isAlive(identity))) return false
  try {
    process.kill(identity.pid, signal)
    return true
  } catch {
    return false
  }
}

/** Null when there is no file. Rejects when there is one that cannot be understood. */
export async function readIdentity(file: string): Promise<ProcessIdentity | null> {
  let text: string
  try {
    text = await readFile(file, "utf8")
  } catch (error) {
    if (isErrno(error, "ENOENT")) return null
    throw error
  }
  const { pid, startedAt, build, socket }: Partial<ProcessIdentity> = JSON.parse(text)
  if (typeof pid !== "number" || typeof startedAt !== "string") {
    throw new TypeError(`${file} does not name a process`)
  }
  return { pid, startedAt, build: String(build), socket: String(socket) }
}

/**
 * Creates the identity file, complete or not at all, mode 0600; false when there already is one. It is never
 * replaced here: two that both found a stale file would replace each other's. Only the server removes it.
 */
export async function createIdentity(file: string, identity: ProcessIdentity): Promise<boolean> {
  const draft = `${file}.${identity.pid}`
  await writeFile(draft, `${JSON.stringify(identity)}\n`, { mode: 0o600 })
  try {
    await link(draft, file)
    return true
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false
    throw error
  } finally {
    await unlink(draft)
  }
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code
}

let bootId: Promise<string> | null = null

/** Clock ticks since boot: unique for a pid only together with the boot they are counted from. */
async function readProcStat(pid: number): Promise<string | null> {
  bootId ??= readFile("/proc/sys/kernel/random/boot_id", "utf8").then(
    (text) => text.trim(),
    () => "boot",
  )
  let stat: string
  try {
    stat = await readFile(`/proc/${pid}/stat`, "latin1")
  } catch {
    return null
  }
  // The second field is the program's name in parentheses and may hold spaces and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  const [state, ticks] = [fields[0], fields[19]]
  // Z and X are dead: where nobody reaps, as in a container without init, a corpse keeps its line for ever.
  if (ticks === undefined || state === "Z" || state === "X") return null
  return `${await bootId}/${ticks}`
}

function askPs(pid: number): Promise<string | null> {
  return new Promise((resolve) => {
    const environment = { ...process.env, LC_ALL: "C", TZ: "UTC" }
    execFile(
      "ps",
      ["-o", "stat=,lstart=", "-p", String(pid)],
      { env: environment },
      (error, out) => {
        const [state, ...words] = out.trim().split(/\s+/)
        if (error !== null || state === undefined || state.startsWith("Z")) resolve(null)
        else resolve(words.join(" ") || null)
      },
    )
  })
}
