import { afterEach, expect, test } from "vitest"
import type { PaintJob } from "./job.ts"
import { PainterPool } from "./pool.ts"

const pools: PainterPool[] = []

function openPool(size: number): PainterPool {
  const pool = new PainterPool(size)
  pools.push(pool)
  return pool
}

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()))
})

function jobOf(prompt: string, width = 96, height = 64): PaintJob {
  const wish = { endpoint: "test/app", prompt, negativePrompt: "", guidanceScale: 3.5, seed: "7" }
  return { wish: { ...wish, width, height }, steps: 4, format: "png", previews: false }
}

const never = new AbortController().signal
const ignore = () => undefined

test("A picture is the same from any thread [another pool, a thread with a past]", async () => {
  const job = jobOf("a lighthouse at dusk")
  const first = await openPool(1).paint(job, never, ignore)
  const worn = openPool(1)
  await worn.paint(jobOf("a red cat"), never, ignore)
  const second = await worn.paint(job, never, ignore)
  expect(Buffer.compare(first.bytes, second.bytes)).toBe(0)
})

test("More orders than threads all get their pictures [5 on 2]", async () => {
  const pool = openPool(2)
  const prompts = ["sea", "forest", "city", "desert", "a flower"]
  const pictures = await Promise.all(
    prompts.map((prompt) => pool.paint(jobOf(prompt), never, ignore)),
  )
  const sizes = new Set(pictures.map((picture) => Buffer.from(picture.bytes).toString("base64")))
  expect(sizes.size).toBe(5)
})

test("Steps are reported in order, once each", async () => {
  const steps: number[] = []
  await openPool(1).paint(jobOf("hills"), never, (step) => steps.push(step))
  expect(steps).toEqual([1, 2, 3, 4])
})

test("An aborted order frees its thread for the next one [a picture of 16 megapixels]", async () => {
  const pool = openPool(1)
  const controller = new AbortController()
  const reason = new Error("not wanted")
  const steps: number[] = []
  const large = pool.paint(
    { ...jobOf("sea", 4096, 4096), steps: 50 },
    controller.signal,
    (step) => {
      steps.push(step)
      controller.abort(reason)
    },
  )
  const next = pool.paint(jobOf("hills"), never, ignore)
  await expect(large).rejects.toBe(reason)
  await next
  expect(steps.length).toBeLessThan(25)
})

test("A waiting order that is aborted never starts", async () => {
  const pool = openPool(1)
  const controller = new AbortController()
  const first = pool.paint(jobOf("sea"), never, ignore)
  let started = false
  const second = pool.paint(jobOf("hills"), controller.signal, () => (started = true))
  controller.abort(new Error("not wanted"))
  await expect(second).rejects.toThrow("not wanted")
  await first
  await pool.paint(jobOf("city"), never, ignore)
  expect(started).toBe(false)
})

test("Orders of a pool that closes are rejected, the waiting ones too", async () => {
  const pool = openPool(1)
  const lost = pool.paint(jobOf("sea", 2000, 2000), never, ignore)
  const waiting = pool.paint(jobOf("hills"), never, ignore)
  const closing = pool.close()
  await expect(waiting).rejects.toThrow("threads ended")
  await expect(lost).rejects.toThrow("thread ended")
  await closing
})
