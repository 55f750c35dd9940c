import { execFile, execFileSync } from "node:child_process"
import { promisify, parseEnv } from "node:util"
import { expect, test } from "vitest"
import { assign, type Shell, shells } from "./shells.ts"

const run = promisify(execFile)

/** What paths and keys may hold, and what shells make something of. */
const values = {
  TT_PLAIN: "127.0.0.1:3251/run",
  TT_SPACE: "/home/a user/.tintype/ca-bundle.pem",
  TT_QUOTE: "it's \"quoted\" \\ twice''",
  TT_CODE: "$(touch /tmp/x) `id` $HOME !1 %PATH% ; # & | * ~",
  TT_UMLAUT: "Prüfung-✓",
}
const names = Object.keys(values)

/** Prints each variable on a line of its own, as the environment of another process has it. */
const show = `process.stdout.write(JSON.stringify(${JSON.stringify(names)}.map((name) => process.env[name])))`

const evaluations: Partial<Record<Shell, [string, (script: string) => string[]]>> = {
  sh: ["sh", (script) => ["-c", `${script}"$NODE" -e '${show}'`]],
  fish: ["fish", (script) => ["--no-config", "-c", `${script}$NODE -e '${show}'`]],
  powershell: ["pwsh", (script) => ["-NoProfile", "-Command", `${script}& $env:NODE -e '${show}'`]],
}

for (const [shell, [program, args]] of Object.entries(evaluations)) {
  const isThere = has(program)
  if (!isThere) console.log(`skipped: variables in ${shell} (there is no ${program})`)
  test.skipIf(!isThere)(`${shell} takes every value as it is`, async () => {
    const script = assign(shell as Shell, values)
    const env = { ...process.env, NODE: process.execPath }
    const { stdout } = await run(program, args(script), { env })
    expect(JSON.parse(stdout)).toEqual(Object.values(values))
  })
}

test("other shells get their own quotes", () => {
  const given = { A: "it's $1 \\" }
  expect(assign("fish", given)).toBe("set -gx A 'it\\'s $1 \\\\'\n")
  expect(assign("powershell", given)).toBe("$env:A = 'it''s $1 \\'\n")
  expect(shells).toEqual(["sh", "fish", "powershell", "dotenv"])
})

test("a file of variables has quotes where they are needed alone, as Docker takes them for a part", () => {
  const { TT_QUOTE: _, ...others } = values
  const text = assign("dotenv", others)
  expect(text.split("\n")[0]).toBe("TT_PLAIN=127.0.0.1:3251/run")
  expect(parseEnv(text)).toEqual(others)
  expect(parseEnv(assign("dotenv", { A: "it's" }))).toEqual({ A: "it's" })
})

function has(program: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}
