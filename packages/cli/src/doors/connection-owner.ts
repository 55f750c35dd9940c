import { readdir, readFile, readlink } from "node:fs/promises"

/** The program at the other end of a connection on this machine. */
export interface ConnectionOwner {
  pid: number
  /** Its command line. */
  command: string
}

export interface LocalConnection {
  /** The port that the program connects from, and the one that it connects to. */
  from: number
  to: number
  /** Any process that sees the network which the connection is in. */
  seenBy: number | "self"
}

const commandLengthMax = 200

/** Whose connection is it? Null where the system does not say: without /proc, or for processes of another user. */
export async function findConnectionOwner(
  connection: LocalConnection,
): Promise<ConnectionOwner | null> {
  const tables = ["tcp", "tcp6"].map((name) => `/proc/${connection.seenBy}/net/${name}`)
  for (const table of tables) {
    const inode = findInode(await readFile(table, "latin1").catch(() => ""), connection)
    if (inode !== null) return await findHolder(inode)
  }
  return null
}

/** Columns: slot, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode. */
export function findInode(
  table: string,
  { from, to }: Omit<LocalConnection, "seenBy">,
): string | null {
  for (const line of table.split("\n")) {
    const [, local = "", remote = "", , , , , , , inode] = line.trim().split(/\s+/)
    if (portOf(local) === from && portOf(remote) === to && inode !== "0") return inode ?? null
  }
  return null
}

function portOf(address: string): number {
  return Number.parseInt(address.split(":")[1] ?? "", 16)
}

async function findHolder(inode: string): Promise<ConnectionOwner | null> {
  const wanted = `socket:[${inode}]`
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name))
  // The youngest first: a program that was started later holds it, if its parent does as well.
  for (const pid of pids.toSorted((a, b) => Number(b) - Number(a))) {
    if (await holds(pid, wanted)) return { pid: Number(pid), command: await readCommand(pid) }
  }
  return null
}

async function holds(pid: string, wanted: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`
  for (const fd of await readdir(folder).catch(() => [])) {
    if ((await readlink(`${folder}/${fd}`).catch(() => "")) === wanted) return true
  }
  return false
}

async function readCommand(pid: string): Promise<string> {
  const text = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")
  return text.replace(/\0+$/, "").replaceAll("\0", " ").slice(0, commandLengthMax)
}
