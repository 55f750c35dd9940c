import { hostApp, importApps } from "./attempt/app-host.ts"
import { captureConsole } from "./attempt/console-capture.ts"
import { createIdentity, processStartTime } from "./process/process-identity.ts"
import {
  type RunnerCommand,
  fromArguments,
  identityTakenCode,
  secretVariable,
} from "./process/runner-command.ts"
import { dropStartupGarbage } from "./process/startup-garbage.ts"
import { Runner } from "./runner.ts"

/**
 * The local runner's process. It outlives a crash of the server that started it: it ignores SIGINT, which a terminal
 * sends to both, and ends by the link's `exit`, by SIGTERM once its attempts are done, or when no gateway came back.
 */

const firstLinkMs = 10_000

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
process.exit(await main(command))

async function main(given: RunnerCommand): Promise<number> {
  const startedAt = await processStartTime(process.pid)
  if (startedAt === null) throw new Error("The system does not tell when this process started.")
  const { build, socket, slots, linkLoss, ownOrigins, allowPrivateTargets, graceMs } = given
  const identity = { pid: process.pid, startedAt, build, socket }
  if (!(await createIdentity(given.identity, identity))) {
    note("Another runner is at work here.")
    return identityTakenCode
  }
  const apps = (await Promise.all(given.apps.map(importApps))).flat()
  const runner = new Runner({
    target: { socketPath: socket, secret },
    slots,
    apps: apps.map(hostApp),
    identity: { pid: process.pid, startedAt, build },
    allowPrivateTargets,
    ownOrigins,
    linkLoss,
    orphaned: "end",
    // Where the runner ends with its link, one that never came must not keep it for long.
    timing: { graceMs, ...(linkLoss === "exit" ? { orphanMs: firstLinkMs } : {}) },
    note,
  })
  process.on("SIGTERM", () => runner.drain())
  runner.start()
  dropStartupGarbage()
  note(`Ended: ${await runner.ended}.`)
  return 0
}

function note(message: string): void {
  process.stdout.write(`${new Date().toISOString()} ${message}\n`)
}
