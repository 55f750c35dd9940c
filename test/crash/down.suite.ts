import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterEach, describe, expect, it } from "vitest"
import {
  makeDataFolder,
  removeDataFolder,
  startServerProcess,
  untilReady,
} from "../server-process.ts"
import {
  withProbe,
  probeResult,
  probeStatus,
  readStarts,
  submitProbe,
  until,
} from "./probe-calls.ts"
import { identityPidOf, killProcessesOf, runnersOf } from "./processes.ts"
import { readRequestRows } from "./request-rows.ts"

const lineEveryMs = 50

/** A server that is killed in the middle of an attempt and stays away for a while. */
export function downSuite(downMs: number): void {
  describe(`a server that was killed and is down for ${downMs / 1_000} s`, () => {
    let data: string

    afterEach(async () => {
      await killProcessesOf(data)
      await removeDataFolder(data)
    })

    it(
      "finds its runner at work: one start, one attempt, logs gapless and unrepeated",
      async () => {
        data = await makeDataFolder()
        const startsFile = join(data, "starts")
        const lines = (downMs + 2_500) / lineEveryMs
        const first = await startServerProcess({ data, env: withProbe })
        await untilReady(first.url)
        const [runner] = await runnersOf(data)
        const id = await submitProbe(first.url, {
          starts_file: startsFile,
          duration_ms: lines * lineEveryMs,
          lines,
        })
        await until("ten lines", async () => {
          const { logs } = await probeStatus(first.url, id)
          return (logs ?? []).length >= 10
        })
        await first.kill("SIGKILL")
        await sleep(downMs)
        expect(await runnersOf(data)).toEqual([runner])

        const second = await startServerProcess({ data, env: withProbe })
        const result = await probeResult(second.url, id)
        expect(result.status).toBe(200)
        expect(await result.json()).toEqual({ attempt: 1, lines })
        expect(await readStarts(startsFile)).toEqual([`${id} 1`])
        const { logs } = await probeStatus(second.url, id)
        const expected = Array.from({ length: lines }, (_, index) => `line ${index + 1}`)
        expect(logs!.map(({ message }) => message)).toEqual(expected)
        expect(readRequestRows(data)).toMatchObject([{ state: "succeeded", attempts: 1 }])
        expect(await runnersOf(data)).toEqual([runner])
        expect(await identityPidOf(runner!)).toBe(runner!.pid)
        expect(await second.kill("SIGTERM")).toBe(0)
        expect(await runnersOf(data)).toEqual([])
      },
      downMs + 40_000,
    )
  })
}
