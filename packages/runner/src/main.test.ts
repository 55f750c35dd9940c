import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { FakeGateway } from "./fake-gateway.suite.ts"
import { processStartTime, readIdentity } from "./process/process-identity.ts"
import { type RunnerCommand, secretVariable, toArguments } from "./process/runner-command.ts"

const entry = new URL("main.ts", import.meta.url).pathname
const appPackage = new URL("../../app/src/index.ts", import.meta.url).href

/** Waits for its signal when it is asked to, and tells of its environment. */
const appModule = `
import { defineApp } from ${JSON.stringify(appPackage)}
export default defineApp({
  id: "local/test",
  endpoints: {
    "/": {
      raw: async (input, context) => {
        console.log("the secret is", process.env.${secretVariable})
        if (Buffer.from(input).toString() === '"wait"') {
          await new Promise((resolve) => setTimeout(resolve, 300))
        }
        return input
      },
    },
  },
})
`

let gateway: FakeGateway
let folder: string
const children: ChildProcess[] = []
/** What the runners wrote to stderr. */
let complaints = ""

beforeEach(async () => {
  complaints = ""
  gateway = new FakeGateway()
  await gateway.start()
  folder = await mkdtemp(join(tmpdir(), "tintype-main-"))
  await writeFile(join(folder, "app.mjs"), appModule)
})

afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL")
  await gateway.close()
  await rm(folder, { recursive: true, force: true })
})

function startRunner(fields: Partial<RunnerCommand> = {}): ChildProcess {
  const command: RunnerCommand = {
    socket: gateway.socketPath,
    identity: join(folder, "runner.json"),
    build: "build-1",
    slots: 2,
    apps: [join(folder, "app.mjs")],
    ownOrigins: [],
    graceMs: 10_000,
    linkLoss: "resume",
    allowPrivateTargets: false,
    ...fields,
  }
  const flags = ["--conditions=tintype-source", "--disable-warning=ExperimentalWarning", entry]
  const child = spawn(process.execPath, [...flags, ...toArguments(command)], {
    env: { ...process.env, [secretVariable]: gateway.secret },
    stdio: ["ignore", "ignore", "pipe"],
  })
  child.stderr.on("data", (text: Buffer) => (complaints += text.toString()))
  children.push(child)
  return child
}

async function exitCode(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "close")
  return child.exitCode
}

test("a runner process hosts the apps of a module and knows its secret alone", async () => {
  const child = startRunner()
  gateway.assign("l1", { input: Buffer.from("[1]") })
  await gateway.until(() => gateway.leases.get("l1")?.settledCount === 1)
  expect(gateway.logs("l1")).toEqual(["the secret is undefined"])
  const identity = await readIdentity(join(folder, "runner.json"))
  expect(identity).toEqual({
    pid: child.pid,
    startedAt: await processStartTime(child.pid!),
    build: "build-1",
    socket: gateway.socketPath,
  })
  expect((await stat(join(folder, "runner.json"))).mode & 0o777).toBe(0o600)
  expect(gateway.hellos[0]).toMatchObject({
    slots: 2,
    apps: ["local/test"],
    runner: { pid: child.pid, startedAt: identity!.startedAt, build: "build-1" },
  })
  gateway.send({ type: "exit" })
  expect(await exitCode(child)).toBe(0)
})

test("a runner process ignores SIGINT and finishes its attempts after SIGTERM", async () => {
  const child = startRunner()
  gateway.assign("l1", { input: Buffer.from('"wait"') })
  await gateway.until(() => gateway.leases.get("l1")?.accepted === true)
  child.kill("SIGINT")
  child.kill("SIGTERM")
  expect(await exitCode(child)).toBe(0)
  expect(gateway.lease("l1").outcome).toMatchObject({ type: "done", status: 200 })
})

test("a second runner process leaves the first one's place alone", async () => {
  const first = startRunner()
  await gateway.until(() => gateway.credits === 2)
  expect(await exitCode(startRunner())).toBe(73)
  expect((await readIdentity(join(folder, "runner.json")))?.pid).toBe(first.pid)
  expect(gateway.hellos).toHaveLength(1)
})

test("a runner process that nobody could adopt ends with its link", async () => {
  const child = startRunner({ linkLoss: "exit" })
  await gateway.until(() => gateway.credits === 2)
  gateway.cut()
  expect(await exitCode(child)).toBe(0)
})

test("a runner process whose module has no apps says so and fails", async () => {
  await writeFile(join(folder, "app.mjs"), "export default 1")
  expect(await exitCode(startRunner())).toBe(1)
  expect(complaints).toContain("exports no apps")
})
