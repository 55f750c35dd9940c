import { Decoder, Encoder } from "@msgpack/msgpack"
import {
  LinkProtocolError,
  assertGatewayFrames,
  assertPart,
  assertRunnerFrames,
} from "./link-frames.ts"
import { findShapeError } from "./link-shape.ts"
import {
  type GatewayFrame,
  type PartFrame,
  type RunnerFrame,
  linkFrameBytesMax,
  linkMessageBytesMax,
} from "./link.ts"

/**
 * Frames to messages and back. A message is one msgpack array of one or more frames, ≤ `linkMessageBytesMax`. A frame
 * that is larger makes a message that is cut: its pieces travel as messages of one `part` each, one right after the
 * other, all full but the last, so that no reader keeps more than `linkFrameBytesMax` or more than 65 pieces.
 */

export type Frame = RunnerFrame | GatewayFrame

/** A body up to here travels in its frame, a larger one by `/_/transfer`; the rest of a message is for headers. */
export const linkInlineBytesMax = 128 * 1024

/** Every message starts as an array with a 16-bit length: the smallest frame is 11 bytes, so 65,535 never fill. */
const headBytes = 3

/** What a part adds to its bytes, generously. */
const partBytes = linkMessageBytesMax - 64

let encoder = new Encoder({ ignoreUndefined: true })
const decoder = new Decoder()

/**
 * Packs frames, in their order, into as few messages as hold them. Throws `RangeError` for a frame larger than
 * `linkFrameBytesMax`: its body should have gone through a transfer, its text should have been cut.
 */
export function encodeFrames(frames: readonly Frame[]): Uint8Array[] {
  const messages: Uint8Array[] = []
  let waiting: Uint8Array[] = []
  let bytes = headBytes
  for (const frame of frames) {
    const packed = encoder.encode(withSafeKeys(frame))
    if (bytes + packed.length > linkMessageBytesMax && waiting.length > 0) {
      messages.push(join(waiting, bytes))
      waiting = []
      bytes = headBytes
    }
    if (headBytes + packed.length > linkMessageBytesMax) {
      messages.push(...cut(frame.type, join([packed], headBytes + packed.length)))
      continue
    }
    waiting.push(packed)
    bytes += packed.length
  }
  if (waiting.length > 0) messages.push(join(waiting, bytes))
  return messages
}

function cut(type: string, whole: Uint8Array): Uint8Array[] {
  // An encoder keeps the largest buffer that it ever needed.
  encoder = new Encoder({ ignoreUndefined: true })
  if (whole.length > linkFrameBytesMax) {
    throw new RangeError(`A frame ${type} of ${whole.length} bytes does not fit the link`)
  }
  return Array.from({ length: Math.ceil(whole.length / partBytes) }, (_, index) => {
    const end = (index + 1) * partBytes
    const bytes = whole.subarray(index * partBytes, end)
    return encoder.encode([{ type: "part", bytes, isLast: end >= whole.length }])
  })
}

/**
 * Answers the frames of one link's next message: none while there are only parts of one. Throws `LinkProtocolError`,
 * after which the link is over. A body is a view of the message's own memory.
 */
export type FrameReader<Of extends Frame> = (message: Uint8Array) => Of[]

/** Reads what one runner sends. */
export function createRunnerFrameReader(): FrameReader<RunnerFrame> {
  const assembler = new Assembler()
  return (message) => {
    const frames = assembler.read(message)
    assertRunnerFrames(frames)
    return frames
  }
}

/** Reads what the gateway sends over one link. */
export function createGatewayFrameReader(): FrameReader<GatewayFrame> {
  const assembler = new Assembler()
  return (message) => {
    const frames = assembler.read(message)
    assertGatewayFrames(frames)
    return frames
  }
}

/** Puts parts together again. It owns those of one frame; nothing may come between them. */
class Assembler {
  #parts: Uint8Array[] = []
  #bytes = 0

  read(message: Uint8Array): unknown[] {
    if (message.length > linkMessageBytesMax)
      throw new LinkProtocolError(`message of ${message.length} bytes`)
    const frames = decodeMessage(message)
    const part = frames.find(isPart)
    if (part !== undefined && frames.length === 1) return this.#add(part)
    if (part !== undefined) throw new LinkProtocolError("part: it is not alone in its message")
    if (this.#bytes > 0) throw new LinkProtocolError("part: another frame came before the last")
    return frames
  }

  #add(part: PartFrame): unknown[] {
    assertPart(part)
    const { bytes, isLast } = part
    // Were parts of any size taken, millions of them would fit below the limit.
    if (!isLast && bytes.length !== partBytes)
      throw new LinkProtocolError(`part: ${bytes.length} bytes where ${partBytes} were expected`)
    if (this.#bytes + bytes.length > linkFrameBytesMax)
      throw new LinkProtocolError(`part: a frame of more than ${linkFrameBytesMax} bytes`)
    this.#parts.push(bytes)
    this.#bytes += bytes.length
    if (!isLast) return []
    const whole = concat(this.#parts, this.#bytes)
    this.#parts = []
    this.#bytes = 0
    return decodeMessage(whole)
  }
}

function isPart(frame: unknown): frame is PartFrame {
  return typeof frame === "object" && frame !== null && "type" in frame && frame.type === "part"
}

function decodeMessage(message: Uint8Array): unknown[] {
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

/** A message of these frames; `bytes` is its length. */
function join(frames: readonly Uint8Array[], bytes: number): Uint8Array {
  const head = Uint8Array.of(0xdc, frames.length >> 8, frames.length & 0xff)
  return concat([head, ...frames], bytes)
}

function concat(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  const whole = new Uint8Array(bytes)
  let position = 0
  for (const piece of pieces) {
    whole.set(piece, position)
    position += piece.length
  }
  return whole
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
