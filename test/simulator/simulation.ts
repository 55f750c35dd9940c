import type { NewRequest } from "../../packages/server/src/domain/request.ts"
import { copyOf } from "./callers.ts"
import { type ProcessClock, SimulatedClock } from "./clock.ts"
import { SimulatedDisk } from "./disk.ts"
import type { Plant } from "./engine-store.ts"
import { Ledger } from "./invariants.ts"
import { Random } from "./random.ts"
import { makeSchedule, type RunnerPlan, type Schedule, type Step } from "./schedule.ts"
import { SimulatedRunner } from "./simulated-runner.ts"
import { SimulatedServer } from "./simulated-server.ts"
import { Violation } from "./violation.ts"

export interface SimulationOptions {
  seed: number
  plant?: Plant | null
  /** Told all that happens, line by line. */
  trace?: (line: string) => void
}

export interface SimulationResult {
  seed: number
  /** Of simulated time. */
  elapsedMs: number
  happenings: number
  violation: Error | null
}

/** Healed, everything comes to its end within so much simulated time. */
const restMaxMs = 120_000
/** A free slot and something to start, side by side, for longer than this is a lost wake-up. */
const idleMaxMs = 3_000
const lookEveryMs = 500
/** A caller who waits for its answer for so long sends again, and again, so many times. */
const patienceMaxMs = 400
const copiesMax = 9

/** Runs the schedule of a seed to its end or to the first broken promise. */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  return await new World(options).run()
}

/** One schedule at a time runs in a thread. */
const disk = new SimulatedDisk()

/** A platform, its callers and its disasters. */
class World {
  readonly #seed: number
  readonly #plant: Plant | null
  readonly #trace: ((line: string) => void) | null
  readonly #random: Random
  readonly #schedule: Schedule
  readonly #clock = new SimulatedClock()
  readonly #world: ProcessClock
  readonly #ledger: Ledger
  readonly #runners: (SimulatedRunner | null)[]
  readonly #idleSince = new Map<string, number>()
  #server: SimulatedServer | null = null
  #pids = 100
  #fullUntilMs = 0
  #violation: Error | null = null
  #isOver = false

  constructor({ seed, plant, trace }: SimulationOptions) {
    this.#seed = seed
    this.#plant = plant ?? null
    this.#trace = trace ?? null
    this.#random = new Random(seed)
    this.#schedule = makeSchedule(this.#random.fork())
    this.#ledger = new Ledger(this.#schedule.concurrencyMax)
    this.#world = this.#clock.process()
    disk.clear()
    this.#runners = this.#schedule.runners.map(() => null)
  }

  async run(): Promise<SimulationResult> {
    this.#startServer()
    const { runners, steps, healMs } = this.#schedule
    for (const [index, plan] of runners.entries()) {
      this.#at(plan.startMs, () => this.#startRunner(index, plan))
    }
    for (const step of steps) this.#at(step.atMs, () => this.#take(step))
    this.#at(healMs, () => this.#heal())
    this.#world.setInterval(() => this.#look(), lookEveryMs)
    let happenings = 0
    try {
      while (!this.#isOver && this.#violation === null && this.#clock.next()) {
        happenings += 1
        // Whatever was promised is done before the next thing happens.
        await new Promise((resolve) => setImmediate(resolve))
      }
    } catch (error) {
      this.#fail(error)
    }
    const { nowMs: elapsedMs } = this.#clock
    return { seed: this.#seed, elapsedMs, happenings, violation: this.#violation }
  }

  #at(atMs: number, run: () => void): void {
    this.#world.setTimeout(run, atMs - this.#clock.nowMs)
  }

  #say(line: string): void {
    this.#trace?.(`${this.#clock.nowMs.toFixed(3)} ${line}`)
  }

  #fail(error: unknown): void {
    this.#violation ??= error instanceof Error ? error : new Error(String(error))
    this.#say(`! ${String(error)}`)
  }

  #watchOver(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#fail(error))
  }

  #startServer(): void {
    const server = new SimulatedServer({
      db: disk.db,
      clock: this.#clock.process(),
      random: this.#random.fork(),
      ledger: this.#ledger,
      plant: this.#plant,
      concurrencyMax: this.#schedule.concurrencyMax,
      trace: (line) => this.#say(line),
      fail: (error) => this.#fail(error),
      refused: (reason) => this.#fail(new Violation("the gateway accepts a true runner", reason)),
    })
    this.#server = server
    this.#watchOver(
      server.start().then((isUp) => {
        this.#say(isUp ? "server up" : "server cannot start")
        if (!isUp) this.#at(this.#clock.nowMs + 500, () => this.#startServer())
      }),
    )
  }

  #startRunner(index: number, plan: RunnerPlan): void {
    if (this.#runners[index]?.clock.ended === false) return
    this.#pids += 1
    const pid = this.#pids
    const runner = new SimulatedRunner({
      clock: this.#clock.process(),
      random: this.#random.fork(),
      pid,
      slots: plan.slots,
      apps: plan.apps,
      dial: (one) => this.#server?.dial(one) ?? null,
      onWrong: (what) => this.#fail(new Violation("the gateway keeps to the protocol", what)),
      onOutcome: (lease, events) => this.#ledger.logs.said(lease, events),
      onSettled: (lease, result) => {
        this.#say(`runner ${pid} ${result} ${lease.slice(0, 8)}`)
        this.#ledger.runnerTold(lease, result)
      },
      onExit: () => this.#endRunner(index, 200),
    })
    this.#runners[index] = runner
    this.#say(`runner ${pid} starts`)
    runner.start()
  }

  #endRunner(index: number, backInMs: number): void {
    const plan = this.#schedule.runners[index]!
    const runner = this.#runners[index]
    if (runner?.clock.ended !== false) return
    this.#say(`runner ${runner.pid} ends`)
    runner.kill()
    this.#at(this.#clock.nowMs + backInMs, () => this.#startRunner(index, plan))
  }

  #take(step: Step): void {
    this.#say(describe(step))
    const server = this.#server
    switch (step.kind) {
      case "submit":
      case "cancel":
      case "follow":
        if (server?.isUp === true) this.#call(server, step)
        return
      case "count":
        if (server !== null) this.#ledger.checkQueue(server.store.reader)
        return
      case "crash":
      case "stop":
      case "stall":
        return this.#hitServer(step)
      case "fill": {
        this.#fullUntilMs = Math.max(this.#fullUntilMs, this.#clock.nowMs + step.forMs)
        disk.fillUp()
        this.#at(this.#fullUntilMs, () => this.#empty())
        return
      }
      case "pause":
      case "kill":
      case "cut":
      case "swallow":
        return this.#hitRunner(step)
    }
  }

  #call(
    server: SimulatedServer,
    step: Extract<Step, { kind: "submit" | "cancel" | "follow" }>,
  ): void {
    if (step.kind === "submit" && step.request.door === "queue") {
      this.#sendAgainLater(server, step.request, 1)
    }
    // It reaches the server when that process runs.
    server.clock.setImmediate(() => {
      if (!server.isUp) return
      if (step.kind === "cancel") this.#watchOver(server.cancel(step.request, "client_cancelled"))
      else if (step.kind === "follow") this.#watchOver(server.follow(step.request))
      else this.#watchOver(this.#submit(server, step))
    })
  }

  async #submit(
    server: SimulatedServer,
    { request, patienceMs }: Extract<Step, { kind: "submit" }>,
  ): Promise<void> {
    await server.submit(request)
    if (request.door === "queue") return
    const gone = new AbortController()
    if (patienceMs !== null) server.clock.setTimeout(() => gone.abort(), patienceMs)
    await server.wait(request.id, gone.signal)
  }

  /**
   * A caller whose answer does not come lets go of its connection and sends the same again, blindly, to the server that is there
   * then. One that is on its way down still answers what it took.
   */
  #sendAgainLater(taker: SimulatedServer, request: NewRequest, number: number): void {
    this.#at(this.#clock.nowMs + patienceMaxMs, () => {
      if (this.#ledger.callers.isAnswered(request.id) || number > copiesMax) return
      const server = this.#server
      if (server?.isUp !== true) {
        this.#sendAgainLater(taker, request, number)
        return
      }
      const copy = { ...request, id: copyOf(request.id, number) }
      this.#say(`submit again ${copy.id}`)
      taker.clock.setImmediate(() => {
        if (taker.isUp) this.#watchOver(taker.lose(request.id))
      })
      server.clock.setImmediate(() => {
        if (server.isUp) this.#watchOver(server.submit(copy))
      })
      this.#sendAgainLater(server, copy, number + 1)
    })
  }

  #hitServer(step: Extract<Step, { kind: "crash" | "stop" | "stall" }>): void {
    const server = this.#server
    if (server === null || server.isOver) return
    if (step.kind === "stall") {
      server.clock.stop(step.forMs)
      return
    }
    const restart = () => {
      if (this.#server !== server) return
      this.#ledger.checkRows(disk.db)
      this.#ledger.checkQueue(server.store.reader)
      this.#server = null
      this.#at(this.#clock.nowMs + step.downMs, () => this.#startServer())
    }
    if (step.kind === "crash") {
      server.crash()
      restart()
    } else if (server.isUp) {
      this.#watchOver(server.stop(step.drainMs).then(restart))
    }
  }

  #hitRunner(step: Extract<Step, { kind: "pause" | "kill" | "cut" | "swallow" }>): void {
    const runner = this.#runners[step.runner]
    if (runner === null || runner === undefined || runner.clock.ended) return
    if (step.kind === "pause") runner.clock.stop(step.forMs)
    if (step.kind === "cut") runner.link?.cut()
    if (step.kind === "swallow") runner.link?.swallow()
    if (step.kind !== "kill") return
    this.#endRunner(step.runner, step.backInMs)
    if (step.seenInMs === null) return
    this.#at(this.#clock.nowMs + step.seenInMs, () => {
      const server = this.#server
      if (server?.isUp === true) this.#watchOver(server.runnerGone(runner.pid))
    })
  }

  #empty(): void {
    if (this.#clock.nowMs >= this.#fullUntilMs) disk.freeSpace()
  }

  /** From here on nothing breaks; what is stopped or down comes back as its schedule says. */
  #heal(): void {
    this.#say("healed")
    this.#at(this.#clock.nowMs + restMaxMs, () => {
      this.#ledger.checkEnd(disk.db, this.#server!.store.reader)
      throw new Violation("the end is found", "at rest, and runners hold something")
    })
  }

  /** Now and then: is anything idle that should not be, and is all at rest? */
  #look(): void {
    const claimable = this.#ledger.claimable(this.#world.now())
    for (const [index, runner] of this.#runners.entries()) {
      for (const app of this.#schedule.runners[index]!.apps) {
        const key = `${index} ${app}`
        const isWaste =
          runner?.isIdle === true &&
          this.#server?.isUp === true &&
          !this.#server.clock.isStopped &&
          this.#clock.nowMs >= this.#fullUntilMs &&
          claimable.some((record) => record.app === app)
        if (!isWaste) this.#idleSince.delete(key)
        else if (!this.#idleSince.has(key)) this.#idleSince.set(key, this.#clock.nowMs)
        else if (this.#clock.nowMs - this.#idleSince.get(key)! > idleMaxMs) {
          throw new Violation("no slot is idle beside work", `runner ${runner?.pid}, ${app}`)
        }
      }
    }
    if (this.#clock.nowMs > this.#schedule.healMs && this.#isAtRest()) {
      this.#ledger.checkEnd(disk.db, this.#server!.store.reader)
      this.#isOver = true
    }
  }

  #isAtRest(): boolean {
    const steps = this.#schedule.steps.at(-1)?.atMs ?? 0
    return (
      this.#clock.nowMs > steps &&
      this.#server?.isUp === true &&
      this.#ledger.isAtRest &&
      this.#runners.every((runner) => runner !== null && !runner.clock.ended && runner.isDone)
    )
  }
}

function describe(step: Step): string {
  const { atMs: _, ...rest } = step
  if (step.kind !== "submit") return JSON.stringify(rest)
  const { id, door, app, account, priority } = step.request
  return `submit ${id} ${door} ${app} ${account} ${priority}`
}
