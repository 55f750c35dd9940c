/// <reference lib="es2025.float16" />
import type { InferenceSession, Tensor as OnnxTensor } from "onnxruntime-node"
import { messageOf, modelFault } from "../diffusion-error.ts"
import type { Tensor } from "../tensor.ts"
import { sizeOf } from "./json-file.ts"
import type { Execution, Runtime } from "./runtime.ts"

/** Numbers for an input, whatever its type. */
export interface Numbers {
  data: Float32Array | readonly number[]
  dims: readonly number[]
}

/** An input or output as the file declares it: a dimension is a number, or the name of one that is free. */
export interface Port {
  readonly name: string
  readonly type: OnnxTensor.Type
  readonly shape: readonly (number | string)[]
}

/**
 * One ONNX file, loaded. Types are converted both ways, so that callers know numbers alone: exports of one model differ in
 * float32 and float16, int32 and int64. ONNX Runtime calls block the thread until they are done.
 */
export class Network {
  readonly path: string
  readonly inputs: ReadonlyMap<string, Port>
  readonly outputs: readonly Port[]
  readonly #runtime: Runtime
  readonly #session: InferenceSession

  private constructor(path: string, runtime: Runtime, session: InferenceSession) {
    this.path = path
    this.#runtime = runtime
    this.#session = session
    const inputs = session.inputMetadata.map((one) => portOf(path, one))
    this.inputs = new Map(inputs.map((port) => [port.name, port]))
    this.outputs = session.outputMetadata.map((one) => portOf(path, one))
  }

  /** By path, so that weights beside the file (`model.onnx_data`) are found. Throws a `model_fault`. */
  static async open(path: string, runtime: Runtime, execution: Execution): Promise<Network> {
    if ((await sizeOf(path)) === null) throw modelFault(path, "the file is missing")
    const { provider, threads } = execution
    try {
      const session = await runtime.InferenceSession.create(path, {
        executionProviders: [provider],
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        executionMode: "sequential",
        // Errors only: its warnings are about graphs that nobody here can change.
        logSeverityLevel: 3,
      })
      return new Network(path, runtime, session)
    } catch (error) {
      const on = provider === "cpu" ? "" : ` on ${provider}`
      throw modelFault(path, `cannot be loaded${on} (${messageOf(error)})`, { cause: error })
    }
  }

  /** The input of that name, of that many dimensions; throws a `model_fault` where there is none. */
  input(name: string, rank: number): Port {
    const port = this.inputs.get(name)
    if (port === undefined) {
      throw modelFault(
        this.path,
        `has no input ${name}; its inputs are ${[...this.inputs.keys()].join(", ")}`,
      )
    }
    if (port.shape.length === rank) return port
    throw modelFault(
      this.path,
      `its input ${name} has ${port.shape.length} dimensions instead of ${rank}`,
    )
  }

  /** The only input of a network that has one. */
  onlyInput(rank: number): Port {
    const [first, ...others] = this.inputs.keys()
    if (first !== undefined && others.length === 0) return this.input(first, rank)
    throw modelFault(
      this.path,
      `has ${this.inputs.size} inputs instead of one: ${[...this.inputs.keys()].join(", ")}`,
    )
  }

  /** Runs it and gives the outputs that were named. Blocks the thread. */
  async run(
    feeds: Readonly<Record<string, Numbers>>,
    wanted: readonly string[],
  ): Promise<Record<string, Tensor>> {
    const given = Object.entries(feeds).map(([name, numbers]) => [
      name,
      this.#tensorOf(name, numbers),
    ])
    let found: InferenceSession.ReturnType
    try {
      found = await this.#session.run(Object.fromEntries(given), [...wanted])
    } catch (error) {
      throw modelFault(this.path, `cannot be run (${messageOf(error)})`, { cause: error })
    }
    const results = wanted.map((name) => [name, this.#numbersOf(name, found[name])])
    return Object.fromEntries(results)
  }

  /** Gives its memory back; not to be run after that. */
  async close(): Promise<void> {
    await this.#session.release()
  }

  #tensorOf(name: string, { data, dims }: Numbers): OnnxTensor {
    const { Tensor: Made } = this.#runtime
    const type = this.inputs.get(name)?.type
    switch (type) {
      case "float32":
        return new Made(data instanceof Float32Array ? data : Float32Array.from(data), dims)
      case "float16": {
        const bits = new Uint16Array(Float16Array.from(data).buffer)
        const tensor = new Made("float16", bits, dims)
        // The constructor makes a Float16Array of it, whose length the binding of 1.30 reads as 0 (onnxruntime#32323).
        return Object.defineProperty(tensor, "data", { value: bits })
      }
      case "float64":
        return new Made(Float64Array.from(data), dims)
      case "int32":
        return new Made(Int32Array.from(data, Math.round), dims)
      case "int64": {
        const whole = BigInt64Array.from({ length: data.length }, (_, at) =>
          BigInt(Math.round(data[at]!)),
        )
        return new Made(whole, dims)
      }
      default:
        throw modelFault(this.path, `its input ${name} is of type ${type}, which no model here has`)
    }
  }

  #numbersOf(name: string, value: InferenceSession.ReturnType[string] | undefined): Tensor {
    if (value === undefined) throw modelFault(this.path, `gave no output ${name}`)
    const { data, dims } = value
    if (data instanceof Float32Array) return { data, dims }
    if (value.type === "float16" && ArrayBuffer.isView(data)) {
      const halves = new Float16Array(data.buffer, data.byteOffset, data.byteLength / 2)
      return { data: Float32Array.from(halves), dims }
    }
    if (data instanceof Float64Array) return { data: Float32Array.from(data), dims }
    throw modelFault(this.path, `its output ${name} is of type ${value.type}, not of floats`)
  }
}

function portOf(path: string, metadata: InferenceSession.ValueMetadata): Port {
  const { name } = metadata
  if (!metadata.isTensor) throw modelFault(path, `its ${name} is no tensor`)
  return { name, type: metadata.type, shape: metadata.shape }
}
