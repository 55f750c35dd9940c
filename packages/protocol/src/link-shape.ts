/**
 * The outer shape of a message, judged on the raw bytes before anything is built from them. A msgpack decoder
 * allocates an array as soon as it reads its declared length, so a few kilobytes of nested lengths would ask for
 * gigabytes. After this check the number of values is at most the number of bytes, and nesting is bounded.
 */

export interface ShapeLimits {
  depthMax: number
  /** Of all kinds, the outermost included. */
  valuesMax: number
}

/** Of a link message: array of frames, frame, list in it, entry of the list. */
const linkLimits: ShapeLimits = { depthMax: 4, valuesMax: Number.POSITIVE_INFINITY }

/** What is wrong with the bytes as one msgpack value, or null. */
export function findShapeError(
  bytes: Uint8Array,
  { depthMax, valuesMax }: ShapeLimits = linkLimits,
): string | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  /** Values still to come, for each open array or map. */
  const open: number[] = []
  let position = 0
  let values = 0
  do {
    if (position >= bytes.length) return "truncated"
    values += 1
    if (values > valuesMax) return `more than ${valuesMax} values`
    const head = readHead(view, position)
    if (head === null) return `type byte 0x${bytes[position]?.toString(16)} is not used`
    position += head.bytes
    if (position > bytes.length) return "truncated"
    if (open.length > 0) open[open.length - 1]! -= 1
    if (head.values > 0) {
      if (open.length === depthMax) return `nested deeper than ${depthMax}`
      open.push(head.values)
    }
    while (open.at(-1) === 0) open.pop()
  } while (open.length > 0)
  return position === bytes.length ? null : "bytes after the message"
}

interface Head {
  /** Of the head itself and, for a scalar, of its content. */
  bytes: number
  /** Values that follow and belong to it. */
  values: number
}

/** The value that starts at `position`; null for a type that the link does not use. */
function readHead(view: DataView, position: number): Head | null {
  const type = view.getUint8(position)
  if (type <= 0x7f || type >= 0xe0) return { bytes: 1, values: 0 }
  if (type <= 0x8f) return { bytes: 1, values: (type & 0x0f) * 2 }
  if (type <= 0x9f) return { bytes: 1, values: type & 0x0f }
  if (type <= 0xbf) return { bytes: 1 + (type & 0x1f), values: 0 }
  const fixed = scalarBytes[type]
  if (fixed !== undefined) return { bytes: fixed, values: 0 }
  const sized = sizedTypes[type]
  if (sized === undefined) return null
  const size = readSize(view, position + 1, sized.sizeBytes)
  const bytes = 1 + sized.sizeBytes
  return sized.per === 0 ? { bytes: bytes + size, values: 0 } : { bytes, values: size * sized.per }
}

/** nil, false, true, float32, float64, uint8 … uint64, int8 … int64. */
const scalarBytes: Record<number, number> = {
  0xc0: 1,
  0xc2: 1,
  0xc3: 1,
  0xca: 5,
  0xcb: 9,
  0xcc: 2,
  0xcd: 3,
  0xce: 5,
  0xcf: 9,
  0xd0: 2,
  0xd1: 3,
  0xd2: 5,
  0xd3: 9,
}

/** bin, str, array, map: `per` is how many values each unit of the size stands for, 0 for plain bytes. */
const sizedTypes: Record<number, { sizeBytes: 1 | 2 | 4; per: 0 | 1 | 2 }> = {
  0xc4: { sizeBytes: 1, per: 0 },
  0xc5: { sizeBytes: 2, per: 0 },
  0xc6: { sizeBytes: 4, per: 0 },
  0xd9: { sizeBytes: 1, per: 0 },
  0xda: { sizeBytes: 2, per: 0 },
  0xdb: { sizeBytes: 4, per: 0 },
  0xdc: { sizeBytes: 2, per: 1 },
  0xdd: { sizeBytes: 4, per: 1 },
  0xde: { sizeBytes: 2, per: 2 },
  0xdf: { sizeBytes: 4, per: 2 },
}

/** A size that is itself cut off reads as one that cannot fit, so the caller finds the message truncated. */
function readSize(view: DataView, position: number, sizeBytes: 1 | 2 | 4): number {
  if (position + sizeBytes > view.byteLength) return Number.MAX_SAFE_INTEGER
  if (sizeBytes === 1) return view.getUint8(position)
  return sizeBytes === 2 ? view.getUint16(position) : view.getUint32(position)
}
