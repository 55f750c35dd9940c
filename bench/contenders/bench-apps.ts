import { defineApp } from "@tintype/app"
import { z } from "zod"
import { logLineCount, logLineText } from "../load/log-line.ts"

/** Says so much while it works that its status has something to tell. */
const lines = defineApp({
  id: "bench/lines",
  endpoints: {
    "/": {
      raw: (input, context) => {
        for (let line = 0; line < logLineCount; line += 1) context.log(logLineText(line))
        return input
      },
    },
  },
})

/** Answers with the moment at which it began, on the clock that all processes of the machine share. */
const clock = defineApp({
  id: "bench/clock",
  endpoints: {
    "/": {
      raw: () => {
        const startedAt = process.hrtime.bigint()
        return Buffer.from(JSON.stringify({ startedAt: String(startedAt) }))
      },
    },
  },
})

/** One event at once, then the answer. */
const steps = defineApp({
  id: "bench/steps",
  endpoints: {
    "/": {
      stream: true,
      raw: async (input, context) => {
        await context.emit({ step: 1 })
        return input
      },
    },
  },
})

/** Answers each message with itself. */
const turn = defineApp({
  id: "bench/turn",
  endpoints: {
    "/": {
      realtime: true,
      input: z.object({ turn: z.int() }),
      output: z.object({ turn: z.int() }),
      run: async (input) => await Promise.resolve(input),
    },
  },
})

export default [lines, clock, steps, turn]
