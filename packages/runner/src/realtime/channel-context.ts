import { fetchMedia, type Media, ModelError, type RunContext } from "@tintype/app"
import type { OpenFrame } from "@tintype/protocol"
import { ownFileName } from "../attempt/own-files.ts"
import { runnerLimits, runnerTiming } from "../limits.ts"

export interface ChannelContextParts {
  /** Origins under which the gateway's `/files/` are called; the first is the one to read them from. */
  ownOrigins: readonly string[]
  allowPrivateTargets: boolean
}

/**
 * What the app gets of a channel. No request stands behind it: nothing of it is stored, so what it says while it works goes
 * nowhere, and it answers bytes instead of files.
 */
export function createChannelContext(
  open: OpenFrame,
  signal: AbortSignal,
  { ownOrigins, allowPrivateTargets }: ChannelContextParts,
): RunContext {
  const { channel, endpoint, headers, fileBase } = open
  return {
    requestId: channel,
    endpoint,
    attempt: 1,
    headers: Object.freeze({ ...headers }),
    signal,
    log() {},
    progress() {},
    streaming: false,
    emit: async () => {},
    file: async () => {
      throw new Error("context.file() stores nothing in realtime: answer the bytes, see bytes()")
    },
    billableUnits() {},
    header() {},
    async fetchMedia(url, { bytesMax = runnerLimits.mediaBytesMax, timeoutMs } = {}) {
      const limits = { bytesMax, timeoutMs: timeoutMs ?? runnerTiming.mediaMs, signal }
      return await fetchMedia(url, {
        ...limits,
        ownFile: ({ href }) => ownFileName(href, { fileBase, ownOrigins }),
        readOwnFile: (name) => readPublicFile(name, ownOrigins[0], limits),
        allowPrivate: allowPrivateTargets,
      })
    },
  }
}

/** There is no lease to read it under, so it is read as anyone may. */
async function readPublicFile(
  name: string,
  origin: string | undefined,
  limits: { bytesMax: number; timeoutMs: number; signal: AbortSignal },
): Promise<Media> {
  const segments = name.split("/")
  // Nothing but files is read from an address that is private to everyone else.
  if (origin === undefined || segments.some((segment) => /^\.{0,2}$/.test(segment))) {
    throw new ModelError("file_download_error", { msg: "There is no such file" })
  }
  const path = segments.map((segment) => encodeURIComponent(segment)).join("/")
  return await fetchMedia(`${origin}/files/${path}`, {
    ...limits,
    ownFile: () => null,
    readOwnFile: () => Promise.reject(new Error("never called")),
    allowPrivate: true,
    redirectsMax: 0,
  })
}
