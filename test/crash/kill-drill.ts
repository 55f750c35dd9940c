import { stat } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { spawnServerProcess, untilReady, type ServerProcess } from "../server-process.ts"
import { Load, type Submission } from "./load.ts"
import { withProbe } from "./probe-calls.ts"
import { countRunning } from "./request-rows.ts"
import { ResultWatch } from "./watch.ts"

/**
 * Kills a server with -9 again and again, always on the same data folder, while 16 connections submit.
 *
 * - `load`: between 0.2 and 2 s after the first acknowledgement of that life, with at least 20 acknowledged in it and
 *   one running at the kill
 * - `start`: between spawn and `listening`
 * - `checkpoint`: between `checkpoint_started` and `checkpoint_ended`, which SIGUSR2 asks for
 *
 * A kill that missed its window was a kill all the same, but it does not count as one of the planned.
 */
export type KillKind = "load" | "start" | "checkpoint"

export interface Kill {
  kind: KillKind
  /** Did it hit the window that its kind names? */
  counts: boolean
  /** Epoch milliseconds: the signal was sent after the first and the process was gone before the second. */
  from: number
  to: number
  detail: string
}

export interface DrillPlan {
  data: string
  kinds: KillKind[]
  random: () => number
  submitsPerSecond: number
  /** Called after each kill. */
  onKill: (kill: Kill) => void
}

export interface Drill {
  kills: Kill[]
  load: Load
  watch: ResultWatch
  /** The server that lives at the end. */
  last: ServerProcess
}

const killsMaxFactor = 2
const acknowledgedMin = 20

const settings = { env: { ...withProbe, TINTYPE_RUNNER_SLOTS: "64" } }

export async function runDrill(plan: DrillPlan): Promise<Drill> {
  const load = new Load({
    connections: 16,
    submitsPerSecond: plan.submitsPerSecond,
    next: (index) => submission(index, plan.random),
  })
  const watch = new ResultWatch(load.acknowledged)
  const killer = new Killer(plan, load, watch)
  await killer.measureStart()
  load.start()
  watch.start()
  try {
    const kills = await killAll(killer, plan)
    const last = await spawnServerProcess({ ...settings, data: plan.data }).listening
    return { kills, load, watch, last }
  } finally {
    await load.stop()
    await watch.stop()
  }
}

async function killAll(killer: Killer, plan: DrillPlan): Promise<Kill[]> {
  const missing = [...plan.kinds]
  const kills: Kill[] = []
  while (missing.length > 0) {
    if (kills.length >= plan.kinds.length * killsMaxFactor) {
      throw new Error(`${kills.length} kills, and still to come: ${missing.join(", ")}`)
    }
    const kind = missing.shift()!
    const kill = await killer.kill(kind)
    kills.push(kill)
    plan.onKill(kill)
    if (!kill.counts) missing.push(kind)
  }
  return kills
}

/** One in ten is a probe of 200 ms; one echo in fifty is large enough to be a blob. */
export function submission(index: number, random: () => number): Submission {
  if (random() < 0.1) {
    // No two are the same: an equal one would be taken for a submit that a kill had lost, sent again.
    return { endpoint: "test/probe", body: Buffer.from(`{"duration_ms":200,"index":${index}}`) }
  }
  const size = random() < 0.02 ? 40_000 : Math.floor(random() * 1_000)
  const padding = "padding å ✓ ".repeat(Math.ceil(size / 14))
  const body = `{"index": ${index}, "seed": 12345678901234567890, "padding": "${padding}"}`
  return { endpoint: "tintype/echo", body: Buffer.from(body) }
}

class Killer {
  readonly #plan: DrillPlan
  readonly #load: Load
  readonly #watch: ResultWatch
  #listeningMs = 0

  constructor(plan: DrillPlan, load: Load, watch: ResultWatch) {
    this.#plan = plan
    this.#load = load
    this.#watch = watch
  }

  /** A life before the first request: it leaves its runner behind, and its start is the measure of others. */
  async measureStart(): Promise<void> {
    const server = await this.#spawn().listening
    await untilReady(server.url)
    this.#listeningMs = server.listeningMs
    await server.kill("SIGKILL")
  }

  async kill(kind: KillKind): Promise<Kill> {
    if (kind === "start") return await this.#killAtStart()
    const server = await this.#spawn().listening
    const acknowledgedBefore = this.#load.acknowledged.length
    this.#load.aim(server.url)
    this.#watch.aim(server.url)
    await this.#load.untilAcknowledged(acknowledgedBefore + 1)
    return kind === "load"
      ? await this.#killUnderLoad(server, acknowledgedBefore)
      : await this.#killAtCheckpoint(server)
  }

  async #killUnderLoad(server: ServerProcess, acknowledgedBefore: number): Promise<Kill> {
    const delayMs = 200 + this.#plan.random() * 1_800
    const enough = this.#load.untilAcknowledged(acknowledgedBefore + acknowledgedMin)
    await Promise.all([sleep(delayMs), enough])
    const acknowledged = this.#load.acknowledged.length - acknowledgedBefore
    const { from, to } = await this.#strike(server)
    const running = countRunning(this.#plan.data)
    const detail = `${Math.round(delayMs)} ms, ${acknowledged} acknowledged, ${running} running`
    return { kind: "load", counts: running > 0, from, to, detail }
  }

  async #killAtCheckpoint(server: ServerProcess): Promise<Kill> {
    // The first one is left in peace, to know how long they take here.
    await sleep(300)
    const startedAt = await this.#askCheckpoint(server)
    await server.logged((entry) => entry["event"] === "checkpoint_ended")
    const usualMs = performance.now() - startedAt
    await sleep(300 + this.#plan.random() * 300)
    const askedAt = Date.now()
    const delayMs = this.#plan.random() * usualMs
    const until = (await this.#askCheckpoint(server)) + delayMs
    // A timer's resolution is too coarse for what takes a few milliseconds.
    while (performance.now() < until);
    const { from, to } = await this.#strike(server)
    const ended = server.log.filter((entry) => entry["event"] === "checkpoint_ended").length > 1
    const { mtimeMs } = await stat(join(this.#plan.data, "tintype.sqlite"))
    // The kernel's clock of files ticks every few milliseconds.
    const written = mtimeMs >= askedAt - 10
    const detail =
      `${delayMs.toFixed(1)} ms after its start (they take ${usualMs.toFixed(0)} ms), ` +
      `pages ${written ? "" : "not "}written`
    return { kind: "checkpoint", counts: !ended, from, to, detail }
  }

  /** The moment at which it said that it starts. */
  async #askCheckpoint(server: ServerProcess): Promise<number> {
    const before = server.log.length
    server.child.kill("SIGUSR2")
    await server.logged(
      (entry) => entry["event"] === "checkpoint_started" && server.log.indexOf(entry) >= before,
    )
    return performance.now()
  }

  async #killAtStart(): Promise<Kill> {
    const spawned = this.#spawn()
    const delayMs = this.#plan.random() * this.#listeningMs
    await sleep(delayMs)
    const from = Date.now()
    spawned.child.kill("SIGKILL")
    await spawned.closed
    const listened = spawned.log.some((entry) => entry["event"] === "listening")
    const detail = `${Math.round(delayMs)} ms after spawn`
    return { kind: "start", counts: !listened, from, to: Date.now(), detail }
  }

  async #strike(server: ServerProcess): Promise<{ from: number; to: number }> {
    const { exitCode } = server.child
    if (exitCode !== null) {
      throw new Error(`The server exited with ${exitCode}:\n${server.stderr.join("\n")}`)
    }
    const from = Date.now()
    await server.kill("SIGKILL")
    this.#load.aim(null)
    this.#watch.aim(null)
    return { from, to: Date.now() }
  }

  #spawn() {
    return spawnServerProcess({ ...settings, data: this.#plan.data })
  }
}
