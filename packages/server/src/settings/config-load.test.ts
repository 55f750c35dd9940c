import { mkdtemp, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { expect, test } from "vitest"
import { defaultConfig } from "../config.ts"
import { ConfigError, loadConfig } from "./config-load.ts"

interface Sources {
  flags?: Record<string, string>
  env?: Record<string, string>
  file?: string
}

async function load({ flags = {}, env = {}, file }: Sources): ReturnType<typeof loadConfig> {
  const cwd = await mkdtemp(join(tmpdir(), "tintype-config-"))
  if (file !== undefined) await writeFile(join(cwd, "tintype.config.ts"), file)
  return await loadConfig({ flags, env, cwd })
}

test("without any source the defaults hold, the data folder is absolute", async () => {
  const config = await loadConfig({ flags: {}, env: {}, cwd: "/nowhere" })
  expect(config).toEqual({ ...defaultConfig, data: "/nowhere/.tintype" })
  expect((await load({ env: { TINTYPE_DATA: ":memory:" } })).data).toBe(":memory:")
})

test("a flag wins over a variable, a variable over the file, the file over the default", async () => {
  const file = `
    import type { Server } from "node:http"
    const port: number = 1
    export default { port, host: "::1", pace: 0, timing: { drainMs: 5 }, limits: { waitersMax: 9 } }
  `
  const env = { TINTYPE_PORT: "2", TINTYPE_HOST: "0.0.0.0", TINTYPE_PACE: "" }
  const config = await load({ flags: { port: "3" }, env, file })
  expect(config).toMatchObject({ port: 3, host: "0.0.0.0", pace: 0 })
  expect(config.timing).toEqual({ ...defaultConfig.timing, drainMs: 5 })
  expect(config.limits).toEqual({ ...defaultConfig.limits, waitersMax: 9 })
})

test("every key of the configuration can be set in the file", async () => {
  const { timing, limits, webhooks, retention, idempotency, runner, ...rest } = defaultConfig
  const values = { ...rest, publicUrl: "http://a.example", key: "me:secret", pace: 0 }
  const given = {
    ...values,
    runner: { ...runner, slots: 3, local: false },
    engines: { "fal-ai/flux": { engine: "painter" } },
    diffusion: { provider: "cuda", threads: 2, unloadAfterMs: 3, modelsMax: 4, cache: "/models" },
    timing,
    limits,
    webhooks,
    retention,
    idempotency,
  }
  // A key that no setting takes would keep its default; so each is given another value than that.
  Object.assign(given, {
    host: "::1",
    port: 1,
    tlsPort: "off",
    data: ":memory:",
    trustProxy: ["::1/128"],
    allowedOrigins: ["http://b.example"],
    log: "json",
    apps: ["/apps/ours.ts"],
    allowPrivateTargets: false,
    timing: Object.fromEntries(Object.keys(timing).map((key) => [key, 7])),
    limits: Object.fromEntries(Object.keys(limits).map((key) => [key, 8])),
    webhooks: Object.fromEntries(Object.keys(webhooks).map((key) => [key, 9])),
    retention: Object.fromEntries(Object.keys(retention).map((key) => [key, 11])),
    idempotency: {
      ...Object.fromEntries(Object.keys(idempotency).map((key) => [key, 12])),
      detectLost: false,
      blindResenders: ["our-client/"],
    },
  })
  expect(await load({ file: `export default ${JSON.stringify(given)}` })).toEqual(given)
  const kept = Object.entries(defaultConfig).filter(([key, value]) =>
    isDeepStrictEqual(Object.entries(given).find(([name]) => name === key)?.[1], value),
  )
  expect(kept).toEqual([])
})

test("every variable is read in its type", async () => {
  const env = {
    TINTYPE_PORT: "0",
    TINTYPE_PUBLIC_URL: "https://media.example.com/api/",
    TINTYPE_TRUST_PROXY: "10.0.0.0/8, ::1",
    TINTYPE_ALLOWED_ORIGINS: "https://app.example.com,http://localhost:5173/",
    TINTYPE_KEY: "me:s3cret",
    TINTYPE_LOG: "json",
    TINTYPE_PACE: "0.5",
    TINTYPE_APPS: "/apps/ours.ts, @acme/theirs",
    TINTYPE_RUNNER_LOCAL: "false",
    TINTYPE_RUNNER_SLOTS: "4",
    TINTYPE_TLS_PORT: "3443",
    TINTYPE_ALLOW_PRIVATE_TARGETS: "true",
    TINTYPE_ENGINES: '{"fal-ai/flux":{"engine":"painter"}}',
    TINTYPE_DIFFUSION_PROVIDER: "cuda",
    TINTYPE_DIFFUSION_THREADS: "2",
    TINTYPE_DIFFUSION_UNLOAD_AFTER_MS: "60000",
    TINTYPE_DIFFUSION_MODELS_MAX: "3",
    TINTYPE_DIFFUSION_CACHE: "/models",
  }
  expect(await load({ env })).toMatchObject({
    port: 0,
    publicUrl: "https://media.example.com/api",
    trustProxy: ["10.0.0.0/8", "::1/128"],
    allowedOrigins: ["https://app.example.com", "http://localhost:5173"],
    key: "me:s3cret",
    log: "json",
    pace: 0.5,
    apps: ["/apps/ours.ts", "@acme/theirs"],
    runner: { local: false, slots: 4 },
    tlsPort: 3443,
    allowPrivateTargets: true,
    engines: { "fal-ai/flux": { engine: "painter" } },
    diffusion: {
      provider: "cuda",
      threads: 2,
      unloadAfterMs: 60_000,
      modelsMax: 3,
      cache: "/models",
    },
  })
})

test.each<[Sources, string]>([
  [{ flags: { port: "65536" } }, "--port must be a whole number from 0 to 65535; it is 65536"],
  [
    { env: { TINTYPE_PORT: "http" } },
    'TINTYPE_PORT must be a whole number from 0 to 65535; it is "http"',
  ],
  [{ env: { TINTYPE_HOST: "127.0.0.1:80" } }, "TINTYPE_HOST must be an address or a host name"],
  [{ env: { TINTYPE_HOST: "300.1.2.3" } }, "TINTYPE_HOST must be an address or a host name"],
  [{ env: { TINTYPE_TRUST_PROXY: "10.0.0.0/33" } }, "TINTYPE_TRUST_PROXY must be CIDR blocks"],
  [{ env: { TINTYPE_TRUST_PROXY: "proxy" } }, "TINTYPE_TRUST_PROXY must be CIDR blocks"],
  [{ env: { TINTYPE_PUBLIC_URL: "media.example.com" } }, "TINTYPE_PUBLIC_URL must be an http"],
  [
    { env: { TINTYPE_ALLOWED_ORIGINS: "https://a.example/x" } },
    "TINTYPE_ALLOWED_ORIGINS must be origins",
  ],
  [{ env: { TINTYPE_LOG: "xml" } }, 'TINTYPE_LOG must be text or json; it is "xml"'],
  [{ env: { TINTYPE_TLS_PORT: "none" } }, "TINTYPE_TLS_PORT must be a port or off"],
  [{ env: { TINTYPE_RUNNER_SLOTS: "0" } }, "TINTYPE_RUNNER_SLOTS must be a whole number from 1"],
  [{ env: { TINTYPE_ENGINES: "painter" } }, 'TINTYPE_ENGINES must be an object; it is "painter"'],
  [
    { env: { TINTYPE_ENGINE: "{}" } },
    "Unknown variable TINTYPE_ENGINE; did you mean TINTYPE_ENGINES",
  ],
  [{ env: { TINTYPE_DIFFUSION_THREADS: "0" } }, "TINTYPE_DIFFUSION_THREADS must be a whole number"],
  [
    { file: 'export default { diffusion: { provider: "gpu" } }' },
    'diffusion.provider in tintype.config.ts must be cpu or cuda; it is "gpu"',
  ],
  [
    { file: "export default { diffusion: { thread: 1 } }" },
    "Unknown key diffusion.thread in tintype.config.ts; did you mean diffusion.threads?",
  ],
  [{ file: "export default { engines: [] }" }, "engines in tintype.config.ts must be an object"],
  [{ env: { TINTYPE_PROT: "1" } }, "Unknown variable TINTYPE_PROT; did you mean TINTYPE_PORT?"],
  [{ flags: { prot: "1" } }, "Unknown flag --prot; did you mean --port?"],
  [{ flags: { key: "a:b" } }, "Unknown flag --key"],
  [
    { file: "export default { prot: 1 }" },
    "Unknown key prot in tintype.config.ts; did you mean port?",
  ],
  [
    { file: "export default { timing: { drainms: 1 } }" },
    "Unknown key timing.drainms in tintype.config.ts; did you mean timing.drainMs?",
  ],
  [{ file: "export default { timing: 3 }" }, "timing in tintype.config.ts must be an object"],
  [
    { file: "export default { limits: { waitersMax: -1 } }" },
    "limits.waitersMax in tintype.config.ts must be a whole number",
  ],
  [{ file: 'export default { port: "80" }' }, "port in tintype.config.ts must be a whole number"],
  [{ file: "export const port = 80" }, "tintype.config.ts must export an object"],
  [{ file: 'throw new Error("no luck\\nat all")' }, "tintype.config.ts cannot be loaded: no luck"],
])("%j is refused in one clear line", async (sources, message) => {
  const error: unknown = await load(sources).catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(ConfigError)
  expect(String(error)).toContain(message)
  expect(String(error)).not.toContain("\n")
})

test("a malformed key never shows up in the message", async () => {
  const error: unknown = await load({ env: { TINTYPE_KEY: "topsecret" } }).catch(
    (reason: unknown) => reason,
  )
  expect(String(error)).toContain("TINTYPE_KEY must be id:secret")
  expect(String(error)).not.toContain("topsecret")
})

test("a path among the apps is taken from the working folder, a package's name is kept", async () => {
  const flags = { apps: "./ours.ts,apps/more.js,@acme/theirs" }
  const config = await loadConfig({ flags, env: {}, cwd: "/nowhere" })
  expect(config.apps).toEqual(["/nowhere/ours.ts", "/nowhere/apps/more.js", "@acme/theirs"])
})

test("a folder of a model is taken from the working folder, a hub id is kept", async () => {
  const engine = "diffusion"
  const engines = {
    a: { engine, model: "./sdxl", scheduler: "euler" },
    b: { engine, model: "acme/sdxl" },
    c: { engine: "painter" },
    d: 1,
  }
  const env = { TINTYPE_ENGINES: JSON.stringify(engines), TINTYPE_DIFFUSION_CACHE: "cache" }
  const config = await loadConfig({ flags: {}, env, cwd: "/nowhere" })
  expect(config.engines).toEqual({
    ...engines,
    a: { engine, model: "/nowhere/sdxl", scheduler: "euler" },
  })
  expect(config.diffusion.cache).toBe("/nowhere/cache")
})

test("variables of other commands and newer versions are left alone", async () => {
  const env = { TINTYPE_URL: "http://x", TINTYPE_SOMETHING_ELSE: "1" }
  await expect(load({ env })).resolves.toBeDefined()
})
