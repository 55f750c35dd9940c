import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

/** What a runner process is told by whoever starts it, apart from its secret, which is in its environment. */
interface CommonCommand {
  /** See `buildId`. */
  build: string
  /** Attempts at a time. */
  slots: number
  /** Modules to import; each exports `builtinApps`, or its app or apps as default. */
  apps: string[]
  /** Origins under which the gateway's `/files/` are called. */
  ownOrigins: string[]
  /** How long an aborted app may take. */
  graceMs: number
  /** Apps may fetch media from private addresses. */
  allowPrivateTargets: boolean
}

/** The local runner's, from the server. */
export interface RunnerCommand extends CommonCommand {
  /** The gateway's Unix socket. */
  socket: string
  /** Where the process writes who it is. */
  identity: string
  linkLoss: "resume" | "exit"
}

/** Of a runner that joins a server by its address, from `tintype runner`; its secret is the key. */
export interface RemoteRunnerCommand extends CommonCommand {
  /** The server's address, without a slash at the end. */
  url: string
}

/** The variable that holds the link's secret; the runner deletes it from its environment before an app is loaded. */
export const secretVariable = "TINTYPE_RUNNER_SECRET"

/** Exit code of a process that found another runner's identity file in its place. */
export const identityTakenCode = 73

/** Exit code of a process that joined by address and wants a successor: an app of it does not end, or asked for another. */
export const replaceCode = 70

/** The script that a runner process executes. */
export function runnerEntryPath(): string {
  const name = import.meta.url.endsWith(".ts") ? "../main.ts" : "../main.js"
  return fileURLToPath(new URL(name, import.meta.url))
}

export function toArguments(command: RunnerCommand | RemoteRunnerCommand): string[] {
  const { build, slots, apps, ownOrigins, graceMs } = command
  const given = ["--build", build, "--slots", String(slots), "--grace-ms", String(graceMs)]
  if ("url" in command) given.push("--url", command.url)
  else {
    const { socket, identity, linkLoss } = command
    given.push("--socket", socket, "--identity", identity, "--link-loss", linkLoss)
  }
  for (const app of apps) given.push("--apps", app)
  for (const origin of ownOrigins) given.push("--own-origin", origin)
  if (command.allowPrivateTargets) given.push("--allow-private-targets")
  return given
}

/** Errors: `TypeError` that names the flag. */
export function fromArguments(given: string[]): RunnerCommand | RemoteRunnerCommand {
  const { values } = parseArgs({
    args: given,
    options: {
      url: { type: "string" },
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
  const slots = Number(values.slots)
  if (!Number.isInteger(slots) || slots < 1) throw new TypeError("--slots: a number from 1 on")
  const graceMs = Number(values["grace-ms"])
  if (!Number.isInteger(graceMs) || graceMs < 0) throw new TypeError("--grace-ms: milliseconds")
  const common: CommonCommand = {
    build: values.build,
    slots,
    apps: values.apps,
    ownOrigins: values["own-origin"],
    graceMs,
    allowPrivateTargets: values["allow-private-targets"],
  }
  const { url, socket, identity } = values
  if (url !== undefined) return { ...common, url }
  if (socket === undefined) throw new TypeError("--socket is missing")
  if (identity === undefined) throw new TypeError("--identity is missing")
  const linkLoss = values["link-loss"]
  if (linkLoss !== "resume" && linkLoss !== "exit") {
    throw new TypeError("--link-loss: resume or exit")
  }
  return { ...common, socket, identity, linkLoss }
}
