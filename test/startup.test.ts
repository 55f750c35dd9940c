import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { killProcessesOf, residentMemory, runnersOf } from "./crash/processes.ts"
import {
  makeDataFolder,
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "./server-process.ts"

const listeningMsMax = 1_500
const residentMbMax = 180
const skip = process.platform === "linux" ? null : "there is no /proc to read it from"
if (skip !== null) console.log(`skipped: resident memory (${skip})`)

describe("the built output", () => {
  let data: string
  let server: ServerProcess
  const startsMs: number[] = []

  beforeAll(async () => {
    data = await makeDataFolder()
    for (let start = 1; start <= 3; start += 1) {
      server = await startServerProcess({ data, tls: true })
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

  it.skipIf(skip !== null)(
    `has ${residentMbMax} MB resident at most, server and idle runner together`,
    async () => {
      const [runner] = await runnersOf(data)
      const sum = async () => {
        const { rss, together } = await residentMemory([server.child.pid!, runner!.pid])
        const total = rss.reduce((sofar, bytes) => sofar + bytes, 0)
        const [own, runners] = rss.map(inMb)
        told =
          `resident: server ${own} + runner ${runners} = ${inMb(total)}; ` +
          `${inMb(together)} with shared pages counted once`
        return total
      }
      let told = ""
      // Idle is what is left when the garbage of the start has been collected. The sum counts the pages of Node's own
      // program twice; the limit holds even so.
      await expect
        .poll(sum, { timeout: 10_000, interval: 250 })
        .toBeLessThanOrEqual(residentMbMax * 1e6)
      console.log(told)
    },
  )
})

function inMb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(0)} MB`
}
