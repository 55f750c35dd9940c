import { spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"

/** What a client's program says of one trial: what the client showed it, or what it raised. */
export interface Sighting {
  trial: string
  saw?: unknown
  raised?: string
}

const programMsMax = 120_000
const keptLinesMax = 50

/** Runs a program that uses a client and collects its sightings: it prints one JSON object a line. */
export async function runProgram(
  command: string[],
  env: Record<string, string | undefined>,
): Promise<Map<string, Sighting>> {
  const [file = "", ...args] = command
  const child = spawn(file, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  const timer = setTimeout(() => child.kill("SIGKILL"), programMsMax)
  const sightings = new Map<string, Sighting>()
  const rest: string[] = []
  const keep = (line: string) => rest.push(line) > keptLinesMax && rest.shift()
  createInterface({ input: child.stdout }).on("line", (line) => {
    const sighting = parseSighting(line)
    if (sighting === null) keep(line)
    else sightings.set(sighting.trial, sighting)
  })
  createInterface({ input: child.stderr }).on("line", keep)
  const [code] = (await once(child, "close")) as [number | null]
  clearTimeout(timer)
  if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}:\n${rest.join("\n")}`)
  return sightings
}

function parseSighting(line: string): Sighting | null {
  if (!line.startsWith('{"trial":')) return null
  return JSON.parse(line) as Sighting
}
