import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { tintype } from "./contenders/tintype.ts"
import { type CpuProfile, monotonicMicroseconds, selfTimes, type Window } from "./cpu-profile.ts"
import type { Bench } from "./rows/row.ts"

/** Ignored by git; each run replaces the one before. */
const profileFolder = join(import.meta.dirname, "profiles")
const concurrency = 128

/** What the product spent the time of the load on, start and warm-up left out. */
export interface Profiled {
  concurrency: number
  perSecond: number
  threads: ProfiledThread[]
}

export interface ProfiledThread {
  name: string
  /** From the root of the project. */
  file: string
  busyMs: number
  totalMs: number
  /** Dearest first; shares of the time in which the thread was not idle. */
  costs: { name: string; share: number }[]
}

/**
 * Puts the product under the load of the row `jobs` and leaves a CPU profile of each thread of its server and of its runner
 * in `bench/profiles`.
 */
export async function profile(bench: Bench): Promise<Profiled> {
  const { load, processes, settings } = bench
  rmSync(profileFolder, { recursive: true, force: true })
  mkdirSync(profileFolder)
  const folder = await bench.makeFolder("profile")
  const nodeFlags = ["--cpu-prof", `--cpu-prof-dir=${profileFolder}`]
  const running = await tintype.start({ processes, folder, nodeFlags })
  const order = { target: running.target, concurrency, batch: "profile" }
  await load.order("jobs", { ...order, seconds: settings.warmupSeconds })
  const from = monotonicMicroseconds()
  const { perSecond } = await load.order("jobs", { ...order, seconds: settings.seconds })
  const window = { from, to: monotonicMicroseconds() }
  // A profile is written by a process that ends of its own accord.
  await running.stop()
  const server = running.pids[0]
  const threads = readdirSync(profileFolder)
    .toSorted()
    .map((name) => readThread(name, threadOf(name, server), window))
    .filter(({ busyMs }) => busyMs > 0)
  return { concurrency, perSecond, threads }
}

/** Node names a profile `CPU.<date>.<time>.<process>.<thread>.<number>.cpuprofile`. */
function threadOf(name: string, server: number | undefined): string {
  const [, , , pid, thread] = name.split(".")
  const who = Number(pid) === server ? "server" : "runner"
  return thread === "0" ? `${who}, main thread` : `${who}, thread ${thread}`
}

function readThread(name: string, thread: string, window: Window): ProfiledThread {
  const parsed = JSON.parse(readFileSync(join(profileFolder, name), "utf8")) as CpuProfile
  const all = selfTimes(parsed, window)
  const busy = all.filter((one) => one.name !== "(idle)")
  const sum = (times: typeof all) => times.reduce((total, { ms }) => total + ms, 0)
  const busyMs = sum(busy)
  const costs = busy.map((one) => ({ name: one.name, share: one.ms / busyMs }))
  return { name: thread, file: join("bench/profiles", name), busyMs, totalMs: sum(all), costs }
}

/** For the person who asked for the profiles. */
export function formatProfiled(profiled: Profiled, costsTold: number): string {
  const { perSecond, threads } = profiled
  const head = `${Math.round(perSecond)} jobs a second at c=${profiled.concurrency} while it was profiled`
  const parts = threads.map(({ name, file, busyMs, totalMs, costs }) =>
    [
      `${name}, ${file}`,
      `busy ${Math.round(busyMs)} ms of ${Math.round(totalMs)} ms`,
      ...costs.slice(0, costsTold).map((cost) => `${formatShare(cost.share)}  ${cost.name}`),
    ].join("\n"),
  )
  return [head, ...parts].join("\n\n")
}

export function formatShare(share: number): string {
  return `${(share * 100).toFixed(1).padStart(5)} %`
}
