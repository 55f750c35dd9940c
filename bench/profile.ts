import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { tintype } from "./contenders/tintype.ts"
import { type CpuProfile, monotonicMicroseconds, selfTimes, type Window } from "./cpu-profile.ts"
import type { Bench } from "./rows/row.ts"

/** Ignored by git; each run replaces the one before. */
const profileFolder = join(import.meta.dirname, "profiles")
const concurrency = 128
const functionsTold = 15

/**
 * Puts the product under the load of the row `jobs` and leaves a CPU profile of each thread of its server and of its runner.
 * What is printed of them is the time of the load alone, without start and warm-up.
 */
export async function profile(bench: Bench): Promise<void> {
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
  bench.say(`${Math.round(perSecond)} jobs a second at c=${concurrency} while it was profiled`)
  const server = running.pids[0]
  for (const name of readdirSync(profileFolder).toSorted()) {
    const parsed = JSON.parse(readFileSync(join(profileFolder, name), "utf8")) as CpuProfile
    const who = `${threadOf(name, server)}, ${join("bench/profiles", name)}`
    bench.say(`\n${[who, ...describe(parsed, window)].join("\n")}`)
  }
}

/** Node names a profile `CPU.<date>.<time>.<process>.<thread>.<number>.cpuprofile`. */
function threadOf(name: string, server: number | undefined): string {
  const [, , , pid, thread] = name.split(".")
  const who = Number(pid) === server ? "server" : "runner"
  return thread === "0" ? `${who}, main thread` : `${who}, thread ${thread}`
}

/** The largest of them, as shares of the time in which the thread was not idle. */
function describe(parsed: CpuProfile, window: Window): string[] {
  const all = selfTimes(parsed, window)
  const busy = all.filter(({ name }) => name !== "(idle)")
  const busyMs = busy.reduce((sum, { ms }) => sum + ms, 0)
  const totalMs = all.reduce((sum, { ms }) => sum + ms, 0)
  const share = (ms: number) => `${((ms / busyMs) * 100).toFixed(1).padStart(5)} %`
  return [
    `busy ${Math.round(busyMs)} ms of ${Math.round(totalMs)} ms`,
    ...busy.slice(0, functionsTold).map(({ name, ms }) => `${share(ms)}  ${name}`),
  ]
}
