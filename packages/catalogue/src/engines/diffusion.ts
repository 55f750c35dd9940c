import { basename, isAbsolute } from "node:path"
import { ModelError } from "@tintype/app"
import {
  DiffusionError,
  generate,
  type Job,
  type LoadedModel,
  miniatureFolder,
  type SchedulerName,
  watchModels,
} from "@tintype/diffusion"
import { type Engine, refuse } from "../engine.ts"

export interface DiffusionSetting {
  /** A folder, absolute; a hub id, `owner/name[@revision]`; or `shippedModel`. */
  model: string
  /** Where a call names none; absent: the one of the model's own configuration. */
  scheduler?: SchedulerName
}

/** Names the weights that come with Tintype, wherever they lie. */
export const shippedModel = "tintype/miniature"

/**
 * Real inference as an engine. Its thread and the weights are loaded by the first call: an idle runner has neither.
 * What the operator must mend goes to `note`, with its path; the caller hears what concerns it.
 */
export function createDiffusionEngine(
  { model, scheduler }: DiffusionSetting,
  note: (line: string) => void = writeLog,
): Engine {
  watchModels((models) => note(`Models in memory: ${describeModels(models)}.`))
  const name = isAbsolute(model) ? basename(model) : model
  return {
    name: "diffusion",
    description: `Diffused by Tintype, on its own machine, with the model ${name}.`,
    headers: {},
    async makePictures(order, audience) {
      const { endpoint, realtime: _, ...wanted } = order
      const job: Job = {
        ...(scheduler === undefined ? {} : { scheduler }),
        ...wanted,
        model: model === shippedModel ? miniatureFolder : model,
      }
      try {
        return await generate(job, audience)
      } catch (error) {
        if (!(error instanceof DiffusionError)) throw error
        const { refusal } = error
        // A scheduler that the model cannot have is the caller's mistake where the call named it, else the setting's.
        const isSetting = refusal.field === "scheduler" && order.scheduler === undefined
        if (refusal.field !== undefined && !isSetting) throw refuse(refusal)
        note(`${endpoint}: ${error.message}`)
        throw modelErrorOf(error)
      }
    },
  }
}

function describeModels(models: readonly LoadedModel[]): string {
  const each = models.map(
    ({ model, bytes }) => `${model} (${(bytes / 1e6).toFixed(1)} MB of weights)`,
  )
  return each.join(", ") || "none"
}

/** What the operator must mend, in the words of the API. A path of the runner's machine is none of the caller's business. */
function modelErrorOf(error: DiffusionError): ModelError {
  switch (error.refusal.type) {
    case "model_unavailable":
      return new ModelError("downstream_service_unavailable", {
        msg: "The model of this endpoint could not be fetched. The log of its runner says why.",
        cause: error,
      })
    case "runtime_missing":
      return new ModelError("internal_server_error", {
        msg: "This endpoint needs onnxruntime-node, which is not installed where its runner is.",
        cause: error,
      })
    default:
      return new ModelError("internal_server_error", {
        msg: "The model of this endpoint cannot be used. The log of its runner says why.",
        cause: error,
      })
  }
}

/** Past the console, which belongs to the call while it runs. */
function writeLog(line: string): void {
  process.stderr.write(`${new Date().toISOString()} ${line}\n`)
}
