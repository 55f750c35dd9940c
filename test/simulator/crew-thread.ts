import { parentPort, workerData } from "node:worker_threads"
import type { CrewTask, ThreadWord } from "./crew.ts"
import { plants } from "./plants.ts"
import { simulate } from "./simulation.ts"

/** A thread of a crew: seed after seed until none is left. */
const { progress, thread, end, plant } = workerData as CrewTask
for (let seed = Atomics.add(progress, 0, 1); seed < end; seed = Atomics.add(progress, 0, 1)) {
  progress[thread + 1] = seed
  const made = plant === null ? null : (plants[plant]?.() ?? null)
  const { elapsedMs, violation } = await simulate({ seed, plant: made })
  const finding = violation === null ? null : { seed, message: violation.message }
  const word: ThreadWord = { elapsedMs, finding }
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  parentPort?.postMessage(word)
}
