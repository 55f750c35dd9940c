import { parseArgs } from "node:util"
import { recordResult } from "../reliability/results.ts"
import { FuzzTarget } from "./fuzz-target.ts"
import { parts } from "./properties.ts"

/** `npm run fuzz -- --minutes 10 --seed 7 --part HTTP`: all parts by turns, with a new seed at each turn. */
const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "1" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    part: { type: "string" },
  },
})
const forMs = 10_000
const chosen = parts.filter(({ name }) => values.part === undefined || name === values.part)
const end = performance.now() + Number(values.minutes) * 60_000
const sent: Record<string, number> = Object.fromEntries(chosen.map(({ name }) => [name, 0]))
const target = await FuzzTarget.open()
try {
  for (let seed = Number(values.seed); performance.now() < end; seed += 1) {
    for (const { name, run } of chosen) {
      console.log(`${name}: seed ${seed}`)
      sent[name]! += await run(target, { seed, forMs })
    }
  }
  recordResult("fuzz", { minutes: Number(values.minutes), sent })
  console.log(sent)
} finally {
  await target.close()
}
