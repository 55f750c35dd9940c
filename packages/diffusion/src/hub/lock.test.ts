import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { withLock } from "./lock.ts"

const work = async () => "done"

/** Takes the lock, says so, and keeps it. */
const holding = `
  const { withLock } = await import(process.argv[1])
  const rules = { signal: new AbortController().signal, onWait: () => {} }
  await withLock(process.argv[2], rules, async () => {
    console.log("held")
    await new Promise((done) => setTimeout(done, 60_000))
  })
`

test("A lock is gone with the process that held it [kill -9], and a wait for it can be given up", async () => {
  const folder = await mkdtemp(join(tmpdir(), "lock-"))
  const path = join(folder, "lock")
  const source = join(import.meta.dirname, "lock.ts")
  const holder = spawn(process.execPath, ["--input-type=module", "-e", holding, source, path], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  await once(holder.stdout, "data")

  const giving = new AbortController()
  const onWait = () => giving.abort(new Error("given up"))
  await expect(withLock(path, { signal: giving.signal, onWait }, work)).rejects.toThrow(
    /given up|aborted/,
  )

  let waited = false
  const { signal } = new AbortController()
  const kill = () => {
    waited = true
    holder.kill("SIGKILL")
  }
  expect(await withLock(path, { signal, onWait: kill }, work)).toBe("done")
  expect(waited).toBe(true)
  await rm(folder, { recursive: true })
})
