import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { RawPeer } from "../../packages/server/src/dispatcher/dispatcher.suite.ts"
import {
  makeDataFolder,
  removeDataFolder,
  type ServerProcess,
  startServerProcess,
  untilReady,
} from "../server-process.ts"
import {
  probeResult,
  probeStatus,
  readStarts,
  submitProbe,
  until,
  untilStarts,
  withProbe,
} from "./probe-calls.ts"
import { killProcessesOf, runnersOf } from "./processes.ts"
import { readRequestRows } from "./request-rows.ts"
import { linkSocket, readSecret, startProbeRunner } from "./probe-runner.ts"

/** So short that a pause outlasts it, and longer than a busy machine lets a healthy runner wait. */
const timing = { leaseMs: 3_000, resumeMs: 3_000, renewEveryMs: 300, retryMaxMs: 500 }

let data: string
let startsFile: string
let endsFile: string

beforeEach(async () => {
  data = await makeDataFolder()
  startsFile = join(data, "starts")
  endsFile = join(data, "ends")
})

afterEach(async () => {
  await killProcessesOf(data)
  await removeDataFolder(data)
})

/** Says one line, works for 2.5 s whatever its signal says, and leaves a trace of its end in a file and in the log. */
function submitStubborn(url: string): Promise<string> {
  const files = { starts_file: startsFile, ends_file: endsFile }
  return submitProbe(url, { ...files, lines: 1, duration_ms: 2_500, heeds: false })
}

/** What the app itself has logged, whichever attempt it was. */
async function appLines(url: string, id: string): Promise<string[]> {
  const { logs } = await probeStatus(url, id)
  return logs!.filter(({ labels }) => labels["source"] !== "gateway").map(({ message }) => message)
}

function leaseOf(id: string): string {
  const db = new DatabaseSync(join(data, "tintype.sqlite"), { readOnly: true, timeout: 5_000 })
  try {
    return String(db.prepare("SELECT lease FROM requests WHERE id = ?").get(id)?.["lease"])
  } finally {
    db.close()
  }
}

describe("a runner that is stopped past its lease, and goes on when another one has its request", () => {
  let server: ServerProcess

  beforeEach(async () => {
    // The server's own runner would be replaced: there may be only one of those.
    const config = { timing, runner: { local: false } }
    server = await startServerProcess({ data, config, env: withProbe })
  })

  it.each([
    ["runs it", false],
    ["has ended it", true],
  ])("cannot say a word about it: %s", { timeout: 40_000 }, async (_, isOver) => {
    const zombie = await startProbeRunner(data, "zombie")
    await untilLinked(zombie.pid!, 1)
    const id = await submitStubborn(server.url)
    await until("its line", async () => (await appLines(server.url, id)).length === 1)
    const lease = leaseOf(id)
    zombie.kill("SIGSTOP")
    const other = await startProbeRunner(data, "other")
    await untilStarts(startsFile, 2)
    expect(await readStarts(startsFile)).toEqual([`${id} 1`, `${id} 2`])

    if (isOver) await probeResult(server.url, id)
    zombie.kill("SIGCONT")
    // It goes to its end all the same, and dials again as somebody new, with nothing in its hands.
    await until("the zombie's end", async () => (await readStarts(endsFile)).includes(`${id} 1`))
    await untilLinked(zombie.pid!, 2)
    await refuseRude(id, lease)

    const result = await probeResult(server.url, id)
    expect(result.status).toBe(200)
    expect(await result.json()).toEqual({ attempt: 2, lines: 1 })
    expect((await readStarts(endsFile)).toSorted()).toEqual([`${id} 1`, `${id} 2`])
    await refuseRude(id, lease)
    expect(await appLines(server.url, id)).toEqual(["line 1", "line 1", "ended"])
    expect(readRequestRows(data)).toMatchObject([
      { id, state: "succeeded", attempts: 2, attemptsCounted: 2 },
    ])

    // And it is as good as new, now that it is alone.
    other.kill("SIGTERM")
    await server.logged(({ event, pid }) => event === "runner_disconnected" && pid === other.pid)
    const next = await submitProbe(server.url, {})
    expect(await (await probeResult(server.url, next)).json()).toEqual({ attempt: 1, lines: 0 })
    expect(await server.kill("SIGTERM")).toBe(0)
  })

  async function untilLinked(pid: number, times: number): Promise<void> {
    const isIts = (entry: Record<string, unknown>) =>
      entry["event"] === "runner_connected" && entry["pid"] === pid
    await until(`${times} links`, async () => server.log.filter(isIts).length >= times)
  }

  /** What a runner with worse manners would say: events and an outcome under the lease that it once had. */
  async function refuseRude(id: string, lease: string): Promise<void> {
    const before = await probeStatus(server.url, id)
    const rude = new RawPeer({ socketPath: linkSocket(data) }, { secret: await readSecret(data) })
    await rude.opened
    rude.hello({ apps: [] })
    await rude.next("welcome")
    rude.log(lease, 2, 3)
    rude.done(lease)
    expect(await rude.next("settled")).toMatchObject({ lease, result: "stale" })
    rude.cut()
    const after = await probeStatus(server.url, id)
    expect(after.logs!.slice(0, before.logs!.length)).toEqual(before.logs)
    expect(after.logs!.map(({ message }) => message)).not.toContain("line 2")
  }
})

describe("the server's own runner, stopped past its lease", () => {
  it("is ended and replaced, as nothing would come of its request else", async () => {
    const server = await startServerProcess({ data, config: { timing }, env: withProbe })
    await untilReady(server.url)
    const [stopped] = await runnersOf(data)
    const id = await submitStubborn(server.url)
    await untilStarts(startsFile, 1)
    process.kill(stopped!.pid, "SIGSTOP")
    const result = await probeResult(server.url, id)
    expect(await result.json()).toEqual({ attempt: 2, lines: 1 })
    expect(await readStarts(startsFile)).toEqual([`${id} 1`, `${id} 2`])
    expect(await readStarts(endsFile)).toEqual([`${id} 2`])
    const runners = await runnersOf(data)
    expect(runners).toHaveLength(1)
    expect(runners[0]!.pid).not.toBe(stopped!.pid)
    expect(await server.kill("SIGTERM")).toBe(0)
  }, 40_000)
})
