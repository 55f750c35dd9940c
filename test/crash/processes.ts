import { readdir, readFile } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"

export interface FoundProcess {
  pid: number
  command: string
}

/** Living processes whose command line names the data folder, as `/proc` tells. */
export async function processesOf(data: string): Promise<FoundProcess[]> {
  const names = (await readdir("/proc")).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    names.map(async (name) => {
      const command = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "")
      return { pid: Number(name), command: command.replaceAll("\0", " ") }
    }),
  )
  // A corpse has an empty command line.
  return found.filter(({ pid, command }) => pid !== process.pid && command.includes(data))
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

/** Resident memory in bytes, by the kernel's own sums: `rss` counts shared pages fully, `pss` its share of them. */
export async function residentBytes(pid: number): Promise<{ rss: number; pss: number }> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8")
  const read = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1])
  return { rss: read("Rss") * 1_024, pss: read("Pss") * 1_024 }
}
