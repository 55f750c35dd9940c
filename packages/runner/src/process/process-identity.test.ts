import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { buildId } from "./build-id.ts"
import {
  createIdentity,
  isAlive,
  processStartTime,
  readIdentity,
  signalProcess,
} from "./process-identity.ts"

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tintype-identity-"))
})

afterEach(() => rm(folder, { recursive: true, force: true }))

test("a process has one start time while it lives, and none after", async () => {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"])
  await once(child, "spawn")
  const pid = child.pid!
  const startedAt = await processStartTime(pid)
  expect(startedAt).not.toBe(null)
  expect(await processStartTime(pid)).toBe(startedAt)
  expect(await isAlive({ pid, startedAt: startedAt! })).toBe(true)
  expect(await isAlive({ pid, startedAt: "another" })).toBe(false)
  expect(await signalProcess({ pid, startedAt: "another" }, "SIGKILL")).toBe(false)
  expect(await signalProcess({ pid, startedAt: startedAt! }, "SIGKILL")).toBe(true)
  await once(child, "exit")
  expect(await processStartTime(pid)).toBe(null)
  expect(await processStartTime(-1)).toBe(null)
})

test.runIf(process.platform === "linux")(
  "a corpse that its parent does not bury is dead (Linux)",
  async () => {
    // The shell's child ends at once, and the shell becomes a program that never waits for it.
    const parent = spawn("sh", ["-c", "sleep 0 & echo $!; exec sleep 60"])
    const [line]: Buffer[] = await once(parent.stdout, "data")
    const pid = Number(String(line))
    const isCorpse = async () => {
      const stat = await readFile(`/proc/${pid}/stat`, "latin1")
      return stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z")
    }
    while (!(await isCorpse())) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(await processStartTime(pid)).toBe(null)
    parent.kill("SIGKILL")
  },
)

test("the identity file is created once, by one of many", async () => {
  const file = join(folder, "runner.json")
  expect(await readIdentity(file)).toBe(null)
  const identities = [1, 2, 3, 4, 5].map((pid) => ({
    pid,
    startedAt: `at ${pid}`,
    build: "b",
    socket: "s",
  }))
  const created = await Promise.all(identities.map((identity) => createIdentity(file, identity)))
  expect(created.filter(Boolean)).toHaveLength(1)
  expect(await readIdentity(file)).toEqual(identities[created.indexOf(true)])
  expect(await readdir(folder)).toEqual(["runner.json"])
})

test("an identity file that names no process is told apart from none", async () => {
  const file = join(folder, "runner.json")
  for (const text of ["", "{}", "null", '{"pid":"1"}']) {
    await writeFile(file, text)
    await expect(readIdentity(file)).rejects.toThrow(/JSON|process|null/)
  }
})

test("a build is the same for the same code, and another after a change", async () => {
  await writeFile(join(folder, "a.ts"), "1")
  const first = await buildId("0.1.0", [folder])
  expect(await buildId("0.1.0", [folder])).toBe(first)
  expect(await buildId("0.1.1", [folder])).not.toBe(first)
  await writeFile(join(folder, "a.ts"), "22")
  expect(await buildId("0.1.0", [folder])).not.toBe(first)
  expect(first).toMatch(/^[0-9a-f]{16}$/)
})
