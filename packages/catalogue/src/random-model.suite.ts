import { cp, mkdtemp, readFile, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { miniatureFolder } from "@tintype/diffusion"

const checkpoint = join(miniatureFolder, "../parity/fixtures/checkpoint")

/**
 * A folder with a model whose weights are random: its pictures are noise, but they come by the whole way, previews included.
 * The caller removes it.
 */
export async function makeRandomModel(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tintype-random-model-"))
  await cp(checkpoint, folder, { recursive: true })
  const file = join(folder, "model_index.json")
  const index = JSON.parse(await readFile(file, "utf8")) as Record<string, unknown>
  const weights = [0, 1, 2].map((colour) => [0, 1, 2, 3].map((at) => (at === colour ? 0.3 : 0)))
  const tintype = { latent_to_rgb: { weights, bias: [0, 0, 0] } }
  await writeFile(file, JSON.stringify({ ...index, tintype }))
  return folder
}
