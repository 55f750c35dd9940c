import type { PictureRefusal } from "./pictures/picture-error.ts"

/**
 * Why a job was not carried out. The caller's mistakes have the documented error types and name a field; the others are the
 * operator's to mend, and their message names the file, the package or the host:
 * - `model_fault`: a folder, file, network or configuration of the model is missing or wrong;
 * - `model_unavailable`: the hub could not be asked; the same job may go well later;
 * - `runtime_missing`: onnxruntime-node is not installed.
 */
export type Refusal =
  | PictureRefusal
  | {
      type: "sequence_too_long"
      field: "prompt" | "negative_prompt"
      message: string
      ctx: { max_length: number }
    }
  | { type: "feature_not_supported"; field: string; message: string; ctx?: never }
  | {
      type: "model_fault" | "model_unavailable" | "runtime_missing"
      field?: never
      message: string
      ctx?: never
    }

/** Thrown by `generate`. `refusal` can be sent between threads as it is. */
export class DiffusionError extends Error {
  override readonly name = "DiffusionError"
  readonly refusal: Refusal

  constructor(refusal: Refusal, options?: ErrorOptions) {
    super(refusal.message, options)
    this.refusal = refusal
  }
}

/** What the operator must mend: `modelFault("/models/sd/unet/model.onnx", "the file is missing")`. */
export function modelFault(path: string, cause: string, options?: ErrorOptions): DiffusionError {
  return new DiffusionError({ type: "model_fault", message: `${path}: ${cause}` }, options)
}

/** The one line of an error that was caught. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
