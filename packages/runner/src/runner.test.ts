import { type AppAnswer, type AppCall, type RunContext, isModelError } from "@tintype/app"
import type { AttemptEvent, FailedFrame } from "@tintype/protocol"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { HostedApp } from "./attempt/app-host.ts"
import { captureConsole } from "./attempt/console-capture.ts"
import { FakeGateway, assignFrame } from "./fake-gateway.suite.ts"
import { runnerLimits } from "./limits.ts"
import { Runner, type RunnerOptions } from "./runner.ts"

type Work = (call: AppCall, context: RunContext) => Promise<AppAnswer> | AppAnswer

const ok = (body: string | Uint8Array = "{}"): AppAnswer => ({
  status: 200,
  headers: { "content-type": "application/json" },
  body: typeof body === "string" ? Buffer.from(body) : body,
})

function app(work: Work, id = "local/test"): HostedApp {
  return { id, respond: async (call, context) => await work(call, context) }
}

/** An app that waits, for each call, until the test lets it go on; it heeds its signal unless told otherwise. */
class Gate {
  readonly calls: { context: RunContext; finish: (answer?: AppAnswer) => void }[] = []
  readonly #heeds: boolean

  constructor(heeds = true) {
    this.#heeds = heeds
  }

  readonly app = app((_call, context) => {
    const { promise, resolve, reject } = Promise.withResolvers<AppAnswer>()
    this.calls.push({ context, finish: (answer = ok()) => resolve(answer) })
    if (this.#heeds) {
      context.signal.addEventListener("abort", () => reject(new Error("stopped")))
    }
    return promise
  })
}

let gateway: FakeGateway
const runners: Runner[] = []

beforeEach(async () => {
  gateway = new FakeGateway()
  await gateway.start()
})

afterEach(async () => {
  for (const runner of runners.splice(0)) {
    runner.drain()
    gateway.send({ type: "exit" })
  }
  await gateway.close()
})

function startRunner(apps: HostedApp[], options: Partial<RunnerOptions> = {}): Runner {
  const runner = new Runner({
    target: { socketPath: gateway.socketPath, secret: gateway.secret },
    slots: 1,
    apps,
    identity: { pid: process.pid, startedAt: "now", build: "test" },
    allowPrivateTargets: false,
    ...options,
    timing: {
      redialMinMs: 1,
      redialMaxMs: 20,
      transferRetryMinMs: 1,
      drainMs: 50,
      ...options.timing,
    },
  })
  runners.push(runner)
  runner.start()
  return runner
}

const isSettled = (lease: string) => gateway.leases.get(lease)?.settledCount === 1
const retires = () => gateway.frames.filter((frame) => frame.type === "retire")
const failure = (lease: string): FailedFrame => {
  const { outcome } = gateway.lease(lease)
  if (outcome?.type !== "failed") throw new Error(`${lease} did not fail`)
  return outcome
}

describe("an attempt", () => {
  test("is accepted, says its events in order and its answer last", async () => {
    startRunner([
      app((call, context) => {
        context.log("one", { labels: { a: "b" } })
        context.progress(1, 2)
        context.billableUnits(3)
        context.header("X-Mine", "yes")
        return ok(call.input)
      }),
    ])
    gateway.assign("l1", { input: Buffer.from("[12345678901234567890]") })
    await gateway.until(() => isSettled("l1"))
    const { received, outcome, accepted } = gateway.lease("l1")
    expect(accepted).toBe(true)
    expect(received.map((event) => [event.seq, event.kind])).toEqual([
      [1, "log"],
      [2, "progress"],
    ])
    expect(outcome).toMatchObject({ type: "done", status: 200 })
    expect(outcome).toMatchObject({ headers: { "x-fal-billable-units": "3", "x-mine": "yes" } })
    const body = outcome?.type === "done" ? outcome.body : null
    expect(Buffer.from(body ?? []).toString()).toBe("[12345678901234567890]")
  })

  test("that throws fails with a generic text, and its stack is in the log alone", async () => {
    startRunner([
      app(() => {
        throw new Error("the database password is hunter2")
      }),
    ])
    gateway.assign("l1")
    await gateway.until(() => isSettled("l1"))
    expect(failure("l1")).toMatchObject({ reason: "exception" })
    expect(failure("l1").detail).not.toContain("hunter2")
    expect(gateway.logs("l1").join()).toContain("hunter2")
    expect(gateway.lease("l1").received[0]).toMatchObject({ level: "ERROR" })
  })

  test("of an app that is not hosted fails as such", async () => {
    startRunner([app(() => ok())])
    gateway.assign("l1", { app: "local/other" })
    await gateway.until(() => isSettled("l1"))
    expect(failure("l1").reason).toBe("unknown_app")
  })

  test.each([
    ["a status that HTTP does not have", { ...ok(), status: 99 }],
    ["headers that are too large", { ...ok(), headers: { x: "y".repeat(17_000) } }],
  ])("with %s is an incomplete response", async (_what, answer) => {
    startRunner([app(() => answer)])
    gateway.assign("l1")
    await gateway.until(() => isSettled("l1"))
    expect(failure("l1").reason).toBe("incomplete_response")
  })

  test("that is cancelled gets its signal and fails as aborted", async () => {
    const gate = new Gate()
    startRunner([gate.app])
    gateway.assign("l1")
    await gateway.until(() => gateway.leases.get("l1")?.accepted === true)
    gateway.send({ type: "cancel", lease: "l1", reason: "client_cancelled" })
    await gateway.until(() => isSettled("l1"))
    expect(failure("l1").reason).toBe("aborted")
    expect(gate.calls[0]!.context.signal.aborted).toBe(true)
  })

  test("that ignores its signal loses its outcome, and its runner asks to be replaced", async () => {
    const gate = new Gate(false)
    startRunner([gate.app], { timing: { graceMs: 10 } })
    gateway.assign("l1")
    await gateway.until(() => gateway.leases.get("l1")?.accepted === true)
    gateway.send({ type: "cancel", lease: "l1", reason: "client_cancelled" })
    await gateway.until(() => isSettled("l1"))
    expect(failure("l1").reason).toBe("aborted")
    await gateway.until(() => retires().length === 1)
    expect(retires()[0]).toMatchObject({ why: "local/test did not stop when it was told to" })
    gateway.assign("l2")
    gateway.send({ type: "ping", at: 1 })
    await gateway.until(() => gateway.frames.some((frame) => frame.type === "pong"))
    expect(gateway.leases.has("l2")).toBe(false)
    gate.calls[0]!.finish()
    gateway.send({ type: "ping", at: 2 })
    await gateway.until(() => gateway.frames.filter(({ type }) => type === "pong").length === 2)
    expect(gateway.leases.has("l2")).toBe(false)
    expect(gateway.lease("l1").outcomesReceived).toBe(1)
  })

  test("goes on while its runner is replaced, and a new link is told of it again", async () => {
    const stuck = new Gate(false)
    const other = new Gate()
    const apps = [{ ...stuck.app, id: "local/stuck" }, other.app]
    const runner = startRunner(apps, { slots: 3, timing: { graceMs: 10 } })
    gateway.assign("l1", { app: "local/stuck" })
    gateway.assign("l2")
    await gateway.until(() => other.calls.length === 1 && stuck.calls.length === 1)
    gateway.send({ type: "cancel", lease: "l1", reason: "client_cancelled" })
    await gateway.until(() => retires().length === 1)
    gateway.cut()
    await gateway.until(() => retires().length === 2)
    expect(gateway.credits).toBe(0)
    other.calls[0]!.finish(ok("[2]"))
    await gateway.until(() => isSettled("l2"))
    expect(gateway.lease("l2").outcome).toMatchObject({ type: "done" })
    gateway.send({ type: "exit" })
    expect(await runner.ended).toBe("exit")
  })

  test("that takes too long gets its signal and fails as timed out", async () => {
    const gate = new Gate()
    startRunner([gate.app])
    gateway.assign("l1", { timeoutMs: 20 })
    await gateway.until(() => isSettled("l1"))
    expect(failure("l1").reason).toBe("timed_out")
    expect(failure("l1").inferenceMs).toBeGreaterThan(10)
    expect(String(gate.calls[0]!.context.signal.reason)).toContain("longer than 0.02 s")
    expect(retires()).toHaveLength(0)
  })

  test("that takes too long and ignores its signal costs its runner", async () => {
    const gate = new Gate(false)
    startRunner([gate.app], { timing: { graceMs: 10 } })
    gateway.assign("l1", { timeoutMs: 20 })
    await gateway.until(() => isSettled("l1"))
    expect(failure("l1").reason).toBe("timed_out")
    await gateway.until(() => retires().length === 1)
  })

  test("that answers within its grace has answered", async () => {
    const late = app(
      (_call, { signal }) =>
        new Promise((resolve) => signal.addEventListener("abort", () => resolve(ok()))),
    )
    startRunner([late])
    gateway.assign("l1", { timeoutMs: 20 })
    await gateway.until(() => isSettled("l1"))
    expect(gateway.lease("l1").outcome).toMatchObject({ type: "done", status: 200 })
  })

  test("that is cancelled before its time is over fails as aborted, not as timed out", async () => {
    const gate = new Gate(false)
    startRunner([gate.app], { timing: { graceMs: 60 } })
    gateway.assign("l1", { timeoutMs: 30 })
    await gateway.until(() => gateway.leases.get("l1")?.accepted === true)
    gateway.send({ type: "cancel", lease: "l1", reason: "client_cancelled" })
    await gateway.until(() => isSettled("l1"))
    expect(failure("l1").reason).toBe("aborted")
  })

  test("keeps its log within the request's limit, with one mark", async () => {
    startRunner([
      app((_call, context) => {
        for (let line = 0; line < 100; line += 1) context.log("0123456789")
        return ok()
      }),
    ])
    gateway.assign("l1", { logBytesMax: 55 })
    await gateway.until(() => isSettled("l1"))
    expect(gateway.logs("l1")).toHaveLength(6)
    expect(gateway.logs("l1").at(-1)).toContain("cut here")
  })

  test("drops what it cannot keep and says how much (the gateway stores nothing)", async () => {
    gateway.autoStore = false
    const line = "x".repeat(30_000)
    startRunner([
      app((_call, context) => {
        for (let count = 0; count < 50; count += 1) context.log(line)
        return ok()
      }),
    ])
    gateway.assign("l1", { logBytesMax: 1e9 })
    await gateway.until(() => isSettled("l1"))
    const logs = gateway.logs("l1")
    const kept = Math.floor(runnerLimits.eventBufferBytesMax / (30_000 + 128))
    expect(logs).toHaveLength(kept + 1)
    expect(logs.at(-1)).toContain(`${50 - kept} events were dropped`)
  })

  test("has what its code prints in its own log, and other output where it was", async () => {
    const outside: unknown[] = []
    const target = { ...console, log: (...values: unknown[]) => outside.push(...values) } as Console
    const restore = captureConsole(target)
    startRunner(
      [
        app(async ({ input }) => {
          const name = Buffer.from(input).toString()
          target.log("hello from %s", name)
          await new Promise((resolve) => setImmediate(resolve))
          target.error("late", name)
          return ok()
        }),
      ],
      { slots: 2 },
    )
    gateway.assign("l1", { input: Buffer.from("one") })
    gateway.assign("l2", { input: Buffer.from("two") })
    target.log("mine")
    await gateway.until(() => isSettled("l1") && isSettled("l2"))
    restore()
    expect(gateway.logs("l1")).toEqual(["hello from one", "late one"])
    expect(gateway.logs("l2")).toEqual(["hello from two", "late two"])
    expect(gateway.lease("l1").received.map((event) => "level" in event && event.level)).toEqual([
      "STDOUT",
      "STDERR",
    ])
    expect(outside).toEqual(["mine"])
  })
})

describe("credits", () => {
  test("are the free slots, and never more with what runs", async () => {
    let running = 0
    let most = 0
    gateway.running = () => running
    startRunner(
      [
        app(async () => {
          running += 1
          most = Math.max(most, running)
          await new Promise((resolve) => setImmediate(resolve))
          running -= 1
          return ok()
        }),
      ],
      { slots: 3 },
    )
    for (let count = 0; count < 40; count += 1) gateway.assign(`l${count}`)
    await gateway.until(() => gateway.leases.size === 40 && isSettled("l39"))
    await gateway.until(() => [...gateway.leases.keys()].every(isSettled))
    expect(most).toBe(3)
    expect(gateway.promisedMax).toBe(3)
  })

  test("do not come back while an attempt from before the cut holds its slot", async () => {
    const gate = new Gate()
    startRunner([gate.app], { slots: 2 })
    gateway.assign("l1")
    await gateway.until(() => gateway.leases.get("l1")?.accepted === true)
    gateway.cut()
    await gateway.until(() => gateway.hellos.length === 2 && gateway.credits > 0)
    expect(gateway.credits).toBe(1)
  })

  test("end with a drain", async () => {
    const gate = new Gate()
    startRunner([gate.app])
    gateway.assign("l1")
    await gateway.until(() => gateway.leases.get("l1")?.accepted === true)
    gateway.send({ type: "drain", deadlineMs: 1_000 })
    gateway.send({ type: "ping", at: 1 })
    await gateway.until(() => gateway.frames.some((frame) => frame.type === "pong"))
    gate.calls[0]!.finish()
    await gateway.until(() => isSettled("l1"))
    gateway.send({ type: "ping", at: 2 })
    await gateway.until(() => gateway.frames.some((frame) => "at" in frame && frame.at === 2))
    expect(gateway.credits).toBe(0)
  })

  test("that were not given make an attempt wait for its slot", async () => {
    const gate = new Gate()
    startRunner([gate.app])
    gateway.assign("l1")
    await gateway.until(() => gateway.leases.get("l1")?.accepted === true)
    gateway.leases.set("l2", { ...gateway.lease("l1"), assign: assignFrame("l2"), accepted: false })
    gateway.send(assignFrame("l2"))
    gateway.send({ type: "ping", at: 1 })
    await gateway.until(() => gateway.frames.some((frame) => frame.type === "pong"))
    expect(gate.calls).toHaveLength(1)
    gate.calls[0]!.finish()
    await gateway.until(() => gateway.lease("l2").accepted)
    expect(gate.calls).toHaveLength(2)
  })
})

describe("the link", () => {
  test("takes up an attempt after a cut with what was not stored", async () => {
    gateway.autoStore = false
    const gate = new Gate()
    startRunner([gate.app])
    gateway.assign("l1")
    await gateway.until(() => gate.calls.length === 1)
    gate.calls[0]!.context.log("stored")
    await gateway.until(() => gateway.lease("l1").received.length === 1)
    gateway.store("l1")
    gate.calls[0]!.context.log("lost in the crash")
    await gateway.until(() => gateway.lease("l1").received.length === 2)
    await gateway.crash()
    gate.calls[0]!.context.log("said while there was no link")
    await gateway.listen()
    await gateway.until(() => gateway.lease("l1").received.length === 3)
    expect(gateway.logs("l1")).toEqual([
      "stored",
      "lost in the crash",
      "said while there was no link",
    ])
    expect(gateway.hellos[1]!.session).toBe(gateway.hellos[0]!.session)
    expect(gateway.hellos[1]!.held).toEqual([{ lease: "l1", attempt: 1, nextSeq: 4 }])
    expect(gate.calls).toHaveLength(1)
  })

  test("says an outcome again until it is settled", async () => {
    gateway.autoSettle = false
    startRunner([app(() => ok("[1]"))])
    gateway.assign("l1")
    await gateway.until(() => gateway.leases.get("l1")?.outcomesReceived === 1)
    await gateway.crash()
    await gateway.listen()
    await gateway.until(() => gateway.lease("l1").outcomesReceived === 2)
    expect(gateway.hellos[1]!.unacked).toEqual(["l1"])
    gateway.settle("l1")
    gateway.cut()
    await gateway.until(() => gateway.hellos.length === 3)
    expect(gateway.hellos[2]!.held).toEqual([])
  })

  test("aborts what the gateway abandons, and says no more of it", async () => {
    const gate = new Gate()
    startRunner([gate.app])
    gateway.assign("l1")
    await gateway.until(() => gate.calls.length === 1)
    gateway.abandoned.add("l1")
    gateway.cut()
    await gateway.until(() => gateway.credits === 1)
    expect(gate.calls[0]!.context.signal.aborted).toBe(true)
    expect(gateway.lease("l1").outcomesReceived).toBe(0)
  })

  test("takes a new session when the gateway has ended this one", async () => {
    const gate = new Gate()
    startRunner([gate.app])
    gateway.assign("l1")
    await gateway.until(() => gate.calls.length === 1)
    gateway.closeLink(1000, "expired")
    await gateway.until(() => gateway.hellos.length === 2)
    expect(gateway.hellos[1]!.session).not.toBe(gateway.hellos[0]!.session)
    expect(gateway.hellos[1]!.held).toEqual([])
    expect(gate.calls[0]!.context.signal.aborted).toBe(true)
  })

  test("that is missing for orphanMs ends everything", async () => {
    gateway.orphanMs = 30
    const gate = new Gate()
    const runner = startRunner([gate.app])
    gateway.assign("l1")
    await gateway.until(() => gate.calls.length === 1)
    await gateway.crash()
    expect(await runner.ended).toBe("orphaned")
    expect(gate.calls[0]!.context.signal.aborted).toBe(true)
  })

  test("that is missing for orphanMs makes a remote runner start anew", async () => {
    gateway.orphanMs = 30
    const gate = new Gate()
    startRunner([gate.app], { orphaned: "dial" })
    gateway.assign("l1")
    await gateway.until(() => gate.calls.length === 1)
    await gateway.crash()
    const { signal } = gate.calls[0]!.context
    await new Promise((resolve) => signal.addEventListener("abort", resolve))
    await gateway.listen()
    await gateway.until(() => gateway.hellos.length === 2)
    expect(gateway.hellos[1]!.session).not.toBe(gateway.hellos[0]!.session)
  })

  test("ends the runner with it where nobody could adopt it", async () => {
    const runner = startRunner([app(() => ok())], { linkLoss: "exit" })
    await gateway.until(() => gateway.credits === 1)
    gateway.cut()
    expect(await runner.ended).toBe("link_lost")
  })

  test("that is silent is dropped and dialled again", async () => {
    startRunner([app(() => ok())], { timing: { silenceMs: 30 } })
    await gateway.until(() => gateway.hellos.length === 3)
    expect(gateway.hellos[2]!.session).toBe(gateway.hellos[0]!.session)
  })

  test.each([
    ["bytes that are no frames", () => gateway.sendRaw(Buffer.from("hello"))],
    [
      "a second welcome",
      () => gateway.send({ type: "welcome", keep: [], abandon: [], orphanMs: 1 }),
    ],
    [
      "settled without an outcome",
      () => gateway.send({ type: "settled", lease: "l1", result: "stale" }),
    ],
    [
      "assigns beyond all slots",
      () => gateway.send(assignFrame("l2"), assignFrame("l3"), assignFrame("l4")),
    ],
  ])("is closed with 1002 for %s, and dialled again", async (_what, say) => {
    const gate = new Gate()
    startRunner([gate.app])
    gateway.assign("l1")
    await gateway.until(() => gate.calls.length === 1)
    say()
    await gateway.until(() => gateway.closes.some(({ code }) => code === 1002))
    await gateway.until(() => gateway.hellos.length === 2)
    expect(gate.calls[0]!.context.signal.aborted).toBe(false)
  })

  test("sends the frames of one tick in one message", async () => {
    startRunner([
      app((_call, context) => {
        context.log("one")
        context.log("two")
        return ok()
      }),
    ])
    gateway.assign("l1")
    await gateway.until(() => isSettled("l1"))
    // That it was begun goes before: an app that never yields would hold it back for ever.
    const told = gateway.messages.slice(-2)
    expect(told).toEqual([["accepted"], ["event", "event", "done", "credit"]])
  })

  test("answers exit by ending, and a drain of the process by finishing first", async () => {
    const idle = startRunner([app(() => ok())])
    await gateway.until(() => gateway.credits === 1)
    gateway.send({ type: "exit" })
    expect(await idle.ended).toBe("exit")
    const gate = new Gate()
    const busy = startRunner([gate.app], { timing: { drainMs: 5_000 } })
    gateway.assign("l1")
    await gateway.until(() => gate.calls.length === 1)
    busy.drain()
    gate.calls[0]!.finish()
    expect(await busy.ended).toBe("drained")
    expect(gateway.lease("l1").settledCount).toBe(1)
  })
})

describe("a transfer", () => {
  test("fetches an input and puts an output that do not fit on the link", async () => {
    startRunner([app(({ input }) => ok(Buffer.concat([input, input])))])
    gateway.assign("l1", { input: null, inputBytes: 300_000 })
    await gateway.until(() => isSettled("l1"))
    expect(gateway.lease("l1").outcome).toMatchObject({ type: "done", body: null })
    expect(gateway.lease("l1").output?.equals(Buffer.alloc(600_000, "i"))).toBe(true)
  })

  test("is repeated while the gateway is down, and the body of an answer put again after it", async () => {
    startRunner([
      app(async (_call, context) => {
        const file = await context.file(Buffer.from("picture"), "image/png")
        return ok(JSON.stringify({ file, filler: "f".repeat(200_000) }))
      }),
    ])
    gateway.autoSettle = false
    let faults = 3
    gateway.transferFault = () => ([503, "reset", 429] as const)[--faults] ?? null
    gateway.assign("l1")
    await gateway.until(() => gateway.leases.get("l1")?.outcomesReceived === 1)
    await gateway.crash()
    expect(gateway.lease("l1").output).toBe(null)
    gateway.autoSettle = true
    await gateway.listen()
    await gateway.until(() => isSettled("l1"))
    const answer: { file: { url: string } } = JSON.parse(gateway.lease("l1").output!.toString())
    const { file } = answer
    expect(file).toMatchObject({ content_type: "image/png", file_size: 7 })
    expect(file.url).toMatch(/^http:\/\/127.0.0.1:3250\/files\/b\/[0-9a-f]{8}\/[\w-]{22}\.png$/)
    const name = file.url.slice("http://127.0.0.1:3250/files/".length)
    expect(gateway.files.get(name)).toMatchObject({ type: "image/png" })
  })

  test("of a lease that is not held aborts the attempt", async () => {
    startRunner([
      app((_call, context) => context.file(Buffer.from("x"), "image/png").then(() => ok())),
    ])
    gateway.transferFault = () => 401
    gateway.assign("l1")
    await gateway.until(() => isSettled("l1"))
    expect(failure("l1").reason).toBe("aborted")
  })

  test("of an answer that is too large makes the attempt fail", async () => {
    startRunner([app(() => ok(Buffer.alloc(300_000)))])
    gateway.transferFault = () => 413
    gateway.assign("l1")
    await gateway.until(() => isSettled("l1"))
    expect(failure("l1").reason).toBe("incomplete_response")
  })

  test("ends with the attempt, however long the gateway is away", async () => {
    startRunner([
      app((_call, context) => context.file(Buffer.from("x"), "image/png").then(() => ok())),
    ])
    gateway.transferFault = () => 503
    gateway.assign("l1")
    await gateway.until(() => gateway.transfers.length > 2)
    gateway.send({ type: "cancel", lease: "l1", reason: "client_cancelled" })
    await gateway.until(() => isSettled("l1"))
    expect(failure("l1").reason).toBe("aborted")
  })

  test("reads our own files for fetchMedia, under any name of this machine", async () => {
    gateway.files.set("b/12345678/x.png", { bytes: Buffer.from("ours"), type: "image/png" })
    const asked = [
      "http://localhost:3250/files/b/12345678/x.png",
      "https://own.example/files/b/12345678/x.png",
      "http://127.0.0.1:3999/files/b/12345678/x.png",
      "http://127.0.0.1:3250/other/x.png",
    ]
    const found: string[] = []
    const asking = app(async (_call, context) => {
      for (const url of asked) found.push(await ask(context, url, 100))
      found.push(await ask(context, asked[0]!, 3))
      return ok()
    })
    startRunner([asking], { ownOrigins: ["https://own.example"] })
    gateway.assign("l1")
    await gateway.until(() => isSettled("l1"))
    const foreign = "file_download_error"
    expect(found).toEqual(["ours", "ours", foreign, foreign, "file_too_large"])
    expect(gateway.transfers).toHaveLength(3)
  })
})

describe("resume", () => {
  test.each([1, 2, 3, 4, 5, 6])("loses nothing, cut at random frames (seed %i)", async (seed) => {
    const random = mulberry32(seed)
    const said = new Map<string, string[]>()
    const starts = new Map<string, number>()
    let running = 0
    let most = 0
    const work: Work = async ({ input }, context) => {
      const lease = Buffer.from(input).toString()
      starts.set(lease, (starts.get(lease) ?? 0) + 1)
      most = Math.max(most, (running += 1))
      const lines: string[] = []
      said.set(lease, lines)
      for (let line = Math.floor(random() * 12); line > 0; line -= 1) {
        lines.push(`${lease} ${line}`)
        context.log(`${lease} ${line}`)
        if (random() < 0.4) await new Promise((resolve) => setTimeout(resolve, random() * 4))
      }
      running -= 1
      if (random() < 0.2) throw new Error("sometimes")
      return ok(random() < 0.2 ? Buffer.alloc(150_000) : "[]")
    }
    gateway.running = () => running
    gateway.autoStore = false
    gateway.cutBefore = () => random() < 0.04
    gateway.cutAfter = (frame) => {
      if (frame.type === "event" && random() < 0.3) gateway.store(frame.lease)
      if (random() >= 0.04) return false
      if (random() < 0.5) gateway.forgetUnstored()
      return true
    }
    gateway.transferFault = () => (random() < 0.2 ? 503 : null)
    startRunner([app(work)], { slots: 4, random })
    const leases = Array.from({ length: 40 }, (_, index) => `lease-${index}`)
    for (const lease of leases) gateway.assign(lease, { input: Buffer.from(lease) })
    await gateway.until(() => leases.every(isSettled), `all settled (seed ${seed})`)
    expect(gateway.hellos.length).toBeGreaterThan(3)
    for (const lease of leases) {
      const { received, settledCount, outcome, output } = gateway.lease(lease)
      expect(starts.get(lease)).toBe(1)
      expect(settledCount).toBe(1)
      expect(received.map(({ seq }: AttemptEvent) => seq)).toEqual(received.map((_, i) => i + 1))
      const lines = gateway.logs(lease).filter((line) => line.startsWith("lease-"))
      expect(lines).toEqual(said.get(lease))
      const isTransferred = outcome?.type === "done" && outcome.body === null
      expect(output?.length).toBe(isTransferred ? 150_000 : undefined)
    }
    expect(most).toBeLessThanOrEqual(4)
    expect(gateway.promisedMax).toBeLessThanOrEqual(4)
  })
})

async function ask(context: RunContext, url: string, bytesMax: number): Promise<string> {
  try {
    return Buffer.from((await context.fetchMedia(url, { bytesMax })).bytes).toString()
  } catch (error) {
    return isModelError(error) ? error.item.type : String(error)
  }
}

function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
