import type { MessageForm } from "@tintype/protocol"

/**
 * Channels: callers' realtime connections to apps. A channel lives on one runner's link and is no row: a crash of either side
 * ends it, and its caller connects again. Its inputs take slots of that runner in turn with queued requests.
 */
export interface Channels {
  /**
   * Opens a channel on the runner of the app that has the fewest. Otherwise why not: no runner of the app is linked, all of
   * them have as many channels as they may, or the server stops.
   */
  open(call: ChannelCall, peer: ChannelPeer): Channel | ChannelRefusal
  /** Resolves when a runner of the app is linked, the server stops or the signal aborts. */
  untilHosted(app: string, signal: AbortSignal): Promise<void>
}

export type ChannelRefusal = "unhosted" | "full" | "stopping"

export interface ChannelCall {
  id: string
  app: string
  /** Without its `/realtime`. */
  endpoint: string
  path: string
  headers: Record<string, string>
  fileBase: string
  /** It keeps the slot that its first input takes. */
  exclusive: boolean
}

export interface ChannelMessage {
  form: MessageForm
  data: Uint8Array
}

/** The caller's end. */
export interface ChannelPeer {
  /** A slot is free: its next input, or null when there is none any more. */
  next(): ChannelMessage | null
  /** The answer to its input; the next one may be announced. */
  output(message: ChannelMessage): void
  /** Nothing follows. Not called after `close`. */
  ended(end: ChannelEnd): void
}

/** A WebSocket's close. */
export interface ChannelEnd {
  code: number
  reason: string
}

export interface Channel {
  /** An input is with the app. */
  readonly isBusy: boolean
  /** There is an input, to be fetched by `next` when it has a slot. Once is enough. */
  announce(): void
  /** The caller is gone: the app is told to stop. */
  close(): void
}
