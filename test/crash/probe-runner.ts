import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { readFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import { type RunnerCommand, secretVariable, toArguments } from "@tintype/runner/supervision"
import { withProbe } from "./probe-calls.ts"

const entry = resolve(import.meta.dirname, "../../packages/runner/dist/main.js")

/** A runner that is not the server's own child, with the probe in it: several of them may dial one server. */
export async function startProbeRunner(data: string, name: string): Promise<ChildProcess> {
  const command: RunnerCommand = {
    socket: linkSocket(data),
    identity: join(data, `${name}.json`),
    build: "",
    slots: 1,
    apps: [withProbe.TINTYPE_APPS],
    ownOrigins: [],
    linkLoss: "resume",
    graceMs: 10_000,
    allowPrivateTargets: false,
  }
  const child = spawn(process.execPath, [entry, ...toArguments(command)], {
    env: { ...process.env, [secretVariable]: await readSecret(data) },
    stdio: "ignore",
  })
  await once(child, "spawn")
  return child
}

/** Where runners dial, of a folder whose path is short. */
export function linkSocket(data: string): string {
  return join(data, "link.sock")
}

export async function readSecret(data: string): Promise<string> {
  return await readFile(join(data, "secret"), "utf8")
}
