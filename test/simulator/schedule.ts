import type { NewRequest } from "../../packages/server/src/domain/request.ts"
import type { Random } from "./random.ts"

/** What is going to happen to a simulated platform, all of it made of a seed. */
export interface Schedule {
  runners: RunnerPlan[]
  /** Requests of one account that may run at a time; 0: as many as will. */
  concurrencyMax: number
  steps: Step[]
  /** When everything that was broken is whole again, and nothing new breaks. */
  healMs: number
}

export interface RunnerPlan {
  slots: number
  apps: string[]
  startMs: number
}

export type Step = { atMs: number } & (
  | { kind: "submit"; request: NewRequest; patienceMs: number | null }
  | { kind: "cancel"; request: string }
  | { kind: "follow"; request: string }
  | { kind: "count" }
  | { kind: "crash"; downMs: number }
  | { kind: "stop"; drainMs: number; downMs: number }
  | { kind: "stall"; forMs: number }
  | { kind: "fill"; forMs: number }
  | { kind: "pause"; runner: number; forMs: number }
  | { kind: "kill"; runner: number; seenInMs: number | null; backInMs: number }
  | { kind: "cut"; runner: number }
  | { kind: "swallow"; runner: number }
)

export const apps = ["acme/echo", "acme/paint"]
const accounts = ["ada", "bea", "cyd"]

/** A scenario of some seconds with a handful of requests and a few disasters. */
export function makeSchedule(random: Random): Schedule {
  const healMs = random.integer(1_500, 9_000)
  const runners = Array.from({ length: random.integer(1, 3) }, (_, index) => ({
    slots: random.integer(1, 3),
    apps: index === 0 || random.chance(0.5) ? apps : [random.pick(apps)],
    startMs: random.chance(0.8) ? 0 : random.integer(0, 6_000),
  }))
  const steps: Step[] = []
  const ids = submits(random, steps, healMs)
  for (const id of ids) asks(random, steps, id)
  const disasters = random.integer(0, 5)
  for (let index = 0; index < disasters; index += 1) {
    steps.push({ atMs: random.integer(0, healMs), ...disaster(random, runners.length) })
  }
  steps.push({ atMs: random.integer(0, healMs), kind: "count" })
  const concurrencyMax = random.chance(0.3) ? random.integer(1, 3) : 0
  return { runners, concurrencyMax, steps: steps.toSorted((a, b) => a.atMs - b.atMs), healMs }
}

function submits(random: Random, steps: Step[], healMs: number): string[] {
  const count = random.integer(2, 9)
  // Some come in a heap, some one by one.
  const heapMs = random.integer(0, healMs)
  return Array.from({ length: count }, (_, index) => {
    const id = `request-${String(index + 1).padStart(3, "0")}`
    const door = random.chance(0.25) ? random.pick(["run", "stream"] as const) : "queue"
    const app = random.pick(apps)
    const request: NewRequest = {
      id,
      account: random.pick(accounts),
      door,
      app,
      endpoint: app,
      path: "/",
      priority: random.chance(0.25) ? "low" : "normal",
      webhook: door === "queue" && random.chance(0.3) ? "https://receiver.test/hook" : null,
      input: { inline: Buffer.from("{}") },
      headers: {},
      fileBase: "http://127.0.0.1:3250/files",
    }
    // No two callers want the same, so whatever is found again is the caller's own.
    if (door === "queue") request.identity = { fingerprint: id, resendsBlindly: true }
    if (door === "queue" && random.chance(0.1)) request.noRetry = true
    if (random.chance(0.15)) request.startTimeoutMs = random.integer(50, 4_000)
    const patienceMs = door !== "queue" && random.chance(0.4) ? random.integer(1, 3_000) : null
    const atMs = random.chance(0.5) ? heapMs + random.integer(0, 5) : random.integer(0, healMs)
    steps.push({ atMs, kind: "submit", request, patienceMs })
    return id
  })
}

/** What its caller and others want to know of a request, and when. */
function asks(random: Random, steps: Step[], id: string): void {
  const submit = steps.find((step) => step.kind === "submit" && step.request.id === id)!
  const later = () => submit.atMs + random.integer(0, random.pick([5, 300, 6_000]))
  if (random.chance(0.3)) steps.push({ atMs: later(), kind: "cancel", request: id })
  if (random.chance(0.05)) steps.push({ atMs: later(), kind: "cancel", request: id })
  for (let times = random.integer(0, 2); times > 0; times -= 1) {
    steps.push({ atMs: later(), kind: "follow", request: id })
  }
}

type Disaster = Step extends infer One ? (One extends Step ? Omit<One, "atMs"> : never) : never

const disasterWeights = {
  crash: 3,
  stop: 1,
  stall: 1,
  fill: 2,
  pause: 4,
  kill: 4,
  cut: 3,
  swallow: 2,
}

function disaster(random: Random, runners: number): Disaster {
  const runner = random.integer(0, runners - 1)
  const kind = random.weighted(disasterWeights)
  const downMs = random.integer(50, 2_000)
  const makers: Record<keyof typeof disasterWeights, () => Disaster> = {
    crash: () => ({ kind: "crash", downMs }),
    stop: () => ({ kind: "stop", drainMs: random.integer(0, 2_000), downMs }),
    stall: () => ({ kind: "stall", forMs: random.integer(100, 8_000) }),
    fill: () => ({ kind: "fill", forMs: random.integer(100, 3_000) }),
    pause: () => ({ kind: "pause", runner, forMs: random.integer(100, 14_000) }),
    kill: () => ({
      kind: "kill",
      runner,
      seenInMs: random.chance(0.6) ? random.integer(1, 1_500) : null,
      backInMs: random.integer(50, 3_000),
    }),
    cut: () => ({ kind: "cut", runner }),
    swallow: () => ({ kind: "swallow", runner }),
  }
  return makers[kind]()
}
