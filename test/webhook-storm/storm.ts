import { setTimeout as sleep } from "node:timers/promises"
import { Load, type Submission } from "../crash/load.ts"
import { withProbe } from "../crash/probe-calls.ts"
import { type ServerProcess, spawnServerProcess, untilReady } from "../server-process.ts"

export interface StormPlan {
  data: string
  requests: number
  kills: number
  random: () => number
  submitsPerSecond: number
  /** Of `tintype.config.ts`, in every life. */
  config: object
  next: (index: number) => Submission
  /** The server that lives now; null: it is about to die. */
  aim: (url: string | null) => void
}

/** Epoch milliseconds: the signal was sent after the first, and the process was gone before the second. */
export interface StormKill {
  from: number
  to: number
}

export interface Storm {
  kills: StormKill[]
  load: Load
  /** The server that lives at the end. */
  last: ServerProcess
}

/** Of the kills, what comes while requests are submitted; the others come while webhooks are tried again. */
const shareUnderLoad = 0.75
const tailMs = 2_000

/**
 * Submits requests that ask for webhooks, and kills the server with -9 meanwhile, at moments of a seed, always on the same data
 * folder. Whoever is told of them does not hear of the kills.
 */
export async function runStorm(plan: StormPlan): Promise<Storm> {
  const { requests, random, submitsPerSecond, next } = plan
  const load = new Load({ connections: 16, submitsPerSecond, next })
  const underLoad = Math.max(1, Math.floor(plan.kills * shareUnderLoad))
  // In the middle of each of equal parts, more or less, so that every life has something to do.
  const moments = Array.from({ length: underLoad }, (_, index) =>
    Math.ceil(((index + 0.25 + random() / 2) * requests) / underLoad),
  )
  const kills: StormKill[] = []
  let server = await start(plan, load)
  load.start()
  try {
    for (const moment of moments) {
      await load.untilAcknowledged(moment)
      await sleep(random() * 100)
      kills.push(await strike(plan, load, server))
      server = await start(plan, load)
    }
    await load.untilAcknowledged(requests)
  } finally {
    await load.stop()
  }
  while (kills.length < plan.kills) {
    await sleep(random() * tailMs)
    kills.push(await strike(plan, load, server))
    server = await start(plan, load)
  }
  return { kills, load, last: server }
}

async function start(plan: StormPlan, load: Load): Promise<ServerProcess> {
  const { data, config } = plan
  const env = { ...withProbe, TINTYPE_RUNNER_SLOTS: "16" }
  const server = await spawnServerProcess({ data, config, env }).listening
  await untilReady(server.url)
  plan.aim(server.url)
  load.aim(server.url)
  return server
}

async function strike(plan: StormPlan, load: Load, server: ServerProcess): Promise<StormKill> {
  const { exitCode } = server.child
  if (exitCode !== null) {
    throw new Error(`The server exited with ${exitCode}:\n${server.stderr.join("\n")}`)
  }
  const from = Date.now()
  await server.kill("SIGKILL")
  plan.aim(null)
  load.aim(null)
  return { from, to: Date.now() }
}
