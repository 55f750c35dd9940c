import { setTimeout as sleep } from "node:timers/promises"
import { AppError, defineApp } from "@tintype/app"
import { z } from "zod"

/** Answers what it was given, through every door: with events on the way, and message by message. */
export default defineApp({
  id: "test/doors",
  endpoints: {
    "/": {
      stream: true,
      realtime: true,
      input: z.object({
        text: z.string().default(""),
        image_url: z.string().optional(),
        events: z.number().int().default(0),
        pause_ms: z.number().default(0),
        fail: z.boolean().default(false),
        units: z.number().default(0),
      }),
      output: z.object({ text: z.string(), image_url: z.string().nullable() }),
      run: async (input, context) => {
        const image_url = input.image_url ?? null
        for (let event = 1; event <= input.events; event += 1) {
          await context.emit({ text: `${input.text} ${event}`, image_url })
        }
        if (input.pause_ms > 0) await sleep(input.pause_ms, undefined, { signal: context.signal })
        if (input.fail) throw new AppError(418, "short and stout")
        if (input.units > 0) context.billableUnits(input.units)
        return { text: input.text, image_url }
      },
    },
  },
})
