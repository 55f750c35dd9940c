import { setTimeout as sleep } from "node:timers/promises"
import { bytes, defineApp } from "@tintype/app"
import { z } from "zod"

const input = z.object({
  n: z.int().default(0),
  /** How long an answer takes. */
  hold_ms: z.number().default(0),
  fail: z.boolean().default(false),
  content: bytes().optional(),
})

/** Answers each message with what it was given and who it is. */
async function answer(
  { n, hold_ms, fail, content }: z.output<typeof input>,
  { signal }: { signal: AbortSignal },
) {
  if (fail) throw new Error("told to fail")
  if (hold_ms > 0) await sleep(hold_ms, undefined, { signal })
  return { n, pid: process.pid, ...(content === undefined ? {} : { content }) }
}

const output = z.object({ n: z.int(), pid: z.int(), content: bytes().optional() })

/** Realtime, for tests of everything around it. */
export default defineApp({
  id: "test/live",
  endpoints: {
    "/": { input, output, run: answer, realtime: true },
    "/brief": { input, output, run: answer, realtime: { sessionTimeoutSeconds: 0.2 } },
  },
})
