import { afterEach, describe, expect, it } from "vitest"
import { missingCompiler } from "../durability/tools.ts"
import { recordResult } from "../reliability/results.ts"
import { type CallKind, callKinds, callsThatNeedSpace, type FaultError } from "./fault.ts"
import { IoDrill, type Phase, phases, type Round } from "./io-drill.ts"

const skip = missingCompiler("every call on the data folder that fails")

/**
 * From the first of many calls on that do the same (frames of the log, each of two writes), only every so many-th is
 * tried; the step is odd, so that headers and pages both are.
 */
const sameFrom: Partial<Record<CallKind, number>> = { write: 40, read: 40 }
const sameStep = 7

describe.skipIf(skip !== null)("calls on the data folder that fail, one after the other", () => {
  let drill: IoDrill
  const counts: Record<string, number> = {}
  let exits = 0

  afterEach(async () => {
    await drill.close()
  })

  const cases = [
    ...callKinds.map((kind) => [kind, "EIO"] as const),
    ...callsThatNeedSpace.map((kind) => [kind, "ENOSPC"] as const),
  ]
  it.each(cases)("%s with %s, until every phase passes untouched", async (kind, error) => {
    drill = await IoDrill.open()
    for (const phase of phases) {
      const failed = await failOneAfterTheOther(phase, kind, error)
      const name = `${kind} ${error}`
      counts[name] = (counts[name] ?? 0) + failed.length
      exits += failed.filter(({ ended }) => ended !== "lived").length
    }
    expect(await drill.audit()).toEqual([])
    recordResult("io-failures", { failed: counts, exits, phases: phases.length })
  })

  async function failOneAfterTheOther(
    phase: Phase,
    kind: CallKind,
    error: FaultError,
  ): Promise<Round[]> {
    const failed: Round[] = []
    for (let nth = 1; ; nth += nth < (sameFrom[kind] ?? Infinity) ? 1 : sameStep) {
      const round = await drill.round(phase, { kind, error, nth })
      expect(round).toEqual({ ...round, breaches: [] })
      if (round.hit === null) return failed
      failed.push(round)
    }
  }
})
