import { basename, isAbsolute } from "node:path"
import { parentPort, workerData } from "node:worker_threads"
import { DiffusionError, messageOf } from "../diffusion-error.ts"
import type { Job, Preview } from "../job.ts"
import { openModel } from "../onnx/open-model.ts"
import { PictureError } from "../pictures/picture-error.ts"
import type { Settings } from "../settings.ts"
import type { Order, Report } from "./order.ts"
import { ModelShelf } from "./shelf.ts"
import { StoppableModel } from "./stoppable-model.ts"
import { carryOut } from "./studio.ts"

/** The thread's side of `thread.ts`: one job at a time, reports as it goes; between jobs it holds the models that are loaded. */

const port = parentPort
if (port === null) throw new Error("the diffusion worker is started by its thread")

const settings: Settings = workerData
const shelf = new ModelShelf({
  open: (folder) => openModel(folder, settings),
  modelsMax: settings.modelsMax,
  unloadAfterMs: settings.unloadAfterMs,
  onChange: (models) => tell({ kind: "models", models }),
})

/** Somebody who looks at the previews of a job, for whom its next step waits. */
let awaited: { number: number; onSeen: () => void } | undefined

port.on("message", (order: Order) => {
  if (order.kind === "job") void answer(order)
  // Of a job that was given up it may come late, when another one waits.
  else if (order.number === awaited?.number) awaited.onSeen()
})

function tell(report: Report): void {
  port?.postMessage(report, [])
}

type JobOrder = Extract<Order, { kind: "job" }>

async function answer(order: JobOrder): Promise<void> {
  const report = await fulfil(order)
  const buffers = report.kind === "pictures" ? report.pictures.map(({ bytes }) => bytes.buffer) : []
  port?.postMessage(report, buffers)
}

async function fulfil(order: JobOrder): Promise<Report> {
  const { number } = order
  try {
    return { number, kind: "pictures", pictures: await makePictures(order) }
  } catch (error) {
    if (error instanceof DiffusionError || error instanceof PictureError) {
      return { number, kind: "refused", refusal: error.refusal }
    }
    return { number, kind: "failed", message: messageOf(error) }
  }
}

async function makePictures({ number, job, folder, stop }: JobOrder) {
  const log = (message: string) => tell({ number, kind: "log", message })
  const startedAt = performance.now()
  let loads = false
  const onLoad = () => {
    loads = true
    log(`loading ${labelOf(job)}`)
  }
  return await shelf.use({ folder, model: job.model, onLoad }, async (opened) => {
    if (loads) {
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
      log(`loaded ${labelOf(job)} in ${seconds} s, ${(opened.bytes / 1e6).toFixed(1)} MB`)
    }
    const cut = opened.describeCut(job.prompt)
    if (cut !== null) log(cut)
    const model = new StoppableModel(opened, stop)
    model.check()
    return await carryOut(model, job, {
      log,
      onStep: async (step, steps, previews) => await tellStep(number, step, steps, previews),
    })
  })
}

async function tellStep(number: number, step: number, steps: number, previews?: Preview[]) {
  const report: Report = { kind: "step", number, step, steps }
  if (previews === undefined) {
    tell(report)
    return
  }
  const { promise, resolve: onSeen } = Promise.withResolvers<void>()
  awaited = { number, onSeen }
  tell({ ...report, previews })
  await promise
  awaited = undefined
}

/** What callers may read: a path of this machine is none of their business. */
function labelOf({ model }: Job): string {
  return isAbsolute(model) ? basename(model) : model
}
