import { renameSync, writeFileSync } from "node:fs"
import { isMainThread } from "node:worker_threads"

/**
 * Loaded into a server that is measured (`--import`, with `--expose-gc`): on SIGUSR2 it collects its garbage and tells in a file
 * what is left. Nothing of the server knows of it.
 */
const path = process.env["BENCH_MEMORY_FILE"]
const collections = 3

if (isMainThread && path !== undefined) {
  process.on("SIGUSR2", () => {
    // What a collection finalizes is freed by the next one.
    for (let round = 0; round < collections; round += 1) globalThis.gc?.()
    const { rss, heapUsed, external } = process.memoryUsage()
    writeFileSync(`${path}.part`, JSON.stringify({ rss, heap: heapUsed + external }))
    renameSync(`${path}.part`, path)
  })
}
