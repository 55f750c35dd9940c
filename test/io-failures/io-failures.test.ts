import { afterEach, describe, expect, it } from "vitest"
import { chooseSeed, seededRandom } from "../crash/randomness.ts"
import { missingCompiler } from "../durability/tools.ts"
import { type CallKind, callKinds, callsThatNeedSpace, type Fault } from "./fault.ts"
import { IoDrill, type Phase, phases, type Round } from "./io-drill.ts"

const skip = missingCompiler("calls on the data folder that fail")
const budgetMs = 20_000
const hitsMin = 4
/** How many calls of each kind most phases have, more or less. */
const nthMax: Partial<Record<CallKind, number>> = {
  write: 40,
  read: 20,
  open: 12,
  fsync: 6,
  rename: 2,
  mkdir: 2,
}

describe.skipIf(skip !== null)("a call on the data folder that fails", () => {
  let drill: IoDrill

  afterEach(async () => {
    await drill.close()
  })

  it("is answered, or ends the server, and loses nothing (some of a seed; test:long has all)", async () => {
    drill = await IoDrill.open()
    const random = seededRandom(chooseSeed("I/O failures"))
    const end = performance.now() + budgetMs
    const rounds: Round[] = []
    while (performance.now() < end || rounds.length < hitsMin) {
      const { phase, fault } = choose(random)
      const round = await drill.round(phase, fault)
      if (round.hit !== null) rounds.push(round)
      expect(round).toEqual({ ...round, breaches: [] })
    }
    expect(await drill.audit()).toEqual([])
    const exits = rounds.filter(({ ended }) => ended !== "lived").length
    console.log(`${rounds.length} failed calls; the server ended by ${exits} of them`)
  }, 180_000)

  it("fails with the errno that was asked for, and where (a write of the log)", async () => {
    drill = await IoDrill.open()
    const fault: Fault = { kind: "write", error: "EIO", nth: 1 }
    const failed = await drill.round("work", fault)
    expect(failed).toMatchObject({ ended: 70, breaches: [] })
    expect(failed.hit).toMatch(/tintype\.sqlite-wal$/)
    const full = await drill.round("work", { ...fault, error: "ENOSPC" })
    expect(full).toMatchObject({ ended: "lived", breaches: [] })
    expect(full.hit).toMatch(/tintype\.sqlite-wal$/)
    const untouched = await drill.round("work", { ...fault, nth: 100_000 })
    expect(untouched).toEqual({
      phase: "work",
      fault: { ...fault, nth: 100_000 },
      hit: null,
      ended: "lived",
      breaches: [],
    })
  }, 60_000)
})

/** Small numbers oftener than large ones: every phase has those. */
function choose(random: () => number): { phase: Phase; fault: Fault } {
  const one = <Value>(list: readonly Value[]) => list[Math.floor(random() * list.length)]!
  const error = random() < 0.7 ? "EIO" : "ENOSPC"
  const kind = one(error === "EIO" ? callKinds : callsThatNeedSpace)
  const nth = Math.ceil((nthMax[kind] ?? 1) ** random())
  return { phase: one(phases), fault: { kind, error, nth } }
}
