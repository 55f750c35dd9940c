import { mkdir, rename, stat, statfs, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { DiffusionError, messageOf, modelFault } from "../diffusion-error.ts"
import type { Audience } from "../job.ts"
import { hubProgressMs } from "../limits.ts"
import { download } from "./download.ts"
import { type HubAddress, type HubId, Interrupted, refused, unavailable } from "./hub-call.ts"
import { type HubFile, listFiles } from "./listing.ts"
import { withLock } from "./lock.ts"

/** `owner/name`, `owner/name@revision`: what else looks like it is a folder when it begins with `/` or `./`. */
const idPattern =
  /^(?<model>[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*)(@(?<revision>[A-Za-z0-9][\w./-]*))?$/

export function isHubId(text: string): boolean {
  return parseId(text) !== null
}

function parseId(text: string): HubId | null {
  const found = text.includes("..") ? null : idPattern.exec(text)
  const { model, revision = "main" } = found?.groups ?? {}
  return model === undefined ? null : { text, model, revision }
}

export type Follower = Pick<Audience, "signal" | "log">

interface Fetch {
  folder: Promise<string>
  followers: Set<Follower>
  stop: AbortController
}

/**
 * Models of a hub, kept in a cache folder, each in a folder of its own that gets its name when it is whole: a name that is there
 * is a model that can be used, also offline. While it is made it is called `.partial` and belongs to the process that has the
 * lock; what a broken fetch leaves there is used by the next one. A revision is fetched once, and a branch that moves is not
 * followed.
 */
export class Hub {
  readonly #hub: HubAddress
  readonly #cacheFolder: string
  readonly #fetches = new Map<string, Fetch>()

  constructor({ cacheFolder, ...hub }: HubAddress & { cacheFolder: string }) {
    this.#hub = hub
    this.#cacheFolder = cacheFolder
  }

  /** The model's folder, fetched before if need be. Those who ask at the same time share a fetch, which ends with the last. */
  async fetch(text: string, follower: Follower): Promise<string> {
    const id = parseId(text)
    if (id === null) throw new Error(`${text} is no id of a hub`)
    const { signal } = follower
    signal.throwIfAborted()
    const folder = join(
      this.#cacheFolder,
      `${id.model.replace("/", "--")}@${encodeURIComponent(id.revision)}`,
    )
    if (await isFolder(folder)) return folder
    const shared = this.#fetches.get(folder) ?? this.#begin(id, folder)
    shared.followers.add(follower)
    const { promise: left, reject: leave } = Promise.withResolvers<never>()
    const onAbort = () => leave(signal.reason)
    signal.addEventListener("abort", onAbort, { once: true })
    try {
      signal.throwIfAborted()
      return await Promise.race([shared.folder, left])
    } finally {
      signal.removeEventListener("abort", onAbort)
      shared.followers.delete(follower)
      if (shared.followers.size === 0) {
        this.#forget(folder, shared)
        shared.stop.abort(new Error("nobody waits for the model any more"))
      }
    }
  }

  #begin(id: HubId, folder: string): Fetch {
    const stop = new AbortController()
    const followers = new Set<Follower>()
    const log = (message: string) => {
      for (const follower of followers) follower.log(message)
    }
    const made = this.#make(id, folder, { signal: stop.signal, log }).catch((error: unknown) => {
      if (error instanceof DiffusionError || stop.signal.aborted) throw error
      // What is left is the file system's, which the operator can mend.
      throw modelFault(folder, `cannot be made (${messageOf(error)})`, { cause: error })
    })
    const shared: Fetch = { folder: made, followers, stop }
    this.#fetches.set(folder, shared)
    // Those who wait are told; when nobody does any more, it is nobody's error.
    made.catch(() => undefined).finally(() => this.#forget(folder, shared))
    return shared
  }

  #forget(folder: string, shared: Fetch): void {
    if (this.#fetches.get(folder) === shared) this.#fetches.delete(folder)
  }

  async #make(id: HubId, folder: string, follower: Follower): Promise<string> {
    await mkdir(this.#cacheFolder, { recursive: true })
    const { signal, log } = follower
    const onWait = () => log(`another process fetches ${id.text}; waiting for it`)
    await withLock(`${folder}.lock`, { signal, onWait }, async () => {
      if (await isFolder(folder)) return
      const files = await this.#list(id, signal)
      await this.#fill(`${folder}.partial`, files, id, follower)
      await rename(`${folder}.partial`, folder)
    })
    return folder
  }

  async #list(id: HubId, signal: AbortSignal): Promise<HubFile[]> {
    const { url } = this.#hub
    try {
      return await listFiles(this.#hub, id, signal)
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error
      const told = `${url} cannot be reached (${error.message}). Folders, and models that were fetched before, need no network`
      throw unavailable(id, told, { cause: error })
    }
  }

  async #fill(
    folder: string,
    files: readonly HubFile[],
    id: HubId,
    { signal, log }: Follower,
  ): Promise<void> {
    const total = files.reduce((sum, file) => sum + file.bytes, 0)
    await mkdir(folder, { recursive: true })
    await checkSpace(id, folder, files)
    log(`fetching ${id.text} from ${this.#hub.url}: ${files.length} files, ${inWords(total)}`)
    let there = 0
    let toldAt = performance.now()
    const onBytes = (bytes: number) => {
      there += bytes
      if (performance.now() - toldAt < hubProgressMs) return
      toldAt = performance.now()
      log(`fetching ${id.text}: ${Math.floor((100 * there) / total)} % of ${inWords(total)}`)
    }
    for (const file of files) {
      await download(file, { hub: this.#hub, id, folder, signal, onBytes })
      log(`fetched ${file.path}, ${inWords(file.bytes)}`)
    }
    await writeFile(join(folder, "tintype-hub.json"), JSON.stringify({ ...id, files }, null, 2))
  }
}

/** What an earlier fetch left counts as there. */
async function checkSpace(id: HubId, folder: string, files: readonly HubFile[]): Promise<void> {
  let missing = 0
  for (const { path, bytes } of files) {
    const whole = await stat(join(folder, path)).catch(() => null)
    const part = whole ?? (await stat(join(folder, `${path}.part`)).catch(() => null))
    missing += Math.max(0, bytes - (part?.size ?? 0))
  }
  const { bavail, bsize } = await statfs(folder)
  const left = bavail * bsize
  if (left >= missing) return
  throw refused(id, `needs ${inWords(missing)} more, and ${folder} has ${inWords(left)} left`)
}

async function isFolder(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null)
  return found?.isDirectory() === true
}

function inWords(bytes: number): string {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`
}
