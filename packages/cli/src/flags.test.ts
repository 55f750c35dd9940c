import { configFlags } from "@tintype/server"
import { describe, expect, test } from "vitest"
import { modelsFlags } from "./commands/models.ts"
import { runFlags } from "./commands/run.ts"
import { runnerFlags } from "./commands/runner.ts"
import { serveFlags } from "./commands/serve.ts"
import { parseFlags } from "./flags.ts"
import { UsageError } from "./terminal.ts"

describe("parseFlags", () => {
  test("flags and words may stand in any order", () => {
    const parsed = parseFlags(
      ["fal-ai/flux/dev", "--out", "pictures", "prompt=a cat", "-q"],
      runFlags,
    )
    expect(parsed.words).toEqual(["fal-ai/flux/dev", "prompt=a cat"])
    expect(parsed.strings).toEqual({ out: "pictures" })
    expect([...parsed.booleans]).toEqual(["quiet"])
  })

  test("a flag that may be given again keeps all of its values, in their order", () => {
    const parsed = parseFlags(
      ["--app", "a", "--slots", "2", "--app=b", "--slots", "3"],
      runnerFlags,
    )
    expect(parsed.lists).toEqual({ app: ["a", "b"] })
    expect(parsed.strings).toEqual({ slots: "3" })
  })

  test("after -- everything is a word", () => {
    expect(parseFlags(["--", "--json"], runFlags).words).toEqual(["--json"])
  })

  test("an unknown flag is named with the nearest", () => {
    expect(() => parseFlags(["--qiet"], runFlags)).toThrow(
      new UsageError("Unknown flag --qiet; did you mean --quiet?"),
    )
    expect(() => parseFlags(["--frobnicate"], modelsFlags)).toThrow("Unknown flag --frobnicate")
    expect(() => parseFlags(["--constructor"], modelsFlags)).toThrow("Unknown flag --constructor")
  })

  test("a flag without its value, or with one too many, is refused", () => {
    expect(() => parseFlags(["--out"], runFlags)).toThrow("--out needs a value")
    expect(() => parseFlags(["--out="], runFlags)).toThrow("--out needs a value")
    expect(() => parseFlags(["--json=yes"], runFlags)).toThrow("--json takes no value")
  })
})

test("tintype serve has a flag for every setting that is not for the file and variables alone", () => {
  const internal = /^(runner-local|engines|diffusion-.*)$/
  const known = configFlags.filter((flag) => !internal.test(flag))
  expect(Object.keys(serveFlags).toSorted()).toEqual(known.toSorted())
})
