import { expect, test } from "vitest"
import { countInterrupts } from "./interrupts.ts"

test("one Ctrl-C that arrives from the terminal, npm and the launcher counts once; a second one counts", () => {
  let now = 1_000
  const seen: number[] = []
  const interrupt = countInterrupts(
    (_, count) => seen.push(count),
    () => now,
  )
  for (const at of [1_000, 1_002, 1_040]) {
    now = at
    interrupt("SIGINT")
  }
  expect(seen).toEqual([1])
  now = 1_400
  interrupt("SIGINT")
  interrupt("SIGTERM")
  expect(seen).toEqual([1, 2])
})
