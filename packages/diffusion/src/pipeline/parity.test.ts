import { execFile } from "node:child_process"
import { writeFileSync } from "node:fs"
import { mkdtemp } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterAll, describe, expect, test } from "vitest"
import type { Parity, ParityCase } from "./parity-case.suite.ts"
import { ParityFolder } from "./parity-case.suite.ts"

const latentErrorMax = 1e-3
const imageErrorMax = 2

const python = process.env["PARITY_PYTHON"]
const parity = fileURLToPath(new URL("../../parity", import.meta.url))
const report = fileURLToPath(
  new URL("../../../../docs/reference/diffusion-parity.md", import.meta.url),
)

/** An optional dependency, which some machines do not have. */
const hasRuntime = (() => {
  try {
    createRequire(import.meta.url).resolve("onnxruntime-node")
    return true
  } catch {
    console.log("skipped: onnxruntime-node is not installed, and parity needs real networks")
    return false
  }
})()

describe.skipIf(!hasRuntime)("the same pictures as Python's diffusers, from what is stored", () => {
  const folder = new ParityFolder(join(parity, "fixtures"))
  const found: Parity[] = []
  afterAll(async () => {
    await folder.close()
    const table = tableOf(found)
    console.log(table)
    if (process.env["PARITY_REPORT"] === "1") writeReport(folder, table)
  })

  test.each(folder.stored.cases.map((one) => [titleOf(one), one] as const))(
    "%s",
    async (_title, one) => {
      const result = await folder.compare(one)
      found.push(result)
      expect(result.latentError).toBeLessThanOrEqual(latentErrorMax)
      expect(result.imageError).toBeLessThanOrEqual(imageErrorMax)
    },
  )

  test("every scheduler is there in every mode", () => {
    const pairs = folder.stored.cases.map(({ scheduler, mode }) => `${scheduler} ${mode}`)
    expect(new Set(pairs).size).toBe(5 * 3)
  })
})

describe.skipIf(!hasRuntime || python === undefined)("the same as Python now", () => {
  test("networks and pictures that are made anew", { timeout: 300_000 }, async () => {
    const out = await mkdtemp(join(tmpdir(), "parity-"))
    const script = join(parity, "make_parity.py")
    await promisify(execFile)(python!, ["-B", "-W", "ignore", script, "--out", out])
    const folder = new ParityFolder(out)
    const wrong: string[] = []
    for (const one of folder.stored.cases) {
      const { latentError, imageError } = await folder.compare(one)
      if (latentError <= latentErrorMax && imageError <= imageErrorMax) continue
      wrong.push(`${titleOf(one)}: ${latentError}, ${imageError}`)
    }
    expect(wrong).toEqual([])
    await folder.close()
  })
})

if (python === undefined) {
  console.log("skipped: Python is not run anew, as PARITY_PYTHON does not name one with diffusers")
}

function titleOf(one: ParityCase): string {
  const what = Object.entries(one.config)
    .filter(([key]) => key !== "_class_name" && !key.startsWith("beta_"))
    .map(([key, value]) => `${key} ${String(value)}`)
  const how = [
    `guidance ${one.guidance}`,
    ...(one.mode === "text-to-image" ? [] : [`strength ${one.strength}`]),
    ...(one.unet === "plain" ? [] : [`${one.unet} U-Net`]),
    ...(one.pictures === 1 ? [] : [`${one.pictures} pictures`]),
    ...(one.width === one.height ? [] : [`${one.width} × ${one.height}`]),
  ]
  return `${one.scheduler}, ${one.mode}, ${one.steps} steps [${[...how, ...what].join(", ")}]`
}

/** The worst of each scheduler and mode. */
function tableOf(found: readonly Parity[]): string {
  const groups = Map.groupBy(found, ({ scheduler, mode }) => `| ${scheduler} | ${mode} |`)
  const rows = [...groups].map(([head, group]) => {
    const counts = [...new Set(group.map(({ steps }) => steps))].toSorted((a, b) => a - b)
    const latents = Math.max(...group.map(({ latentError }) => latentError))
    const image = Math.max(...group.map(({ imageError }) => imageError))
    return `${head} ${group.length} | ${counts.join(", ")} | ${latents.toExponential(1)} | ${image} |`
  })
  return [
    "| scheduler | mode | cases | steps | worst latent error, relative | worst image error, of 255 |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows,
  ].join("\n")
}

function writeReport(folder: ParityFolder, table: string): void {
  const versions = Object.entries(folder.stored.versions).map(([name, one]) => `${name} ${one}`)
  const runtime = createRequire(import.meta.url)("onnxruntime-node/package.json") as {
    version: string
  }
  writeFileSync(
    report,
    `# Parity with diffusers

Written by \`PARITY_REPORT=1 npx vitest run packages/diffusion/src/pipeline/parity.test.ts\`; what is compared, and what is not, is told in
[packages/diffusion/parity/README.md](../../packages/diffusion/parity/README.md).

Small networks with random weights, the same noise in Python and here. The latents after *every* step, the largest error of a number over the root
of the mean square of all: at most ${latentErrorMax}. The picture, the largest error of a channel: at most ${imageErrorMax} of 255.

${table}

Python: ${versions.join(", ")}. Here: Node ${process.versions.node}, onnxruntime-node ${runtime.version}, on the CPU, one thread.
`,
  )
}
