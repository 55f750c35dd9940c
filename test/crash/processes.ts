import { execFile } from "node:child_process"
import { readdir, readFile } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"

export interface FoundProcess {
  pid: number
  command: string
}

/** Living processes whose command line names the data folder. */
export async function processesOf(data: string): Promise<FoundProcess[]> {
  const all = process.platform === "linux" ? await readProc() : await askPs()
  return all.filter(({ pid, command }) => pid !== process.pid && command.includes(data))
}

/** A corpse has an empty command line. */
async function readProc(): Promise<FoundProcess[]> {
  const names = (await readdir("/proc")).filter((name) => /^\d+$/.test(name))
  return await Promise.all(
    names.map(async (name) => {
      const command = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "")
      return { pid: Number(name), command: command.replaceAll("\0", " ") }
    }),
  )
}

async function askPs(): Promise<FoundProcess[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-ww", "-o", "pid=,args="])
  return stdout.split("\n").map((line) => {
    const [, pid, command] = /^ *(\d+) (.*)$/.exec(line) ?? []
    return { pid: Number(pid), command: command ?? "" }
  })
}

/** Those of them that are runners. */
export async function runnersOf(data: string): Promise<FoundProcess[]> {
  return (await processesOf(data)).filter(({ command }) => command.includes("--identity"))
}

/** The pid in the identity file of a runner; which file that is, its own command line says. */
export async function identityPidOf({ command }: FoundProcess): Promise<number | null> {
  const path = /--identity (\S+)/.exec(command)?.[1]
  if (path === undefined) return null
  const { pid } = JSON.parse(await readFile(path, "utf8")) as { pid?: number }
  return pid ?? null
}

/** Kills what a failed test left behind; only what serves this very data folder. */
export async function killProcessesOf(data: string): Promise<void> {
  for (const { pid } of await processesOf(data)) {
    try {
      process.kill(pid, "SIGKILL")
    } catch {
      // It ended meanwhile.
    }
  }
  await untilNoProcessOf(data, 5_000)
}

export async function untilNoProcessOf(data: string, deadlineMs: number): Promise<void> {
  const end = performance.now() + deadlineMs
  while ((await processesOf(data)).length > 0) {
    if (performance.now() > end) throw new Error(`processes of ${data} will not end`)
    await sleep(20)
  }
}

/** Resident memory of processes in bytes, as Linux counts it. */
export interface ResidentMemory {
  /** Of each; what they share is in all of them. */
  rss: number[]
  /** All together, the pages of a file that several have mapped counted once. */
  together: number
}

export async function residentMemory(pids: number[]): Promise<ResidentMemory> {
  const files = new Map<string, number>()
  let anonymous = 0
  const rss: number[] = []
  for (const pid of pids) {
    const own = new Map<string, number>()
    let total = 0
    for (const mapping of await readMappings(pid)) {
      total += mapping.rss
      anonymous += mapping.anonymous
      const shared = mapping.rss - mapping.anonymous
      own.set(mapping.file, (own.get(mapping.file) ?? 0) + shared)
    }
    rss.push(total)
    // Which pages of a file two processes have in common is not told; they are the same program.
    for (const [file, bytes] of own) files.set(file, Math.max(files.get(file) ?? 0, bytes))
  }
  return { rss, together: [...files.values()].reduce((sum, bytes) => sum + bytes, anonymous) }
}

async function readMappings(
  pid: number,
): Promise<{ file: string; rss: number; anonymous: number }[]> {
  const text = await readFile(`/proc/${pid}/smaps`, "utf8")
  return text.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m).map((mapping) => {
    const read = (name: string) =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(mapping)?.[1] ?? 0) * 1_024
    const file = /^\S+ \S+ \S+ \S+ \S+ *(.*)$/m.exec(mapping)?.[1] ?? ""
    return { file, rss: read("Rss"), anonymous: read("Anonymous") }
  })
}
