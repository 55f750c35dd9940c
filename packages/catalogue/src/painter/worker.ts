import { parentPort } from "node:worker_threads"
import { PictureError } from "@tintype/diffusion"
import type { Order, Preview, Report } from "./job.ts"
import { carryOut } from "./studio.ts"

/** The painter's thread: one order at a time, reports as it goes; holds nothing between orders. */

class Stopped extends Error {}

const port = parentPort
if (port === null) throw new Error("the painter's worker is started by its pool")

port.on("message", (order: Order) => {
  void answer(order)
})

async function answer(order: Order): Promise<void> {
  const report = await fulfil(order)
  port?.postMessage(report, report.kind === "picture" ? [report.picture.bytes.buffer] : [])
}

async function fulfil({ number, job, stop }: Order): Promise<Report> {
  const stopped = new Int32Array(stop)
  const check = () => {
    if (Atomics.load(stopped, 0) !== 0) throw new Stopped("the picture is not wanted any more")
  }
  const onStep = (step: number, preview?: Preview) => {
    check()
    const report: Report = { number, kind: "step", step }
    port?.postMessage(preview === undefined ? report : { ...report, preview })
  }
  try {
    return { number, kind: "picture", picture: await carryOut(job, { onStep, check }) }
  } catch (error) {
    if (error instanceof PictureError) return { number, kind: "refused", refusal: error.refusal }
    return {
      number,
      kind: "failed",
      message: error instanceof Error ? error.message : String(error),
    }
  }
}
