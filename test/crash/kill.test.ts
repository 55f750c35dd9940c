import { randomUUID } from "node:crypto"
import { expect, it } from "vitest"
import { makeDataFolder, removeDataFolder, startServerProcess } from "../server-process.ts"
import { audit } from "./audit.ts"
import { killSuite, tooManyAttempts } from "./kill.suite.ts"
import { Load, type Submission } from "./load.ts"

killSuite({ load: 14, start: 3, checkpoint: 3 }, 120_000)

it("counts attempts against the kills that hit them", () => {
  const row = { id: "a", state: "succeeded", door: "queue", attemptsCounted: 2 }
  const kill = { kind: "load", counts: true, from: 100, to: 110, detail: "" } as const
  const hit = { ...row, attempts: 2, submittedAt: 90, finishedAt: 200 }
  expect(tooManyAttempts([hit], [kill])).toEqual([])
  expect(tooManyAttempts([{ ...hit, attempts: 3 }], [kill])).toHaveLength(1)
  expect(tooManyAttempts([{ ...hit, finishedAt: 99 }], [kill])).toHaveLength(1)
})

it("would notice a result that is not its request's, and a request that is unknown", async () => {
  const data = await makeDataFolder()
  const server = await startServerProcess({ data })
  const load = new Load({ connections: 1, submitsPerSecond: 100, next: echo })
  load.start()
  load.aim(server.url)
  await load.untilAcknowledged(1)
  await load.stop()
  const [first] = load.acknowledged
  const found = await audit(
    server.url,
    [first!, { ...first!, body: Buffer.from("{}") }, { ...first!, id: randomUUID() }],
    { deadlineMs: 10_000, connections: 1 },
  )
  expect(found).toHaveLength(2)
  expect(found[0]).toContain("its status answered 404")
  expect(found[1]).toContain("differs from its input")
  await server.kill("SIGTERM")
  await removeDataFolder(data)
})

function echo(index: number): Submission {
  return { endpoint: "tintype/echo", body: Buffer.from(`{"index": ${index}}`) }
}
