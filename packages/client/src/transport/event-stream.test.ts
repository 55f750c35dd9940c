import { describe, expect, it } from "vitest"
import { readEvents } from "./event-stream.ts"

/** The bytes in chunks that end at these places. */
function streamOf(bytes: Uint8Array, ...ends: number[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start: (controller) => {
      let start = 0
      for (const end of [...ends, bytes.length]) {
        controller.enqueue(bytes.slice(start, end))
        start = end
      }
      controller.close()
    },
  })
}

async function read(body: ReadableStream<Uint8Array>): Promise<unknown[]> {
  const events: unknown[] = []
  for await (const event of readEvents(body)) events.push(event)
  return events
}

describe("reading server-sent events", () => {
  it.each(["\n", "\r", "\r\n"])(
    "gives the same wherever the chunks are cut [line end %j]",
    async (end) => {
      const lines = [
        ": ping",
        "",
        'data: {"a":',
        'data:  "é😀"}',
        "",
        "id: 1",
        "data:2",
        "",
        "data: 3",
        "",
      ]
      const bytes = new TextEncoder().encode(lines.join(end) + end)
      for (let cut = 0; cut <= bytes.length; cut += 1) {
        expect(await read(streamOf(bytes, cut)), `cut at ${cut}`).toEqual([{ a: "é😀" }, 2, 3])
      }
    },
  )

  it("an event that was not ended is none", async () => {
    const bytes = new TextEncoder().encode("data: 1\n\ndata: 2\n")
    expect(await read(streamOf(bytes))).toEqual([1])
  })

  it("one that is no JSON is an error", async () => {
    const bytes = new TextEncoder().encode("data: [DONE]\n\n")
    await expect(read(streamOf(bytes))).rejects.toThrow(SyntaxError)
  })
})
