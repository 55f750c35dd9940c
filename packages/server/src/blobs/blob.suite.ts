import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { monitorEventLoopDelay } from "node:perf_hooks"
import type { Readable } from "node:stream"
import { buffer } from "node:stream/consumers"
import { Worker } from "node:worker_threads"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { type BlobStore, readAcross } from "../blob.ts"

async function* chunks(...parts: (Uint8Array | string)[]): AsyncIterable<Uint8Array> {
  for (const part of parts) yield typeof part === "string" ? Buffer.from(part) : part
}

async function* failing(): AsyncIterable<Uint8Array> {
  yield randomBytes(300_000)
  throw new Error("The caller went away")
}

async function listed(blobs: BlobStore, olderThanMs = 0): Promise<string[]> {
  const names: string[] = []
  for await (const name of blobs.list(olderThanMs)) names.push(name)
  return names.toSorted()
}

/** How long a thread that does nothing is held up: what a busy machine does to every thread. */
async function watchIdleThread(): Promise<{ longestDelayMs: () => Promise<number> }> {
  const program = `
    const { parentPort } = require("node:worker_threads")
    const delay = require("node:perf_hooks").monitorEventLoopDelay({ resolution: 5 })
    parentPort.once("message", () => parentPort.postMessage(delay.max / 1e6))
    delay.enable()
    parentPort.postMessage(0)`
  const worker = new Worker(program, { eval: true })
  await once(worker, "message")
  return {
    longestDelayMs: async () => {
      worker.postMessage("stop", [])
      const [longest] = (await once(worker, "message")) as [number]
      return longest
    },
  }
}

/** The laws of `blob.ts`, for every adapter. */
export function describeBlobs(title: string, open: () => Promise<BlobStore>): void {
  describe(`blobs: ${title}`, () => {
    let blobs: BlobStore

    beforeEach(async () => {
      blobs = await open()
    })

    afterEach(async () => {
      await blobs.close()
    })

    async function text(name: string, range?: { start: number; end: number }) {
      const stream = await blobs.read(name, range)
      return stream === null ? null : (await buffer(stream)).toString()
    }

    test("what was written is read back, with its size and hash (several chunks, none)", async () => {
      const info = await blobs.write(chunks("hello ", "", "world"))
      expect(info.name).toMatch(/^[0-9a-f]{32}$/)
      expect(info.bytes).toBe(11)
      expect(info.sha256).toBe(createHash("sha256").update("hello world").digest("hex"))
      expect(await text(info.name)).toBe("hello world")
      expect(await blobs.stat(info.name)).toEqual({ bytes: 11 })
      const empty = await blobs.write(chunks())
      expect([empty.bytes, await text(empty.name)]).toEqual([0, ""])
    })

    test("many writes at a time keep their bytes apart, and each gets its own name", async () => {
      const bodies = Array.from({ length: 20 }, (_, index) => `${index}`.repeat(70_000))
      const infos = await Promise.all(
        bodies.map((body) => blobs.write(chunks(body.slice(0, 50_000), body.slice(50_000)))),
      )
      expect(new Set(infos.map((info) => info.name)).size).toBe(20)
      for (const [index, info] of infos.entries()) expect(await text(info.name)).toBe(bodies[index])
    })

    test("a range is inclusive and ends where the blob ends", async () => {
      const { name } = await blobs.write(chunks("0123456789"))
      expect(await text(name, { start: 2, end: 4 })).toBe("234")
      expect(await text(name, { start: 9, end: 9 })).toBe("9")
      expect(await text(name, { start: 7, end: 100 })).toBe("789")
    })

    test("several are read as one, in ranges too", async () => {
      const refs = [
        await blobs.write(chunks("abc")),
        await blobs.write(chunks()),
        await blobs.write(chunks("d")),
        await blobs.write(chunks("efgh")),
      ]
      async function across(range?: { start: number; end: number }) {
        const stream = await readAcross(blobs, refs, range)
        return stream === null ? null : (await buffer(stream)).toString()
      }
      const whole = "abcdefgh"
      expect(await across()).toBe(whole)
      for (let start = 0; start < 8; start += 1) {
        for (let end = start; end < 8; end += 1) {
          expect(await across({ start, end })).toBe(whole.slice(start, end + 1))
        }
      }
      expect(await readAcross(blobs, refs.slice(1, 2))).not.toBeNull()
      await blobs.delete(refs[3]!.name)
      await expect(across()).rejects.toThrow(`The blob ${refs[3]!.name} is gone`)
      expect(await across({ start: 0, end: 3 })).toBe("abcd")
      await blobs.delete(refs[0]!.name)
      expect(await across()).toBeNull()
    })

    test("several that are let go of in the middle leave none open", async () => {
      const refs = [await blobs.write(chunks(randomBytes(400_000))), await blobs.write(chunks("x"))]
      const opened: Readable[] = []
      const read: BlobStore["read"] = async (...input) => {
        const stream = await blobs.read(...input)
        if (stream !== null) opened.push(stream)
        return stream
      }
      const stream = await readAcross({ read }, refs)
      for await (const _ of stream ?? []) break
      expect(opened).toHaveLength(1)
      const [first] = opened
      if (first?.closed === false) await new Promise((closed) => first.once("close", closed))
    })

    test("a blob that is not there is null, and so is a name that is none", async () => {
      for (const name of ["0".repeat(32), "../../etc/passwd", "", "A".repeat(32)]) {
        expect(await blobs.read(name)).toBeNull()
        expect(await blobs.stat(name)).toBeNull()
        await blobs.delete(name)
      }
    })

    test("a deleted blob is gone, and deleting it again is no error", async () => {
      const { name } = await blobs.write(chunks("x"))
      await blobs.delete(name)
      await blobs.delete(name)
      expect(await blobs.read(name)).toBeNull()
      expect(await listed(blobs)).toEqual([])
    })

    test("list tells those that are old enough", async () => {
      const first = await blobs.write(chunks("a"))
      const second = await blobs.write(chunks("b"))
      expect(await listed(blobs, -1_000)).toEqual([first.name, second.name].toSorted())
      expect(await listed(blobs, 60_000)).toEqual([])
    })

    test("a source that fails leaves nothing and its error is the write's", async () => {
      await expect(blobs.write(failing())).rejects.toThrow("The caller went away")
      expect(await listed(blobs, -1_000)).toEqual([])
      await expect(blobs.write(chunks("next"))).resolves.toMatchObject({ bytes: 4 })
    })

    test("a body over the limit stops early: the source is closed and nothing is left", async () => {
      let yielded = 0
      let isClosed = false
      async function* endless(): AsyncIterable<Uint8Array> {
        try {
          for (;;) {
            yielded += 1
            yield Buffer.alloc(1_000)
          }
        } finally {
          isClosed = true
        }
      }
      const written = blobs.write(endless(), { bytesMax: 10_000 })
      await expect(written).rejects.toMatchObject({ name: "BlobError", code: "too_large" })
      expect([yielded, isClosed]).toEqual([11, true])
      expect(await listed(blobs, -1_000)).toEqual([])
      const exact = await blobs.write(chunks(Buffer.alloc(10_000)), { bytesMax: 10_000 })
      expect(exact.bytes).toBe(10_000)
    })

    test("JSON is checked when asked for, across chunks", async () => {
      const cat = Buffer.from('{"prompt":"a 🐈","seed":12345678901234567890}')
      const cut = cat.indexOf("🐈") + 2
      const parts = [cat.subarray(0, cut), cat.subarray(cut)]
      const info = await blobs.write(chunks(...parts), { json: true })
      expect(await text(info.name)).toBe(cat.toString())
      for (const wrong of ['{"a":1', "{a:1}", "", "1 2"]) {
        const written = blobs.write(chunks(wrong), { json: true })
        await expect(written).rejects.toMatchObject({ name: "BlobError", code: "not_json" })
      }
      expect(await listed(blobs, -1_000)).toEqual([info.name])
    })

    test("what is not JSON stops early (an endless source)", async () => {
      let isClosed = false
      async function* endless(): AsyncIterable<Uint8Array> {
        try {
          for (;;) yield Buffer.alloc(100_000, "x")
        } finally {
          isClosed = true
        }
      }
      const written = blobs.write(endless(), { json: true })
      await expect(written).rejects.toMatchObject({ code: "not_json" })
      expect(isClosed).toBe(true)
    })

    test(
      "60 MB hold up the event loop for less than 50 ms at a time (chunks, and all at once)",
      { timeout: 60_000 },
      async () => {
        const large = Buffer.alloc(60_000_010, '"0123456789", ')
        const body = Buffer.concat([Buffer.from("["), large, Buffer.from('""]')])
        async function longestBlockMs(source: AsyncIterable<Uint8Array>): Promise<number> {
          const idle = await watchIdleThread()
          const delay = monitorEventLoopDelay({ resolution: 5 })
          delay.enable()
          const info = await blobs.write(source, { json: true })
          delay.disable()
          expect(info.bytes).toBe(body.length)
          await blobs.delete(info.name)
          return delay.max / 1e6 - (await idle.longestDelayMs())
        }
        async function* pieces(): AsyncIterable<Uint8Array> {
          for (let start = 0; start < body.length; start += 65_536) {
            yield body.subarray(start, start + 65_536)
          }
        }
        for (const source of [pieces, () => chunks(body)]) {
          // A busy machine may hold up only one of the two; what is ours to blame comes back every time.
          const blocks: number[] = []
          do blocks.push(await longestBlockMs(source()))
          while (Math.min(...blocks) >= 50 && blocks.length < 4)
          expect(Math.min(...blocks)).toBeLessThan(50)
        }
      },
    )

    test("a closed store refuses writes, and a write that is under way rejects", async () => {
      const halfway = Promise.withResolvers<void>()
      const gate = Promise.withResolvers<void>()
      async function* slow(): AsyncIterable<Uint8Array> {
        yield Buffer.from("half")
        halfway.resolve()
        await gate.promise
        yield Buffer.from("rest")
      }
      const written = blobs.write(slow())
      await halfway.promise
      await blobs.close()
      gate.resolve()
      await expect(written).rejects.toThrow(/closed/)
      await expect(blobs.write(chunks("x"))).rejects.toThrow(/closed/)
    })
  })
}
