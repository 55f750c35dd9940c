import type * as OnnxRuntime from "onnxruntime-node"
import { DiffusionError, messageOf } from "../diffusion-error.ts"

export type Runtime = typeof OnnxRuntime

/** How the networks of a model are run. */
export interface Execution {
  provider: "cpu" | "cuda"
  /** Of one network call. */
  threads: number
}

/** An optional dependency of 288 MB: loaded when the first model is, and missed in one sentence. */
export async function loadRuntime(): Promise<Runtime> {
  try {
    return await import("onnxruntime-node")
  } catch (error) {
    const message = `Diffusion models need onnxruntime-node, which is not installed or cannot be loaded here: run "npm install onnxruntime-node" (${firstLine(messageOf(error))})`
    throw new DiffusionError({ type: "runtime_missing", message }, { cause: error })
  }
}

/** Module errors list every path that was tried below their first line. */
function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? ""
}
