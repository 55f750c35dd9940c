import {
  type Media,
  ModelError,
  type OutputFile,
  type RunContext,
  fetchMedia,
  writeJson,
} from "@tintype/app"
import type { Attempt } from "./attempt.ts"
import { runnerLimits, runnerTiming } from "../limits.ts"
import { storeOutputFile } from "./output-file.ts"
import { ownFileName } from "./own-files.ts"
import { TransferError } from "../link/transfer.ts"

export interface RunContextParts {
  /** Origins under which the gateway's `/files/` are called, beside the one of the file base. */
  ownOrigins: readonly string[]
  allowPrivateTargets: boolean
  randomBytes: (count: number) => Buffer
}

/** What the app gets of its attempt. */
export function createRunContext(attempt: Attempt, parts: RunContextParts): RunContext {
  const { requestId, endpoint, attempt: number, headers, fileBase } = attempt.assign
  const { events, chunks, signal, transfer, answerHeaders } = attempt
  return {
    requestId,
    endpoint,
    attempt: number,
    headers: Object.freeze({ ...headers }),
    signal,
    log(message, { level = "INFO", labels } = {}) {
      events.log(level, message, labels)
    },
    progress(step, steps) {
      events.progress(step, steps)
    },
    streaming: chunks.streams,
    emit(chunk) {
      return chunks.streams ? chunks.emit(writeJson(chunk ?? null)) : Promise.resolve()
    },
    async file(bytes, contentType): Promise<OutputFile> {
      return await storeOutputFile({ bytes, contentType, fileBase }, transfer, parts.randomBytes)
    },
    billableUnits(units) {
      answerHeaders["x-fal-billable-units"] = String(units)
    },
    header(name, value) {
      answerHeaders[name.toLowerCase()] = value
    },
    async fetchMedia(url, { bytesMax = runnerLimits.mediaBytesMax, timeoutMs } = {}) {
      return await fetchMedia(url, {
        ownFile: ({ href }) => ownFileName(href, { fileBase, ownOrigins: parts.ownOrigins }),
        readOwnFile: (name) => readOwnFile(attempt, name, bytesMax),
        allowPrivate: parts.allowPrivateTargets,
        bytesMax,
        timeoutMs: timeoutMs ?? runnerTiming.mediaMs,
        signal,
      })
    },
  }
}

async function readOwnFile(attempt: Attempt, name: string, bytesMax: number): Promise<Media> {
  try {
    return await attempt.transfer.readFile(name, bytesMax)
  } catch (error) {
    if (!(error instanceof TransferError) || error.code !== "too_large") throw error
    const msg = `The file is larger than ${bytesMax} bytes`
    throw new ModelError("file_too_large", { msg, ctx: { max_size: bytesMax }, cause: error })
  }
}
