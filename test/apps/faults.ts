import { setTimeout as sleep } from "node:timers/promises"
import { AppError, defineApp, ModelError } from "@tintype/app"
import { modelErrors, type ModelErrorType } from "@tintype/protocol"
import { z } from "zod"

const output = z.object({ attempt: z.number(), pid: z.number() })

/** Fails in whatever way a test asks for. */
export default defineApp({
  id: "test/faults",
  requestTimeoutSeconds: 0.3,
  endpoints: {
    "/": {
      input: z.object({
        status: z.number().default(200),
        /** Attempts that fail; the next one succeeds. */
        times: z.number().default(1_000),
        headers: z.record(z.string(), z.string()).default({}),
      }),
      output,
      run: async ({ status, times, headers }, { attempt }) => {
        if (status !== 200 && attempt <= times) {
          throw new AppError(status, `fault ${attempt}`, { headers })
        }
        return { attempt, pid: process.pid }
      },
    },
    "/typed": {
      input: z.object({ type: z.string(), retryable: z.boolean().default(false) }),
      output,
      run: async ({ type, retryable }) => {
        const known = type as ModelErrorType
        const ctx = Object.fromEntries(modelErrors[known].ctx.map((key) => [key, 1]))
        const details = { loc: ["body", "type"], retryable }
        throw new ModelError(known, Object.keys(ctx).length === 0 ? details : { ...details, ctx })
      },
    },
    "/throw": {
      input: z.object({}),
      output,
      run: async () => {
        throw new Error("secret of the stack")
      },
    },
    "/slow": {
      input: z.object({
        /** Attempts that are slow. */
        times: z.number().default(1_000),
        duration_ms: z.number().default(60_000),
        heeds: z.boolean().default(true),
      }),
      output,
      run: async ({ times, duration_ms, heeds }, { attempt, signal }) => {
        if (attempt <= times) await sleep(duration_ms, undefined, heeds ? { signal } : {})
        return { attempt, pid: process.pid }
      },
    },
    "/spin": {
      input: z.object({
        /** Attempts that never give the thread back. */
        times: z.number().default(1_000),
      }),
      output,
      run: async ({ times }, { attempt }) => {
        for (;;) if (attempt > times) return { attempt, pid: process.pid }
      },
    },
    "/log": {
      input: z.object({
        lines: z.number(),
        bytes: z.number(),
        /** Attempts that fail after all they have logged. */
        times: z.number().default(0),
      }),
      output,
      run: async ({ lines, bytes, times }, context) => {
        context.log("labelled", { level: "WARN", labels: { part: "one" } })
        console.log("printed")
        console.error("printed as an error")
        context.log("a detail", { level: "DEBUG" })
        for (let line = 0; line < lines; line += 1) {
          context.log(`${line} `.padEnd(bytes, "x"))
          if (line % 8 === 7) await sleep(20)
        }
        if (context.attempt <= times) {
          throw new AppError(503, "again", { headers: { "x-fal-stop-runner": "0" } })
        }
        return { attempt: context.attempt, pid: process.pid }
      },
    },
  },
})
