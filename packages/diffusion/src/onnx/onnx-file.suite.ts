/** Writes ONNX files for tests: what of the format's protobuf (onnx.proto) a graph of a few nodes needs. */

export type ElementType = "float32" | "int32" | "int64" | "float16" | "bool"

const elementTypes = { float32: 1, int32: 6, int64: 7, bool: 9, float16: 10 }

/** A dimension that is free has a name. */
export interface Value {
  name: string
  type: ElementType
  shape: readonly (number | string)[]
}

export interface Node {
  operator: string
  inputs: readonly string[]
  output: string
  attributes?: Readonly<Record<string, number | string | readonly number[]>>
}

export interface Graph {
  inputs: readonly Value[]
  outputs: readonly Value[]
  nodes: readonly Node[]
  weights: Readonly<Record<string, { dims: readonly number[]; data: readonly number[] }>>
}

/** For the attribute `to` of Cast. */
export function castTo(type: ElementType): number {
  return elementTypes[type]
}

export function encodeGraph({ inputs, outputs, nodes, weights }: Graph): Buffer {
  const graph = Buffer.concat([
    ...nodes.map((node) => message(1, encodeNode(node))),
    text(2, "test"),
    ...Object.entries(weights).map(([name, weight]) => message(5, encodeWeight(name, weight))),
    ...inputs.map((value) => message(11, encodeValue(value))),
    ...outputs.map((value) => message(12, encodeValue(value))),
  ])
  const operators = Buffer.concat([text(1, ""), integer(2, 12)])
  return Buffer.concat([integer(1, 7), message(7, graph), message(8, operators)])
}

function encodeNode({ operator, inputs, output, attributes = {} }: Node): Buffer {
  return Buffer.concat([
    ...inputs.map((name) => text(1, name)),
    text(2, output),
    text(4, operator),
    ...Object.entries(attributes).map(([name, value]) => message(5, encodeAttribute(name, value))),
  ])
}

function encodeAttribute(name: string, value: number | string | readonly number[]): Buffer {
  if (typeof value === "number") {
    return Buffer.concat([text(1, name), integer(3, value), integer(20, 2)])
  }
  if (typeof value === "string") {
    return Buffer.concat([text(1, name), text(4, value), integer(20, 3)])
  }
  return Buffer.concat([text(1, name), ...value.map((one) => integer(8, one)), integer(20, 7)])
}

function encodeWeight(
  name: string,
  { dims, data }: { dims: readonly number[]; data: readonly number[] },
): Buffer {
  const raw = Buffer.from(Float32Array.from(data).buffer)
  return Buffer.concat([
    ...dims.map((dim) => integer(1, dim)),
    integer(2, elementTypes.float32),
    text(8, name),
    message(9, raw),
  ])
}

function encodeValue({ name, type, shape }: Value): Buffer {
  const dims = shape.map((dim) =>
    message(1, typeof dim === "number" ? integer(1, dim) : text(2, dim)),
  )
  const tensor = Buffer.concat([integer(1, elementTypes[type]), message(2, Buffer.concat(dims))])
  return Buffer.concat([text(1, name), message(2, message(1, tensor))])
}

function text(field: number, value: string): Buffer {
  return message(field, Buffer.from(value))
}

function message(field: number, bytes: Buffer): Buffer {
  return Buffer.concat([varint(field * 8 + 2), varint(bytes.length), bytes])
}

function integer(field: number, value: number): Buffer {
  return Buffer.concat([varint(field * 8), varint(value)])
}

/** Negative numbers are those of 64 bits in two's complement. */
function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  return Buffer.from([...bytes, Number(rest)])
}
