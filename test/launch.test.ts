import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readFile, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { expect, test } from "vitest"

const launcher = resolve(import.meta.dirname, "../scripts/launch.mjs")

interface Launch {
  code: number | null
  starts: number
  err: string
}

/** Launches a program that counts its starts in a file; sends the signal as soon as it says "up". */
async function launch(body: string, signal?: NodeJS.Signals): Promise<Launch> {
  const folder = await mkdtemp(join(tmpdir(), "tintype-launch-"))
  const starts = join(folder, "starts")
  const program = join(folder, "program.mjs")
  const count = `import { appendFileSync } from "node:fs"; appendFileSync(${JSON.stringify(starts)}, "x");`
  await writeFile(program, `${count} ${body}`)
  const call = `import { launch } from ${JSON.stringify(launcher)}
    process.exitCode = await launch(process.execPath, [${JSON.stringify(program)}])`
  const child = spawn(process.execPath, ["--input-type=module", "--eval", call])
  let err = ""
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()))
  child.stdout.on("data", () => signal !== undefined && child.kill(signal))
  await once(child, "close")
  return { code: child.exitCode, starts: (await readFile(starts, "utf8")).length, err }
}

test("a server that ends with 70 is started again, five times a minute at most", async () => {
  const launched = await launch("process.exit(70)")
  expect(launched).toMatchObject({ code: 70, starts: 6 })
  expect(launched.err).toContain("giving up")
})

test("any other exit code is the launcher's own", async () => {
  expect(await launch("process.exit(2)")).toEqual({ code: 2, starts: 1, err: "" })
})

test("a server that was killed counts as its signal", async () => {
  expect(await launch('process.kill(process.pid, "SIGKILL")')).toMatchObject({
    code: 137,
    starts: 1,
  })
})

test("a signal to the shell that npm put in between ends the server as well", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tintype-launch-"))
  const ended = join(folder, "ended")
  const program = join(folder, "program.mjs")
  await writeFile(
    program,
    `import { writeFileSync } from "node:fs"
    process.on("SIGTERM", () => { writeFileSync(${JSON.stringify(ended)}, "by SIGTERM"); process.exit(0) })
    setInterval(() => {}, 1000); console.log("up")`,
  )
  const call = `import { launch } from ${JSON.stringify(launcher)}
    await launch(process.execPath, [${JSON.stringify(program)}])`
  const file = join(folder, "call.mjs")
  await writeFile(file, call)
  // "; true" keeps the shell from turning into the launcher.
  const shell = spawn("sh", ["-c", `"${process.execPath}" "${file}"; true`], {
    env: { ...process.env, npm_lifecycle_event: "start" },
  })
  shell.stdout.on("data", () => shell.kill("SIGTERM"))
  // The launcher and the program hold the pipe: it closes when the last of them has ended.
  await once(shell, "close")
  expect(await readFile(ended, "utf8")).toBe("by SIGTERM")
})

test.each(["SIGINT", "SIGTERM"] as const)(
  "%s is passed on, and nothing starts afterwards",
  async (signal) => {
    const body = `process.on("${signal}", () => process.exit(70)); setInterval(() => {}, 1000); console.log("up")`
    expect(await launch(body, signal)).toMatchObject({ code: 70, starts: 1 })
  },
)
