import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  type RunnerCommand,
  isAlive,
  processStartTime,
  readIdentity,
  runnerLimits,
  toArguments,
} from "@tintype/runner/supervision"
import { afterEach, beforeEach, expect, test } from "vitest"
import { LocalRunner, type LocalRunnerOptions } from "./local-runner.ts"

const identityModule = new URL("../../../runner/src/process/process-identity.ts", import.meta.url)
  .href

/** Stands for the runner: takes the identity file or leaves, says so in a file, then lives until it is told. */
const script = `
import { appendFileSync } from "node:fs"
import { createIdentity, processStartTime } from ${JSON.stringify(identityModule)}
const flag = (name) => process.argv[process.argv.indexOf(name) + 1]
const identity = flag("--identity")
if (process.env.STUBBORN === "1") process.on("SIGTERM", () => {})
const startedAt = await processStartTime(process.pid)
const taken = !(await createIdentity(identity, {
  pid: process.pid, startedAt, build: flag("--build"), socket: flag("--socket"),
}))
if (taken) process.exit(73)
console.log("the secret has", process.env.TINTYPE_RUNNER_SECRET?.length, process.env.TINTYPE_KEY)
appendFileSync(identity + ".starts", process.pid + "\\n")
setInterval(() => {}, 1000)
`

let folder: string
let entry: string
const runners: LocalRunner[] = []
const strangers: ChildProcess[] = []
/** Set by every log entry and exit, so that waiting needs no sleep. */
let wake: (() => void)[] = []
let logged: Record<string, unknown>[] = []
let exits: number[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tintype-runner-"))
  entry = join(folder, "entry.mjs")
  await writeFile(entry, script)
  logged = []
  exits = []
  wake = []
})

afterEach(async () => {
  for (const runner of runners.splice(0)) await runner.stop(0)
  for (const stranger of strangers.splice(0)) stranger.kill("SIGKILL")
  await rm(folder, { recursive: true, force: true })
})

function command(): RunnerCommand {
  return {
    socket: join(folder, "link.sock"),
    identity: join(folder, "runner.json"),
    build: "build-1",
    slots: 1,
    apps: [],
    ownOrigins: [],
    graceMs: 10_000,
    linkLoss: "resume",
    allowPrivateTargets: false,
  }
}

function supervise(options: Partial<LocalRunnerOptions> = {}): LocalRunner {
  const runner = new LocalRunner({
    command: command(),
    secret: "12345",
    logFile: join(folder, "runner.log"),
    adoptMs: 100,
    entry: { path: entry, nodeFlags: ["--disable-warning=ExperimentalWarning"] },
    onExit: (pid) => {
      exits.push(pid)
      for (const look of wake) look()
    },
    log: (line) => {
      logged.push(line)
      for (const look of wake) look()
    },
    ...options,
  })
  runners.push(runner)
  return runner
}

async function until(condition: () => boolean): Promise<void> {
  if (condition()) return
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`never: ${condition.toString()}`)), 15_000)
    wake.push(() => {
      if (!condition()) return
      clearTimeout(timer)
      resolve()
    })
  })
}

/** The runner says who it is some time after it was spawned: its files are what tells. */
async function untilIdentity(pid?: number): Promise<{ pid: number; startedAt: string }> {
  for (;;) {
    const identity = await readIdentity(join(folder, "runner.json"))
    if (identity !== null && (pid ?? identity.pid) === identity.pid) {
      if ((await starts()).includes(identity.pid)) return identity
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function started(runner: LocalRunner): Promise<{ pid: number; startedAt: string }> {
  await runner.start()
  return await untilIdentity(runner.pid!)
}

async function starts(): Promise<number[]> {
  const text = await readFile(join(folder, "runner.json.starts"), "utf8").catch(() => "")
  return text.trim().split("\n").map(Number)
}

/** A runner whose server has crashed: nobody supervises it. */
async function orphan(build = "build-1"): Promise<{ pid: number; startedAt: string }> {
  const flags = ["--disable-warning=ExperimentalWarning"]
  const given = toArguments({ ...command(), build })
  const child = spawn(process.execPath, [...flags, entry, ...given], { detached: true })
  strangers.push(child)
  await once(child, "spawn")
  return await untilIdentity(child.pid)
}

test("a runner that is blocked or stopped is killed, and another one started", async () => {
  const runner = supervise({ environment: { STUBBORN: "1" } })
  const first = await started(runner)
  runner.kill(first.pid + 1)
  expect(await isAlive(first)).toBe(true)
  process.kill(first.pid, "SIGSTOP")
  runner.kill(first.pid)
  await until(() => exits.includes(first.pid))
  await until(() => runner.pid !== null)
  const second = await untilIdentity(runner.pid!)
  expect(second.pid).not.toBe(first.pid)
  expect(await isAlive(first)).toBe(false)
  expect(logged).toContainEqual(expect.objectContaining({ event: "runner_killed" }))
})

test("a runner is started detached, with its secret, its log and a private identity file", async () => {
  process.env["TINTYPE_KEY"] = "id:secret"
  const runner = supervise()
  const { pid } = await started(runner)
  delete process.env["TINTYPE_KEY"]
  expect((await stat(join(folder, "runner.json"))).mode & 0o777).toBe(0o600)
  expect((await stat(join(folder, "runner.log"))).mode & 0o777).toBe(0o600)
  // Its process group is its own, so a terminal's SIGINT does not reach it: there is a group to signal.
  expect(process.kill(-pid, 0)).toBe(true)
  await runner.stop(0)
  expect(await readFile(join(folder, "runner.log"), "utf8")).toContain("the secret has 5 undefined")
})

test("a living runner of our build is adopted once it says hello, and watched", async () => {
  const identity = await orphan()
  const runner = supervise({ adoptMs: 60_000 })
  const adopted = runner.start()
  runner.onHello(process.pid)
  runner.onHello(identity.pid)
  await adopted
  expect(runner.pid).toBe(identity.pid)
  expect(await starts()).toEqual([identity.pid])
  process.kill(identity.pid, "SIGKILL")
  await until(() => exits.includes(identity.pid))
  await until(() => runner.pid !== null && runner.pid !== identity.pid)
  await untilIdentity(runner.pid!)
  expect(await starts()).toEqual([identity.pid, runner.pid])
})

test("a hello that came before start counts", async () => {
  const { pid } = await orphan()
  const runner = supervise({ adoptMs: 60_000 })
  runner.onHello(pid)
  await runner.start()
  expect(runner.pid).toBe(pid)
})

test("an adopted runner is ended by stop too", async () => {
  const identity = await orphan()
  const runner = supervise()
  runner.onHello(identity.pid)
  await runner.start()
  await runner.stop(0)
  expect(await isAlive(identity)).toBe(false)
})

test.each([
  ["that says no hello", "build-1", "silent"],
  ["of another build", "build-0", "another build"],
])("a living runner %s is ended before another is started", async (_what, build, why) => {
  const identity = await orphan(build)
  const runner = supervise()
  if (build === "build-0") runner.onHello(identity.pid)
  const next = await started(runner)
  expect(logged).toContainEqual({ event: "runner_ended", pid: identity.pid, why })
  expect(await isAlive(identity)).toBe(false)
  expect(exits).toEqual([identity.pid])
  expect(await starts()).toEqual([identity.pid, next.pid])
})

test("a runner that ignores SIGTERM is killed", async () => {
  process.env["STUBBORN"] = "1"
  const runner = supervise()
  const identity = await started(runner)
  delete process.env["STUBBORN"]
  await runner.stop(0)
  expect(await isAlive(identity)).toBe(false)
})

test("a stranger that was given the pid in the identity file is left alone", async () => {
  const stranger = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"])
  strangers.push(stranger)
  await once(stranger, "spawn")
  const file = { pid: stranger.pid, startedAt: "long ago", build: "build-0", socket: "" }
  await writeFile(join(folder, "runner.json"), JSON.stringify(file))
  await started(supervise())
  expect(stranger.exitCode).toBe(null)
  expect(stranger.signalCode).toBe(null)
  expect(await processStartTime(stranger.pid!)).not.toBe(null)
})

test("an identity file that nobody can read does not keep a runner from starting", async () => {
  await writeFile(join(folder, "runner.json"), "")
  const { pid } = await started(supervise())
  expect(await starts()).toEqual([pid])
})

test("two servers' runners that start at once leave one, and it is adopted", async () => {
  // The first server dies between the spawn and the identity file: here nobody told its successor of it.
  const first = supervise()
  const second = supervise({ adoptMs: 5_000 })
  await Promise.all([first.start(), second.start()])
  await until(() => logged.some(({ how }) => how === "code 73"))
  const identity = await untilIdentity()
  first.onHello(identity.pid)
  second.onHello(identity.pid)
  await until(() => first.pid === identity.pid && second.pid === identity.pid)
  expect(await starts()).toEqual([identity.pid])
})

test("a runner that dies is told of once and started again", async () => {
  const runner = supervise()
  const { pid } = await started(runner)
  process.kill(pid, "SIGKILL")
  await until(() => exits.length > 0)
  await until(() => runner.pid !== null)
  const next = await untilIdentity(runner.pid!)
  expect(next.pid).not.toBe(pid)
  expect(exits).toEqual([pid])
})

test("stop leaves nothing: no process, no file, no restart", async () => {
  const runner = supervise()
  const identity = await started(runner)
  await runner.stop(10)
  expect(await isAlive(identity)).toBe(false)
  expect(await readIdentity(join(folder, "runner.json"))).toBe(null)
  expect(runner.pid).toBe(null)
  expect(logged.filter(({ event }) => event === "runner_started")).toHaveLength(1)
})

test("a runner that cannot be started is tried again (no such script)", async () => {
  await rm(entry)
  const runner = supervise()
  await runner.start()
  await until(() => logged.filter(({ event }) => event === "runner_gone").length >= 2)
  await writeFile(entry, script)
  await until(() => runner.pid !== null)
  const { pid } = await untilIdentity()
  expect(await starts()).toEqual([pid])
})

test("a log that has grown large is put aside at the next start", async () => {
  await writeFile(join(folder, "runner.log"), "old")
  await truncate(join(folder, "runner.log"), runnerLimits.logFileBytesMax + 1)
  await started(supervise())
  expect((await stat(join(folder, "runner.log.1"))).size).toBe(runnerLimits.logFileBytesMax + 1)
  expect((await stat(join(folder, "runner.log"))).size).toBeLessThan(10_000)
})
