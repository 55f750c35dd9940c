import { createWriteStream } from "node:fs"
import { access, constants, mkdir, rm, stat } from "node:fs/promises"
import { dirname, extname, join } from "node:path"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { extensionOf, isKnownExtension } from "../media-types.ts"
import { CommandError, reasonOf } from "../terminal.ts"
import { isRecord } from "./wire-reading.ts"

export interface OutputReference {
  url: string
  contentType: string | null
}

const outputsMax = 1_000
const suffixesMax = 1_000

/** Every `url` in a result that can be saved, in the order of the document, each once. */
export function findOutputs(result: unknown): OutputReference[] {
  const found = new Map<string, OutputReference>()
  const open: unknown[] = [result]
  while (open.length > 0 && found.size < outputsMax) {
    const value = open.pop()
    if (typeof value !== "object" || value === null) continue
    const { url, content_type: type } = isRecord(value) ? value : {}
    if (typeof url === "string" && /^(https?:\/\/|data:)/.test(url)) {
      found.set(url, { url, contentType: typeof type === "string" ? type : null })
    }
    open.push(...Object.values(value).toReversed())
  }
  return [...found.values()]
}

/**
 * `flux-dev-764cabcf.jpg`, or `flux-dev-764cabcf-2.jpg` for the second of several. The name is made here, of the
 * endpoint and the request, so that what a server sends can never choose a path.
 */
export function nameOutput(
  output: OutputReference,
  place: { endpoint: string; requestId: string; index: number; count: number },
): string {
  const words = place.endpoint.split("/").slice(1).join("-") || place.endpoint
  const stem = words.replace(/[^\w.-]+/g, "-").replace(/^[.-]+/, "")
  const number = place.count > 1 ? `-${place.index + 1}` : ""
  return `${stem || "output"}-${place.requestId.slice(0, 8)}${number}${extensionFor(output)}`
}

function extensionFor({ url, contentType }: OutputReference): string {
  if (contentType !== null) {
    const extension = extensionOf(contentType)
    if (extension !== ".bin") return extension
  }
  if (url.startsWith("data:")) return extensionOf(/^data:([^;,]*)/.exec(url)![1]!)
  const extension = extname(new URL(url).pathname).toLowerCase()
  return isKnownExtension(extension) ? extension : ".bin"
}

/**
 * Makes the folder and those above it that are missing. One at a time: where the system answers ENOENT for a
 * folder that is there (`/proc`), Node's recursive form never comes to an end.
 */
export async function makeFolder(path: string): Promise<void> {
  const missing: string[] = []
  for (let folder = path; ; folder = dirname(folder)) {
    const found = await stat(folder).catch(() => null)
    if (found?.isDirectory() === true) break
    if (found !== null) throw new CommandError(`${folder} is a file, not a folder`)
    if (dirname(folder) === folder) break
    missing.unshift(folder)
  }
  for (const folder of missing) {
    await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw asCommandError(folder, error)
    })
  }
  await access(path, constants.W_OK).catch((error: unknown) => {
    throw asCommandError(path, error)
  })
}

/** Saves under the name, or under the name with a number when it is taken; resolves to the path. */
export async function saveOutput(
  output: OutputReference,
  target: { folder: string; name: string },
  download: (url: string) => Promise<Response>,
): Promise<string> {
  const source = await openOutput(output, download)
  const extension = extname(target.name)
  const stem = target.name.slice(0, target.name.length - extension.length)
  for (let suffix = 1; suffix <= suffixesMax; suffix++) {
    const path = join(target.folder, suffix === 1 ? target.name : `${stem}_${suffix}${extension}`)
    // "wx" fails on what is there: a picture of yesterday is never overwritten.
    const file = createWriteStream(path, { flags: "wx" })
    const taken = await new Promise<boolean>((resolve, reject) => {
      file.once("open", () => resolve(false))
      file.once("error", (error: NodeJS.ErrnoException) =>
        error.code === "EEXIST" ? resolve(true) : reject(asCommandError(path, error)),
      )
    })
    if (taken) continue
    try {
      await pipeline(source, file)
    } catch (error) {
      await rm(path, { force: true })
      throw asCommandError(path, error)
    }
    return path
  }
  throw new CommandError(
    `${target.name} is taken in ${target.folder}, and so are ${suffixesMax} more`,
  )
}

function asCommandError(path: string, error: unknown): CommandError {
  return new CommandError(`${path} cannot be written: ${reasonOf(error)}`, { cause: error })
}

async function openOutput(
  { url }: OutputReference,
  download: (url: string) => Promise<Response>,
): Promise<Readable> {
  // fetch reads data URIs too, but not those with spaces and line breaks that some servers write.
  const data = /^data:[^,]*?(;base64)?,(.*)$/s.exec(url)
  if (data !== null) {
    const text = data[2]!
    const bytes = data[1] ? Buffer.from(text, "base64") : Buffer.from(decodeURIComponent(text))
    return Readable.from([bytes])
  }
  const { body } = await download(url)
  return body === null ? Readable.from([]) : Readable.from(body)
}
