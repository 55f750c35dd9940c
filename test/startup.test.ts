import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { killProcessesOf, residentBytes, runnersOf } from "./crash/processes.ts"
import {
  makeDataFolder,
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "./server-process.ts"

const listeningMsMax = 1_500
const residentMbMax = 180

describe("the built output", () => {
  let data: string
  let server: ServerProcess
  const startsMs: number[] = []

  beforeAll(async () => {
    data = await makeDataFolder()
    for (let start = 1; start <= 3; start += 1) {
      server = await startServerProcess({ data })
      startsMs.push(server.listeningMs)
      if (start < 3) await server.kill("SIGTERM")
    }
    await untilReady(server.url)
  }, 60_000)

  afterAll(async () => {
    await killProcessesOf(data)
    await removeDataFolder(data)
  })

  it(`listens within ${listeningMsMax} ms (median of three starts)`, () => {
    const told = startsMs.map((ms) => `${ms.toFixed(0)} ms`).join(", ")
    console.log(`spawn to listening: ${told}`)
    const median = startsMs.toSorted((a, b) => a - b)[1]!
    expect(median).toBeLessThan(listeningMsMax)
  })

  it.skipIf(process.platform !== "linux")(
    `has ${residentMbMax} MB resident at most, server and idle runner together`,
    async () => {
      const [runner] = await runnersOf(data)
      const sizes = await Promise.all([server.child.pid!, runner!.pid].map(residentBytes))
      const total = (kind: "rss" | "pss") => sizes.reduce((sum, one) => sum + one[kind], 0) / 1e6
      const each = sizes.map(({ rss }) => `${(rss / 1e6).toFixed(0)} MB`).join(" + ")
      // RSS counts what both share twice; PSS once. The limit holds for the larger sum.
      console.log(
        `resident: ${total("rss").toFixed(0)} MB (server + runner ${each}); ` +
          `shared pages counted once: ${total("pss").toFixed(0)} MB`,
      )
      expect(total("rss")).toBeLessThanOrEqual(residentMbMax)
    },
  )
})
