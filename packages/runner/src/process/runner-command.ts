import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

/** What the server tells the runner process that it starts, apart from the secret, which is in its environment. */
export interface RunnerCommand {
  /** The gateway's Unix socket. */
  socket: string
  /** Where the process writes who it is. */
  identity: string
  /** See `buildId`. */
  build: string
  /** Attempts at a time. */
  slots: number
  /** Modules to import; each exports `builtinApps`, or its app or apps as default. */
  apps: string[]
  /** Origins under which the gateway's `/files/` are called. */
  ownOrigins: string[]
  linkLoss: "resume" | "exit"
  /** How long an aborted app may take. */
  graceMs: number
  /** Apps may fetch media from private addresses. */
  allowPrivateTargets: boolean
}

/** The variable that holds the link's secret; the runner deletes it from its environment before an app is loaded. */
export const secretVariable = "TINTYPE_RUNNER_SECRET"

/** Exit code of a process that found another runner's identity file in its place. */
export const identityTakenCode = 73

/** The script that a runner process executes. */
export function runnerEntryPath(): string {
  const name = import.meta.url.endsWith(".ts") ? "../main.ts" : "../main.js"
  return fileURLToPath(new URL(name, import.meta.url))
}

export function toArguments(command: RunnerCommand): string[] {
  const { socket, identity, build, slots, apps, ownOrigins, linkLoss, graceMs } = command
  const given = ["--socket", socket, "--identity", identity, "--build", build]
  given.push("--slots", String(slots), "--link-loss", linkLoss)
  given.push("--grace-ms", String(graceMs))
  for (const app of apps) given.push("--apps", app)
  for (const origin of ownOrigins) given.push("--own-origin", origin)
  if (command.allowPrivateTargets) given.push("--allow-private-targets")
  return given
}

/** Errors: `TypeError` that names the flag. */
export function fromArguments(given: string[]): RunnerCommand {
  const { values } = parseArgs({
    args: given,
    options: {
      socket: { type: "string" },
      identity: { type: "string" },
      build: { type: "string", default: "" },
      slots: { type: "string", default: "1" },
      apps: { type: "string", multiple: true, default: [] },
      "own-origin": { type: "string", multiple: true, default: [] },
      "link-loss": { type: "string", default: "resume" },
      "grace-ms": { type: "string", default: "10000" },
      "allow-private-targets": { type: "boolean", default: false },
    },
  })
  const { socket, identity, build, apps } = values
  if (socket === undefined) throw new TypeError("--socket is missing")
  if (identity === undefined) throw new TypeError("--identity is missing")
  const slots = Number(values.slots)
  if (!Number.isInteger(slots) || slots < 1) throw new TypeError("--slots: a number from 1 on")
  const linkLoss = values["link-loss"]
  if (linkLoss !== "resume" && linkLoss !== "exit") {
    throw new TypeError("--link-loss: resume or exit")
  }
  const graceMs = Number(values["grace-ms"])
  if (!Number.isInteger(graceMs) || graceMs < 0) throw new TypeError("--grace-ms: milliseconds")
  const ownOrigins = values["own-origin"]
  const allowPrivateTargets = values["allow-private-targets"]
  return {
    socket,
    identity,
    build,
    slots,
    apps,
    ownOrigins,
    linkLoss,
    graceMs,
    allowPrivateTargets,
  }
}
