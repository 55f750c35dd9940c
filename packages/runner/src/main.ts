import type { App } from "@tintype/app"
import { hostApp, importApps } from "./attempt/app-host.ts"
import { captureConsole } from "./attempt/console-capture.ts"
import { createIdentity, processStartTime } from "./process/process-identity.ts"
import {
  type RemoteRunnerCommand,
  type RunnerCommand,
  fromArguments,
  identityTakenCode,
  replaceCode,
  secretVariable,
} from "./process/runner-command.ts"
import { dropStartupGarbage } from "./process/startup-garbage.ts"
import { Runner, type RunnerOptions } from "./runner.ts"

/**
 * A runner's process. It ignores SIGINT, which a terminal sends to whoever started it as well, and ends by the link's
 * `exit` or by SIGTERM once its attempts are done. The local runner outlives a crash of the server that started it, and ends
 * when no gateway came back. One that joined a server by its address ends with whoever started it, and else dials on.
 */

const firstLinkMs = 10_000
/** A little more than a server gives a runner that leaves: what is left then, it puts back by itself. */
const leaveMs = 35_000

/** Exit code of one that cannot work as it was told to: its apps, its key. */
const refusedCode = 1

process.on("SIGINT", () => {})
// A promise that an app has forgotten must not end the attempts of others.
process.on("unhandledRejection", (reason) => console.error("A promise was left rejected:", reason))
// The log is a file on a disk that may be full.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})
const command = fromArguments(process.argv.slice(2))
const secret = process.env[secretVariable] ?? ""
// Before any app is loaded, which could read it or hand it to a child.
delete process.env[secretVariable]
captureConsole()
// Not left to the event loop: an app that ignores its signal would keep the process.
process.exit(await ("url" in command ? join(command) : serveLocal(command)))

async function serveLocal(given: RunnerCommand): Promise<number> {
  const { socket, linkLoss } = given
  const identity = await identify(given)
  if (!(await createIdentity(given.identity, { ...identity, socket }))) {
    note("Another runner is at work here.")
    return identityTakenCode
  }
  const runner = new Runner({
    ...optionsOf(given, identity, await loadApps(given.apps)),
    target: { socketPath: socket, secret },
    linkLoss,
    orphaned: "end",
    // Where the runner ends with its link, one that never came must not keep it for long.
    timing: {
      graceMs: given.graceMs,
      ...(linkLoss === "exit" ? { orphanMs: firstLinkMs } : {}),
    },
  })
  process.on("SIGTERM", () => runner.drain())
  runner.start()
  dropStartupGarbage()
  note(`Ended: ${await runner.ended}.`)
  return 0
}

async function join(given: RemoteRunnerCommand): Promise<number> {
  // A terminal that closes says so to all of its programs.
  process.on("SIGHUP", () => {})
  // Whoever started it is gone, and would not start the next one.
  process.on("disconnect", () => process.exit(refusedCode))
  let apps: App[]
  try {
    apps = await loadApps(given.apps)
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    return refusedCode
  }
  const runner = new Runner({
    ...optionsOf(given, await identify(given), apps),
    target: { url: given.url, key: secret },
    orphaned: "dial",
    refused: "end",
    onLinked: () => process.send?.("linked"),
    timing: { graceMs: given.graceMs, drainMs: leaveMs },
  })
  let isToldToEnd = false
  process.on("SIGTERM", () => {
    isToldToEnd = true
    note("Ending: attempts may finish.")
    runner.drain()
  })
  const names = apps.map(({ id }) => id).join(", ")
  note(`Joins ${given.url} with ${names}, ${given.slots} at a time.`)
  runner.start()
  const end = await runner.ended
  if (end === "refused") return refusedCode
  return isToldToEnd ? 0 : replaceCode
}

function optionsOf(
  given: RunnerCommand | RemoteRunnerCommand,
  identity: RunnerOptions["identity"],
  apps: App[],
): Omit<RunnerOptions, "target"> {
  const { slots, ownOrigins, allowPrivateTargets } = given
  return { slots, apps: apps.map(hostApp), identity, ownOrigins, allowPrivateTargets, note }
}

async function identify({ build }: { build: string }): Promise<RunnerOptions["identity"]> {
  const startedAt = await processStartTime(process.pid)
  if (startedAt === null) throw new Error("The system does not tell when this process started.")
  return { pid: process.pid, startedAt, build }
}

async function loadApps(modules: string[]): Promise<App[]> {
  const apps: App[] = []
  for (const module of modules) {
    const found = await importApps(module).catch((cause: unknown) => {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new Error(`The app ${module} cannot be loaded: ${why}`, { cause })
    })
    for (const app of found) {
      if (apps.some(({ id }) => id === app.id)) throw new Error(`Two apps have the id ${app.id}`)
      apps.push(app)
    }
  }
  return apps
}

function note(message: string): void {
  process.stdout.write(`${new Date().toISOString()} ${message}\n`)
}
