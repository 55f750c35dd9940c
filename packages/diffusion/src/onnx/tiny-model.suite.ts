import { mkdir, mkdtemp, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  castTo,
  type ElementType,
  encodeGraph,
  type Graph,
  type Node,
  type Value,
} from "./onnx-file.suite.ts"

/**
 * A diffusers folder in ONNX whose networks are a few sums, so that tests know what they say, and any export can be imitated:
 *
 * - text: token n is the row `[n, n, n, n] / 1000`;
 * - denoiser: `sample / 2` + the mean of the text + `timestep` / 1000 (+ a tenth of the means of what else it reads);
 * - decoder: the first three channels as red, green and blue, each latent eight pixels wide; the encoder is its inverse.
 */
export interface TinyModel {
  sdxl?: boolean
  lcm?: boolean
  floats?: "float32" | "float16"
  timestep?: Value
  ids?: ElementType
  /** Channels of the encoder's output: 8 are means and log variances. */
  encodedChannels?: number
  sample?: readonly (number | string)[]
  /** Columns of the text that the denoiser says it reads. */
  textWidth?: number | string
  /** Replace or, with null, leave out files. */
  files?: Readonly<Record<string, string | Buffer | null>>
}

const tokens = 77
const width = 4
const words = ["a", "b", "c", "d", "e"]
const vocabulary = [
  ...words,
  ...words.map((word) => `${word}</w>`),
  "<|startoftext|>",
  "<|endoftext|>",
]

/** Writes it into a new folder and gives the path. */
export async function writeTinyModel(wish: TinyModel = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tiny-model-"))
  for (const [path, content] of Object.entries({ ...tinyFiles(wish), ...wish.files })) {
    if (content === null) continue
    const target = join(folder, path)
    await mkdir(join(target, ".."), { recursive: true })
    await writeFile(target, content)
  }
  return folder
}

function tokenizerFiles(padding: string, suffix: "" | "_2"): Record<string, string> {
  const vocabularyWithIds = Object.fromEntries(vocabulary.map((token, id) => [token, id]))
  const config = { pad_token: padding, model_max_length: tokens }
  return {
    [`tokenizer${suffix}/vocab.json`]: JSON.stringify(vocabularyWithIds),
    [`tokenizer${suffix}/merges.txt`]: "#version: 0.2\n",
    [`tokenizer${suffix}/tokenizer_config.json`]: JSON.stringify(config),
  }
}

export function tinyFiles(wish: TinyModel = {}): Record<string, string | Buffer> {
  const { sdxl = false, lcm = false } = wish
  return {
    "model_index.json": JSON.stringify({ force_zeros_for_empty_prompt: sdxl }),
    "scheduler/scheduler_config.json": JSON.stringify({
      _class_name: "DDIMScheduler",
      beta_start: 0.00085,
      beta_end: 0.012,
      beta_schedule: "scaled_linear",
      clip_sample: false,
      set_alpha_to_one: false,
      steps_offset: 1,
    }),
    ...tokenizerFiles("<|endoftext|>", ""),
    "text_encoder/model.onnx": encodeGraph(textEncoder(wish, false)),
    ...(sdxl
      ? {
          ...tokenizerFiles("a", "_2"),
          "text_encoder_2/model.onnx": encodeGraph(textEncoder(wish, true)),
        }
      : {}),
    "unet/model.onnx": encodeGraph(denoiser(wish)),
    "unet/config.json": JSON.stringify({
      in_channels: 4,
      sample_size: 8,
      block_out_channels: [8, 8],
      ...(lcm ? { time_cond_proj_dim: 6 } : {}),
    }),
    "vae_decoder/model.onnx": encodeGraph(decoder(wish)),
    "vae_decoder/config.json": JSON.stringify({ latent_channels: 4, scaling_factor: 0.5 }),
    "vae_encoder/model.onnx": encodeGraph(pictureEncoder(wish)),
  }
}

function inner(name: string): string {
  return `${name} as float32`
}

function cast(from: string, to: string, as: ElementType): Node {
  return { operator: "Cast", inputs: [from], output: to, attributes: { to: castTo(as) } }
}

/** The graph's floats are cast on their way in and out, where the file is to have another type. */
function typed(type: ElementType, graph: Graph): Graph {
  if (type === "float32") return graph
  const floats = new Set(
    [...graph.inputs, ...graph.outputs]
      .filter((value) => value.type === "float32")
      .map(({ name }) => name),
  )
  const renamed = (name: string) => (floats.has(name) ? inner(name) : name)
  const outside = (value: Value): Value => (floats.has(value.name) ? { ...value, type } : value)
  const entering = graph.inputs.filter(({ name }) => floats.has(name))
  const leaving = graph.outputs.filter(({ name }) => floats.has(name))
  return {
    weights: graph.weights,
    inputs: graph.inputs.map(outside),
    outputs: graph.outputs.map(outside),
    nodes: [
      ...entering.map(({ name }) => cast(name, inner(name), "float32")),
      ...graph.nodes.map((node) => ({
        ...node,
        inputs: node.inputs.map(renamed),
        output: renamed(node.output),
      })),
      ...leaving.map(({ name }) => cast(inner(name), name, type)),
    ],
  }
}

function textEncoder(
  { floats = "float32", ids = "int64", sdxl = false }: TinyModel,
  second: boolean,
): Graph {
  const row = (id: number) => Array.from({ length: width }, () => id / 1000)
  const hidden = sdxl ? ["hidden_states.0", "hidden_states.1", "hidden_states.2"] : []
  const shape = ["batch", tokens, width]
  const pooled = second ? "text_embeds" : "pooler_output"
  return typed(floats, {
    inputs: [{ name: "input_ids", type: ids, shape: ["batch", "tokens"] }],
    outputs: [
      { name: "last_hidden_state", type: "float32", shape },
      { name: pooled, type: "float32", shape: ["batch", width] },
      ...hidden.map((name) => ({ name, type: "float32" as const, shape })),
    ],
    nodes: [
      { operator: "Gather", inputs: ["table", "input_ids"], output: "last_hidden_state" },
      {
        operator: "ReduceMean",
        inputs: ["last_hidden_state"],
        output: pooled,
        attributes: { axes: [1], keepdims: 0 },
      },
      // Layer n is the last one times n; the one before the last is the middle one.
      ...hidden.map((name, layer) => ({
        operator: "Mul",
        inputs: ["last_hidden_state", `factor ${layer}`],
        output: name,
      })),
    ],
    weights: {
      table: { dims: [vocabulary.length, width], data: vocabulary.flatMap((_, id) => row(id)) },
      ...Object.fromEntries(
        hidden.map((_, layer) => [`factor ${layer}`, { dims: [1], data: [layer] }]),
      ),
    },
  })
}

function denoiser(wish: TinyModel): Graph {
  const { sdxl = false, lcm = false, floats = "float32" } = wish
  const sample = wish.sample ?? ["batch", 4, "height", "width"]
  const also: Value[] = [
    ...(sdxl
      ? [
          { name: "text_embeds", type: "float32" as const, shape: ["batch", width] },
          { name: "time_ids", type: "float32" as const, shape: ["batch", 6] },
        ]
      : []),
    ...(lcm ? [{ name: "timestep_cond", type: "float32" as const, shape: ["batch", 6] }] : []),
  ]
  const textWidth = wish.textWidth ?? (sdxl ? 2 * width : width)
  const timestep = wish.timestep ?? { name: "timestep", type: "int64", shape: ["steps"] }
  const sums = ["text", "time", ...also.map(({ name }) => `part of ${name}`)]
  return typed(floats, {
    inputs: [
      { name: "sample", type: "float32", shape: sample },
      timestep,
      { name: "encoder_hidden_states", type: "float32", shape: ["batch", "tokens", textWidth] },
      ...also,
    ],
    outputs: [{ name: "out_sample", type: "float32", shape: ["batch", 4, "height", "width"] }],
    nodes: [
      { operator: "Mul", inputs: ["sample", "half"], output: "sum 0" },
      {
        operator: "ReduceMean",
        inputs: ["encoder_hidden_states"],
        output: "text mean",
        attributes: { axes: [1, 2], keepdims: 1 },
      },
      { operator: "Unsqueeze", inputs: ["text mean"], output: "text", attributes: { axes: [3] } },
      {
        operator: "Cast",
        inputs: ["timestep"],
        output: "time as float",
        attributes: { to: castTo("float32") },
      },
      {
        operator: "ReduceMean",
        inputs: ["time as float"],
        output: "time mean",
        attributes: { keepdims: 0 },
      },
      { operator: "Mul", inputs: ["time mean", "thousandth"], output: "time" },
      ...also.flatMap(({ name }) => [
        {
          operator: "ReduceMean",
          inputs: [name],
          output: `mean of ${name}`,
          attributes: { keepdims: 0 },
        },
        { operator: "Mul", inputs: [`mean of ${name}`, "tenth"], output: `part of ${name}` },
      ]),
      ...sums.map((name, at) => ({
        operator: "Add",
        inputs: [`sum ${at}`, name],
        output: at === sums.length - 1 ? "out_sample" : `sum ${at + 1}`,
      })),
    ],
    weights: {
      half: { dims: [1], data: [0.5] },
      tenth: { dims: [1], data: [0.1] },
      thousandth: { dims: [1], data: [0.001] },
    },
  })
}

function decoder({ floats = "float32" }: TinyModel): Graph {
  return typed(floats, {
    inputs: [{ name: "latent_sample", type: "float32", shape: ["batch", 4, "height", "width"] }],
    outputs: [{ name: "sample", type: "float32", shape: ["batch", 3, "rows", "columns"] }],
    nodes: [
      { operator: "Conv", inputs: ["latent_sample", "colours"], output: "small" },
      {
        operator: "Resize",
        inputs: ["small", "none", "scales"],
        output: "sample",
        attributes: {
          mode: "nearest",
          coordinate_transformation_mode: "asymmetric",
          nearest_mode: "floor",
        },
      },
    ],
    weights: {
      colours: { dims: [3, 4, 1, 1], data: unit(3, 4) },
      none: { dims: [0], data: [] },
      scales: { dims: [4], data: [1, 1, 8, 8] },
    },
  })
}

function pictureEncoder({ floats = "float32", encodedChannels = 4 }: TinyModel): Graph {
  return typed(floats, {
    inputs: [{ name: "sample", type: "float32", shape: ["batch", 3, "rows", "columns"] }],
    outputs: [
      {
        name: encodedChannels === 8 ? "latent_parameters" : "latent_sample",
        type: "float32",
        shape: ["batch", encodedChannels, "height", "width"],
      },
    ],
    nodes: [
      {
        operator: "AveragePool",
        inputs: ["sample"],
        output: "small",
        attributes: { kernel_shape: [8, 8], strides: [8, 8] },
      },
      {
        operator: "Conv",
        inputs: ["small", "channels"],
        output: encodedChannels === 8 ? "latent_parameters" : "latent_sample",
      },
    ],
    weights: { channels: { dims: [encodedChannels, 3, 1, 1], data: unit(encodedChannels, 3) } },
  })
}

function unit(rows: number, columns: number): number[] {
  return Array.from({ length: rows * columns }, (_, at) =>
    Math.floor(at / columns) === at % columns ? 1 : 0,
  )
}
