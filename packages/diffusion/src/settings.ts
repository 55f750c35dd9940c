import { availableParallelism, homedir } from "node:os"
import { join, resolve } from "node:path"

/** What an operator chooses. */
export interface Settings {
  /** Where models of a hub are kept. */
  cacheFolder: string
  provider: "cpu" | "cuda"
  /** Of one network call. The same number gives the same bytes; another one may give others. */
  threads: number
  /** A model that nobody asked for so long is unloaded. */
  unloadAfterMs: number
  /** Models in memory at a time; one more unloads the one that was not used for longest. */
  modelsMax: number
  /** The hub's address, and what opens its private models. */
  hub: { url: string; token?: string }
}

/** `readSettings(process.env)`; throws an `Error` of one sentence that names the variable. */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings {
  const { HF_ENDPOINT, HF_TOKEN } = environment
  const provider = environment["TINTYPE_DIFFUSION_PROVIDER"] || "cpu"
  if (provider !== "cpu" && provider !== "cuda") {
    throw new Error(`TINTYPE_DIFFUSION_PROVIDER is cpu or cuda, not ${JSON.stringify(provider)}`)
  }
  const wholeNumber = (name: string, fallback: number, max: number) => {
    const text = environment[name]
    if (text === undefined || text === "") return fallback
    const value = Number(text)
    if (Number.isInteger(value) && value >= 1 && value <= max) return value
    throw new Error(`${name} is a whole number from 1 to ${max}, not ${JSON.stringify(text)}`)
  }
  return {
    cacheFolder: cacheFolderOf(environment),
    provider,
    threads: wholeNumber("TINTYPE_DIFFUSION_THREADS", availableParallelism(), 1_024),
    unloadAfterMs: wholeNumber("TINTYPE_DIFFUSION_UNLOAD_AFTER_MS", 300_000, 2 ** 31 - 1),
    modelsMax: wholeNumber("TINTYPE_DIFFUSION_MODELS_MAX", 2, 1_000),
    hub: { url: hubUrl(HF_ENDPOINT), ...(HF_TOKEN ? { token: HF_TOKEN } : {}) },
  }
}

function cacheFolderOf(environment: Readonly<Record<string, string | undefined>>): string {
  const { TINTYPE_DIFFUSION_CACHE, XDG_CACHE_HOME } = environment
  if (TINTYPE_DIFFUSION_CACHE) return resolve(TINTYPE_DIFFUSION_CACHE)
  return join(XDG_CACHE_HOME || join(homedir(), ".cache"), "tintype", "models")
}

function hubUrl(text: string | undefined): string {
  const url = URL.parse(text || "https://huggingface.co")
  if (url !== null && /^https?:$/.test(url.protocol)) return url.href.replace(/\/+$/, "")
  throw new Error(`HF_ENDPOINT is an http or https address, not ${JSON.stringify(text)}`)
}
