import { hubBytesMax, hubFilesMax, hubListingBytesMax } from "../limits.ts"
import { callHub, type HubAddress, type HubId, refused, unavailable } from "./hub-call.ts"

/** A file that a model needs. */
export interface HubFile {
  /** In the model's folder: `unet/model.onnx`. */
  path: string
  bytes: number
  /** `sha256` of large files; of small ones git's own, a SHA-1 over a header and the bytes. */
  checksum: { kind: "sha256" | "git"; hex: string }
}

const networkFolders = /^(text_encoder|text_encoder_2|unet|vae_decoder|vae_encoder)\/[^/]+$/
const tokenizerFiles = /^tokenizer(_2)?\/[^/]+\.(json|txt)$/
const configFiles = /^(model_index\.json|scheduler\/scheduler_config\.json)$/
/** Weights of other frameworks. */
const foreignWeights = /\.(safetensors|bin|xml|msgpack|h5|ckpt|pt|pth|index\.json)$/
/** `model.onnx` is loaded; repositories hold `model_fp16.onnx` and their like beside it. */
const otherVariants = /\/(?!model\.onnx)[^/]*\.onnx(_data|\.data)?$/

/** Whether a file of the repository is one of a diffusers folder in ONNX. */
export function isNeeded(path: string): boolean {
  if (configFiles.test(path) || tokenizerFiles.test(path)) return true
  return networkFolders.test(path) && !foreignWeights.test(path) && !otherVariants.test(path)
}

/** The files to fetch. Throws a `DiffusionError` where the model has no ONNX files, or too many bytes. */
export async function listFiles(
  hub: HubAddress,
  id: HubId,
  signal: AbortSignal,
): Promise<HubFile[]> {
  const files: HubFile[] = []
  let seen = 0
  const revision = encodeURIComponent(id.revision)
  let page: string | undefined = `/api/models/${id.model}/tree/${revision}?recursive=true`
  while (page !== undefined) {
    const { entries, next } = await readPage(hub, id, page, signal)
    seen += entries.length
    if (seen > hubFilesMax) throw refused(id, `has more than ${hubFilesMax} files`)
    files.push(...entries.flatMap((entry) => fileOf(id, entry)))
    // A page without an entry has nothing behind it: a hub that gives such pages for ever is not followed.
    page = entries.length === 0 ? undefined : next
  }
  if (!files.some(({ path }) => path === "unet/model.onnx")) {
    throw refused(
      id,
      "has no unet/model.onnx: only models with a U-Net that are stored as ONNX can be run",
    )
  }
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  if (bytes > hubBytesMax) throw refused(id, `has ${bytes} bytes, more than ${hubBytesMax}`)
  return files
}

interface Page {
  entries: unknown[]
  next: string | undefined
}

async function readPage(
  hub: HubAddress,
  id: HubId,
  path: string,
  signal: AbortSignal,
): Promise<Page> {
  return await callHub(hub, id, { path, signal }, async (answer, alive) => {
    const parts: Uint8Array[] = []
    let bytes = 0
    for await (const part of answer.body ?? []) {
      alive()
      bytes += part.byteLength
      if (bytes > hubListingBytesMax) throw refused(id, "its list of files is too long")
      parts.push(part)
    }
    const entries = parse(Buffer.concat(parts).toString("utf8"))
    if (entries === null) throw unavailable(id, `${hub.url} answers something else than a list`)
    return { entries, next: nextPage(hub, answer.headers.get("link")) }
  })
}

function parse(text: string): unknown[] | null {
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

/** `<https://…?cursor=…>; rel="next"`: of this hub only, as the token goes with it. */
function nextPage({ url }: HubAddress, link: string | null): string | undefined {
  const found = /<([^>]+)>\s*;\s*rel="next"/.exec(link ?? "")?.[1]
  if (found === undefined) return undefined
  const next = URL.parse(found, url)
  return next !== null && next.origin === new URL(url).origin ? next.href : undefined
}

function fileOf(id: HubId, entry: unknown): HubFile[] {
  if (typeof entry !== "object" || entry === null) return []
  const { type, path, size, oid, lfs } = entry as Partial<Record<string, unknown>>
  if (type !== "file" || typeof path !== "string" || !isNeeded(path)) return []
  // Two names at most, made of nothing that means something else to a file system.
  if (!/^([\w.-]+\/)?[\w.-]+$/.test(path) || path.split("/").some((part) => /^\.+$/.test(part))) {
    throw refused(id, `has a file with the name ${JSON.stringify(path)}`)
  }
  const large = typeof lfs === "object" && lfs !== null && "oid" in lfs ? lfs.oid : undefined
  const hex = large ?? oid
  if (typeof size !== "number" || !(size >= 0) || typeof hex !== "string") {
    throw unavailable(id, `the hub says neither size nor checksum of ${path}`)
  }
  const checksum = { kind: large === undefined ? "git" : "sha256", hex } as const
  return [{ path, bytes: size, checksum }]
}
