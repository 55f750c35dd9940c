import { mkdir, readFile, writeFile } from "node:fs/promises"
import { availableParallelism, cpus } from "node:os"
import { join } from "node:path"
import { type Audience, generate, type Job, miniatureFolder } from "@tintype/diffusion"

/**
 * Asks the miniature the 300 held-out captions through the product's own pipeline, and measures what a picture takes:
 *
 *     node --conditions=tintype-source training/miniature/generate.ts training/miniature/work/pictures
 *
 * Writes `guided/`, `unguided/` and `few-steps/`, a PNG of 128 x 128 a caption, and `timings.json`.
 */

const side = 128
const rounds = 21

interface HeldOut {
  caption: string
  seed: number
}

const runs = {
  guided: { steps: 20, guidanceScale: 4 },
  unguided: { steps: 20, guidanceScale: 1 },
  "few-steps": { steps: 4, guidanceScale: 4 },
} as const

const folder = process.argv[2]
if (folder === undefined) throw new Error("usage: generate.ts FOLDER")

const file = new URL("held_out.json", import.meta.url)
const captions: HeldOut[] = JSON.parse(await readFile(file, "utf8"))
const cold = await watch({ ...jobOf("a red circle", 1, runs.guided), previews: true })
for (const [name, settings] of Object.entries(runs)) {
  await mkdir(join(folder, name), { recursive: true })
  for (const [index, { caption, seed }] of captions.entries()) {
    const [picture] = await generate(jobOf(caption, seed, settings), nobody())
    const target = join(folder, name, `${String(index).padStart(3, "0")}.png`)
    await writeFile(target, picture!.bytes)
  }
  console.log(`${name}: ${captions.length} pictures`)
}
await writeFile(join(folder, "timings.json"), `${JSON.stringify(await measure(), null, 2)}\n`)

function jobOf(
  prompt: string,
  seed: number,
  settings: { steps: number; guidanceScale: number },
): Job {
  const size = { width: side, height: side }
  const fixed = {
    model: miniatureFolder,
    negativePrompt: "",
    format: "png",
    previews: false,
  } as const
  return { ...fixed, ...settings, prompt, seeds: [String(seed)], size }
}

function nobody(): Audience {
  return { signal: new AbortController().signal, log: () => undefined, progress: () => undefined }
}

/** Medians in milliseconds, one picture at a time, after one that is not counted. */
async function measure() {
  const prompt = captions[0]!.caption
  const twentySteps: number[] = []
  const fewSteps: number[] = []
  const firstPreview: number[] = []
  for (let round = 0; round <= rounds; round++) {
    twentySteps.push((await watch(jobOf(prompt, round, runs.guided))).ms)
    fewSteps.push((await watch(jobOf(prompt, round, runs["few-steps"]))).ms)
    const previewed = await watch({ ...jobOf(prompt, round, runs.guided), previews: true })
    firstPreview.push(previewed.firstPreviewMs)
  }
  return {
    processor: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    twentyStepsMs: median(twentySteps.slice(1)),
    fewStepsMs: median(fewSteps.slice(1)),
    firstPreviewMs: median(firstPreview.slice(1)),
    coldMs: cold.ms,
    coldPreviewMs: cold.firstPreviewMs,
  }
}

interface Watched {
  ms: number
  firstPreviewMs: number
}

async function watch(job: Job): Promise<Watched> {
  const startedAt = performance.now()
  let seenAt = Number.NaN
  const onPreviews = async () => {
    if (Number.isNaN(seenAt)) seenAt = performance.now()
  }
  await generate(job, { ...nobody(), onPreviews })
  return { ms: performance.now() - startedAt, firstPreviewMs: seenAt - startedAt }
}

function median(values: number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)]!
}
