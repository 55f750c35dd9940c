import { Decoder, Encoder } from "@msgpack/msgpack"
import { LinkProtocolError, assertGatewayFrames, assertRunnerFrames } from "./link-frames.ts"
import { findShapeError } from "./link-shape.ts"
import { type GatewayFrame, type RunnerFrame, linkMessageBytesMax } from "./link.ts"

/** Frames to messages and back. A message is one msgpack array of one or more frames, ≤ `linkMessageBytesMax`. */

export type Frame = RunnerFrame | GatewayFrame

/** A body up to here travels in its frame, a larger one by `/_/transfer`; the rest of a message is for headers. */
export const linkInlineBytesMax = 128 * 1024

/** Every message starts as an array with a 16-bit length: the smallest frame is 11 bytes, so 65,535 never fill. */
const headBytes = 3

const encoder = new Encoder({ ignoreUndefined: true })
const decoder = new Decoder()

/**
 * Packs frames, in their order, into as few messages as hold them. Throws `RangeError` for a frame that is too
 * large for any message: its body should have gone through a transfer, its text should have been cut.
 */
export function encodeFrames(frames: readonly Frame[]): Uint8Array[] {
  const messages: Uint8Array[] = []
  let parts: Uint8Array[] = []
  let bytes = headBytes
  for (const frame of frames) {
    const part = encoder.encode(withSafeKeys(frame))
    if (part.length > linkMessageBytesMax - headBytes)
      throw new RangeError(`A frame ${frame.type} of ${part.length} bytes does not fit the link`)
    if (bytes + part.length > linkMessageBytesMax) {
      messages.push(join(parts, bytes))
      parts = []
      bytes = headBytes
    }
    parts.push(part)
    bytes += part.length
  }
  if (parts.length > 0) messages.push(join(parts, bytes))
  return messages
}

/** What a runner sent. Throws `LinkProtocolError`. A body is a view of the message's own memory. */
export function decodeRunnerFrames(message: Uint8Array): RunnerFrame[] {
  const frames = decodeMessage(message)
  assertRunnerFrames(frames)
  return frames
}

/** What the gateway sent. Throws `LinkProtocolError`. A body is a view of the message's own memory. */
export function decodeGatewayFrames(message: Uint8Array): GatewayFrame[] {
  const frames = decodeMessage(message)
  assertGatewayFrames(frames)
  return frames
}

function decodeMessage(message: Uint8Array): unknown[] {
  if (message.length > linkMessageBytesMax)
    throw new LinkProtocolError(`message of ${message.length} bytes`)
  const shapeError = findShapeError(message)
  if (shapeError !== null) throw new LinkProtocolError(`message: ${shapeError}`)
  let frames: unknown
  try {
    frames = decoder.decode(message)
  } catch (error) {
    throw new LinkProtocolError("message: not msgpack", { cause: error })
  }
  if (!Array.isArray(frames) || frames.length === 0)
    throw new LinkProtocolError("message: a list of frames expected")
  return frames
}

function join(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const message = new Uint8Array(bytes)
  message[0] = 0xdc
  message[1] = parts.length >> 8
  message[2] = parts.length & 0xff
  let position = headBytes
  for (const part of parts) {
    message.set(part, position)
    position += part.length
  }
  return message
}

/**
 * Headers and labels have names that callers and apps choose. The decoder refuses `__proto__`, and the refusal closes
 * the link, so one request with such a header could keep a runner from its work: the name is left out here.
 */
function withSafeKeys(frame: Frame): Frame {
  if ("headers" in frame && Object.hasOwn(frame.headers, "__proto__"))
    return { ...frame, headers: withoutProto(frame.headers) }
  if (frame.type !== "event" || frame.event.kind !== "log") return frame
  const { labels } = frame.event
  if (labels === undefined || !Object.hasOwn(labels, "__proto__")) return frame
  return { ...frame, event: { ...frame.event, labels: withoutProto(labels) } }
}

function withoutProto(record: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(record).filter(([name]) => name !== "__proto__"))
}
