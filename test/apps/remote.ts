import { appendFile } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { AppError, defineApp } from "@tintype/app"
import { z } from "zod"

const answer = z.object({ attempt: z.number(), pid: z.number() })

/** Hosted by runners that join: says which process it is, and moves bodies of any size. */
export default defineApp({
  id: "local/remote",
  endpoints: {
    "/": {
      input: z.object({
        /** Of the first attempt; later ones are done at once. */
        duration_ms: z.number().default(0),
        /** One line is appended at each start: attempt, pid. */
        starts_file: z.string().default(""),
        /** Status that the first attempt answers with. */
        status: z.number().default(200),
      }),
      output: answer,
      run: async ({ duration_ms, starts_file, status }, { attempt, signal }) => {
        if (starts_file !== "") await appendFile(starts_file, `${attempt} ${process.pid}\n`)
        if (status !== 200 && attempt === 1) throw new AppError(status, "told to")
        if (attempt === 1) await sleep(duration_ms, undefined, { signal })
        return { attempt, pid: process.pid }
      },
    },
    "/sizes": {
      input: z.object({ text: z.string() }),
      output: z.object({ text: z.string(), file: z.object({ url: z.string() }) }),
      run: async ({ text }, context) => {
        const { url } = await context.file(Buffer.from(text), "application/octet-stream")
        // Our own file, read by transfer, as another machine may not be able to call the address in it.
        const { bytes } = await context.fetchMedia(url)
        return { text: Buffer.from(bytes).toString(), file: { url } }
      },
    },
    "/secrets": {
      input: z.object({}),
      output: z.object({ key: z.string(), secret: z.string() }),
      run: async () => ({
        key: process.env["TINTYPE_KEY"] ?? "",
        secret: process.env["TINTYPE_RUNNER_SECRET"] ?? "",
      }),
    },
  },
})
