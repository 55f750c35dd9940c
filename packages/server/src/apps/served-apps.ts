import { execFile, type ExecFileException } from "node:child_process"
import { isAbsolute } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { StartError } from "../start-error.ts"
import type { Config } from "../config.ts"
import type { AppRow } from "../store.ts"

/** What the reading process has to say: the rows, or what a person can do about it. */
export type ServedApps = { rows: AppRow[] } | { refused: string }

/** The modules with the apps of this server, for `import`: the built-in ones and those of the `apps` setting. */
export function appModules(configured: string[]): string[] {
  return [import.meta.resolve("@tintype/catalogue"), ...configured.map(moduleUrl)]
}

/** What `import` takes: a file's URL, or a package's name as it is. */
export function moduleUrl(module: string): string {
  return isAbsolute(module) ? pathToFileURL(module).href : module
}

/** What the built-in apps are told of the configuration, wherever they are loaded. */
export function appVariables({ engines, pace }: Pick<Config, "engines" | "pace">) {
  return { TINTYPE_ENGINES: JSON.stringify(engines), TINTYPE_PACE: String(pace) }
}

const rowsBytesMax = 256 * 1024 * 1024
const readTimeoutMs = 60_000

/**
 * Reads what the gateway must know of the apps. In a process that ends when it has read: an app's code runs in
 * runners only, and the memory that loading it takes (25 MB for the built-in ones) is given back. `variables` are added to
 * those of this process.
 */
export async function readAppRows(
  modules: string[],
  variables: Record<string, string> = {},
): Promise<AppRow[]> {
  const isSource = import.meta.url.endsWith(".ts")
  const entry = new URL(isSource ? "./app-reader.ts" : "./app-reader.js", import.meta.url)
  const flags = isSource ? ["--conditions=tintype-source"] : []
  const env = { ...process.env, ...variables }
  const output = await run([...flags, fileURLToPath(entry), ...modules], modules.join(", "), env)
  const answer = parseAnswer(output)
  if ("refused" in answer) throw new StartError("settings", answer.refused)
  return answer.rows
}

/** The last line of what the process printed. */
function parseAnswer(output: string): ServedApps {
  try {
    return JSON.parse(output.slice(output.lastIndexOf("\n") + 1)) as ServedApps
  } catch {
    return { refused: "The apps cannot be loaded: one of them ended the process that loads it" }
  }
}

function run(argv: string[], names: string, env: NodeJS.ProcessEnv): Promise<string> {
  const options = { maxBuffer: rowsBytesMax, timeout: readTimeoutMs, env }
  return new Promise((resolve, reject) => {
    execFile(process.execPath, argv, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      const message = `The apps (${names}) cannot be loaded: ${reasonOf(error, stderr)}`
      reject(new StartError("settings", message, { cause: error }))
    })
  })
}

/** Node's exit code for a module whose top-level await never settles. */
const unsettledAwait = 13

function reasonOf(error: ExecFileException, stderr: string): string {
  if (error.killed === true) return `nothing was read within ${readTimeoutMs / 1_000} s`
  if (typeof error.signal === "string") return `the process that reads them got ${error.signal}`
  if (error.code === unsettledAwait) return "a top-level await in one of them never settles"
  const last = stderr.trim().split("\n").at(-1)?.trim()
  return last === undefined || last === "" ? error.message : last
}
