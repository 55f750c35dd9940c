import { rm } from "node:fs/promises"
import { join } from "node:path"
import type { Bench } from "../rows/row.ts"
import type { Contender, Place, Running } from "./contender.ts"

/** Starts one contender on an empty folder, has it measured, and leaves nothing of either. */
export async function withRunning<Result>(
  bench: Bench,
  contender: Contender,
  measure: (running: Running, folder: string) => Promise<Result>,
  options: Pick<Place, "flags"> = {},
): Promise<Result> {
  const folder = await bench.makeFolder("own")
  const running = await contender.start({ processes: bench.processes, folder, ...options })
  const result = await measure(running, folder)
  await running.stop()
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  return result
}

/** The product's flag that has it host the apps of the bench as well. */
export const benchApps = ["--apps", join(import.meta.dirname, "bench-apps.ts")]
