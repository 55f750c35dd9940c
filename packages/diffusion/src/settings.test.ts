import { availableParallelism, homedir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { readSettings } from "./settings.ts"

test("Nothing has to be set", () => {
  expect(readSettings({})).toEqual({
    cacheFolder: join(homedir(), ".cache", "tintype", "models"),
    provider: "cpu",
    threads: availableParallelism(),
    unloadAfterMs: 300_000,
    modelsMax: 2,
    hub: { url: "https://huggingface.co" },
  })
})

test("An empty variable is as good as none", () => {
  const empty = {
    TINTYPE_DIFFUSION_CACHE: "",
    TINTYPE_DIFFUSION_PROVIDER: "",
    TINTYPE_DIFFUSION_THREADS: "",
    HF_ENDPOINT: "",
    HF_TOKEN: "",
  }
  expect(readSettings(empty)).toEqual(readSettings({}))
})

test("Everything can be", () => {
  const environment = {
    TINTYPE_DIFFUSION_CACHE: "/var/models",
    TINTYPE_DIFFUSION_PROVIDER: "cuda",
    TINTYPE_DIFFUSION_THREADS: "3",
    TINTYPE_DIFFUSION_UNLOAD_AFTER_MS: "1000",
    TINTYPE_DIFFUSION_MODELS_MAX: "1",
    HF_ENDPOINT: "http://mirror.local/hub/",
    HF_TOKEN: "hf_secret",
  }
  expect(readSettings(environment)).toEqual({
    cacheFolder: "/var/models",
    provider: "cuda",
    threads: 3,
    unloadAfterMs: 1_000,
    modelsMax: 1,
    hub: { url: "http://mirror.local/hub", token: "hf_secret" },
  })
  const { cacheFolder } = readSettings({ XDG_CACHE_HOME: "/caches" })
  expect(cacheFolder).toBe(join("/caches", "tintype", "models"))
})

test.each([
  ["TINTYPE_DIFFUSION_PROVIDER", "gpu", "is cpu or cuda"],
  ["TINTYPE_DIFFUSION_THREADS", "0", "is a whole number from 1 to 1024"],
  ["TINTYPE_DIFFUSION_THREADS", "two", "is a whole number from 1 to 1024"],
  ["TINTYPE_DIFFUSION_MODELS_MAX", "1.5", "is a whole number"],
  ["TINTYPE_DIFFUSION_UNLOAD_AFTER_MS", "1e12", "is a whole number"],
  ["HF_ENDPOINT", "ftp://mirror", "is an http or https address"],
])("%s=%s is refused by name", (name, value, reason) => {
  expect(() => readSettings({ [name]: value })).toThrow(`${name} ${reason}`)
})
