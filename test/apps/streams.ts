import { appendFile } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { AppError, defineApp } from "@tintype/app"
import { z } from "zod"

/** Emits what a test asks for, and writes down what becomes of it. */
export default defineApp({
  id: "test/streams",
  endpoints: {
    "/": {
      stream: true,
      input: z.object({
        chunks: z.number().default(3),
        text: z.string().default(""),
        /** Bytes that each chunk has beside its text. */
        padding: z.number().default(0),
        pause_ms: z.number().default(0),
        /** After its chunks it answers with this status. */
        status: z.number().default(200),
        /** After its chunks it waits for its signal. */
        waits: z.boolean().default(false),
        /** One line for each chunk, and one when the signal is aborted. */
        file: z.string().default(""),
      }),
      output: z.object({ done: z.boolean(), pid: z.number() }),
      run: async ({ chunks, text, padding, pause_ms, status, waits, file }, context) => {
        const note = async (line: string) => {
          if (file !== "") await appendFile(file, `${line}\n`)
        }
        const { signal } = context
        try {
          for (let n = 1; n <= chunks; n += 1) {
            await context.emit({ n, text, pid: process.pid, padding: "x".repeat(padding) })
            await note(String(n))
            if (pause_ms > 0) await sleep(pause_ms, undefined, { signal })
          }
          if (waits) await sleep(60_000, undefined, { signal })
        } catch (error) {
          if (signal.aborted) await note("aborted")
          throw error
        }
        if (status !== 200) throw new AppError(status, "told to")
        return { done: true, pid: process.pid }
      },
    },
    "/silent": {
      input: z.object({}),
      output: z.object({ streaming: z.boolean() }),
      run: async (_, { streaming }) => ({ streaming }),
    },
  },
})
