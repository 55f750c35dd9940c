import { expect, test } from "vitest"
import { runnerLimits } from "../limits.ts"
import { type Chunk, ChunkBuffer } from "./chunk-buffer.ts"

function makeBuffer(streams = true) {
  const sent: Chunk[] = []
  const controller = new AbortController()
  const { signal } = controller
  const buffer = new ChunkBuffer({ streams, signal, send: (chunk) => sent.push(chunk) })
  return { buffer, sent, controller }
}

const small = Buffer.from("1")
const seqs = (chunks: readonly Chunk[]) => chunks.map(({ seq }) => seq)

/** Has it settled by now? */
async function isDone(promise: Promise<void>): Promise<boolean> {
  const open = Symbol("open")
  return (await Promise.race([promise, Promise.resolve(open)])) !== open
}

test("chunks are kept in order until they are taken", async () => {
  const { buffer, sent } = makeBuffer()
  for (const _ of [1, 2, 3]) await buffer.emit(small)
  expect(seqs(sent)).toEqual([1, 2, 3])
  buffer.taken(2)
  expect(seqs(buffer.untaken)).toEqual([3])
  buffer.taken(1)
  expect(seqs(buffer.untaken)).toEqual([3])
  buffer.taken(3)
  expect(buffer.untaken).toEqual([])
})

test("without a reader a chunk goes nowhere, whatever its size", async () => {
  const { buffer, sent } = makeBuffer(false)
  await buffer.emit(Buffer.alloc(runnerLimits.chunkBytesMax + 1))
  expect(sent).toEqual([])
})

test("an app that awaits is ahead of its reader by a window", async () => {
  const { buffer, sent } = makeBuffer()
  const chunk = Buffer.alloc(100_000)
  let emitted = buffer.emit(chunk)
  while (await isDone(emitted)) emitted = buffer.emit(chunk)
  const ahead = sent.length
  expect(ahead).toBe(Math.floor(runnerLimits.chunkWindowBytes / 100_128) + 1)
  buffer.taken(1)
  await emitted
  emitted = buffer.emit(chunk)
  expect(await isDone(emitted)).toBe(false)
  buffer.taken(sent.length)
  await emitted
})

test("one that does not await is refused what is too far ahead, where it emits", () => {
  const { buffer, sent } = makeBuffer()
  const chunk = Buffer.alloc(runnerLimits.chunkBytesMax / 2)
  const emitAll = () => {
    for (let count = 0; count < 100; count += 1) void buffer.emit(chunk)
  }
  expect(emitAll).toThrow(/await context\.emit/)
  expect(sent).toHaveLength(3)
  expect(() => buffer.emit(Buffer.alloc(runnerLimits.chunkBytesMax + 1))).toThrow(/larger than/)
})

test("an abort lets go of who waits for room, and refuses what comes after it", async () => {
  const { buffer, sent, controller } = makeBuffer()
  const waiting = buffer.emit(Buffer.alloc(runnerLimits.chunkWindowBytes))
  controller.abort(new Error("enough"))
  await expect(waiting).rejects.toThrow("enough")
  await expect(buffer.emit(small)).rejects.toThrow("enough")
  expect(sent).toHaveLength(1)
})

test("nothing follows the end, and nobody waits beyond it", async () => {
  const { buffer, sent } = makeBuffer()
  const waiting = buffer.emit(Buffer.alloc(runnerLimits.chunkWindowBytes))
  buffer.end()
  await waiting
  await buffer.emit(small)
  expect(sent).toHaveLength(1)
  expect(seqs(buffer.untaken)).toEqual([1])
})
