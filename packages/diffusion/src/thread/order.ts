import type { Refusal } from "../diffusion-error.ts"
import type { Job, Picture, Preview } from "../job.ts"

/** To the thread: a job to carry out, or that the previews of its last step were taken. */
export type Order =
  | {
      kind: "job"
      number: number
      job: Job
      /** Of the job's model, on this machine. */
      folder: string
      /** One shared integer: not zero means that nobody wants the pictures any more. */
      stop: SharedArrayBuffer
    }
  | { kind: "seen"; number: number }

/** From the thread, of a job: logs and steps, then exactly one of the others. `models` come whenever they change. */
export type Report =
  | { kind: "log"; number: number; message: string }
  | { kind: "step"; number: number; step: number; steps: number; previews?: Preview[] }
  | { kind: "pictures"; number: number; pictures: Picture[] }
  | { kind: "refused"; number: number; refusal: Refusal }
  | { kind: "failed"; number: number; message: string }
  | { kind: "models"; models: LoadedModel[] }

/** What is in memory. */
export interface LoadedModel {
  /** A folder, or a hub id. */
  model: string
  /** Of its files that are loaded, which is what their weights take. */
  bytes: number
}
