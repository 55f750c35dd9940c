import { spawn } from "node:child_process"
import { once } from "node:events"
import { resolve } from "node:path"
import { createInterface } from "node:readline"
import { throughExec } from "../doors.ts"

/** The web app of app.mjs, started by `tintype exec` as its developer would start it. */
export interface WebApp {
  url: string
  stop(): Promise<void>
}

const program = resolve(import.meta.dirname, "app.mjs")

export async function startWebApp(serverUrl: string): Promise<WebApp> {
  const [file = "", ...args] = throughExec([process.execPath, program])
  const child = spawn(file, args, {
    env: { ...process.env, TINTYPE_URL: serverUrl },
    stdio: ["ignore", "pipe", "inherit"],
  })
  const closed = once(child, "close")
  const lines = createInterface({ input: child.stdout })
  const said = once(lines, "line") as Promise<[string]>
  const ended = closed.then(() => Promise.reject(new Error("the web app ended at once")))
  const [url] = await Promise.race([said, ended])
  // From here on it ends when it is told to.
  ended.catch(() => {})
  return {
    url,
    stop: async () => {
      child.kill("SIGTERM")
      await closed
    },
  }
}
