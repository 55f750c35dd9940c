import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import type { Bench } from "../rows/row.ts"

/** Where the product keeps its rows in a data folder. */
export const databaseName = "tintype.sqlite"

const fillWithinMs = 900_000

/** Runs a filling program on what will be the server's data folder; resolves to the last line that it printed. */
export async function fill(
  { processes }: Pick<Bench, "processes">,
  program: "queue" | "deliveries",
  folder: string,
  args: string[],
): Promise<string> {
  const data = join(folder, "data")
  await mkdir(data, { recursive: true, mode: 0o700 })
  const script = join(import.meta.dirname, `${program}.ts`)
  const filling = processes.start(process.execPath, {
    args: ["--conditions=tintype-source", script, join(data, databaseName), ...args],
  })
  const [line] = await filling.untilLine(/^(\{.*\}|filled)$/, fillWithinMs)
  await filling.end("SIGTERM")
  return line
}
