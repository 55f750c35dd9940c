import { appendFile } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { defineApp } from "@tintype/app"
import { z } from "zod"

/** Shows a test what happens to it: counts its starts and ends in files, logs at a steady pace, ends when told to. */
export default defineApp({
  id: "test/probe",
  endpoints: {
    "/": {
      input: z.object({
        /** One line is appended at each start. */
        starts_file: z.string().default(""),
        /** One line, and one in the log, when it has done all that it was to do. */
        ends_file: z.string().default(""),
        /** Ends early when its signal says so. */
        heeds: z.boolean().default(true),
        duration_ms: z.number().default(0),
        lines: z.number().default(0),
        fail: z.enum(["", "throw", "exit"]).default(""),
      }),
      output: z.object({ attempt: z.number(), lines: z.number() }),
      run: async (input, context) => {
        if (input.starts_file !== "") {
          await appendFile(input.starts_file, `${context.requestId} ${context.attempt}\n`)
        }
        if (input.fail === "throw") throw new Error("the probe was told to throw")
        if (input.fail === "exit" && context.attempt === 1) process.exit(9)
        const options = input.heeds ? { signal: context.signal } : {}
        for (let line = 1; line <= input.lines; line += 1) {
          context.log(`line ${line}`)
          await sleep(input.duration_ms / input.lines, undefined, options)
        }
        if (input.lines === 0) await sleep(input.duration_ms, undefined, options)
        if (input.ends_file !== "") {
          await appendFile(input.ends_file, `${context.requestId} ${context.attempt}\n`)
          context.log("ended")
        }
        return { attempt: context.attempt, lines: input.lines }
      },
    },
  },
})
