import { existsSync } from "node:fs"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { nearest } from "@tintype/protocol"
import type {
  Config,
  Diffusion,
  Idempotency,
  Limits,
  Retention,
  Timing,
  Webhooks,
} from "../config.ts"
import { defaultConfig } from "../config.ts"
import type { Check } from "./config-checks.ts"
import * as checks from "./config-checks.ts"
import { ConfigError, isObject } from "./config-checks.ts"

export { ConfigError } from "./config-checks.ts"

export interface ConfigSources {
  /** By the name of the flag without dashes: `public-url`. */
  flags: Record<string, string>
  env: Record<string, string | undefined>
  /** Where `tintype.config.ts` or `.js` is looked for, and what `data` is relative to. */
  cwd: string
}

/** What `tintype.config.ts` may export as its default. */
export type ConfigFile = Partial<
  Omit<Config, "runner" | "diffusion" | "idempotency" | AmountGroup>
> & {
  runner?: Partial<Config["runner"]>
  diffusion?: Partial<Diffusion>
  timing?: Partial<Timing>
  limits?: Partial<Limits>
  webhooks?: Partial<Webhooks>
  retention?: Partial<Retention>
  idempotency?: Partial<Idempotency>
}

/** Groups of numbers alone, which live in the file. */
type AmountGroup = "timing" | "limits" | "webhooks" | "retention"

interface Setting {
  /** `TINTYPE_` + this in capitals is the variable, this is the flag; secrets have no flag. */
  flag: string
  secret: boolean
  /** Each checks the value, throws `ConfigError` with `name` in front, and puts it into the configuration. */
  applyText(config: Config, text: string, name: string): void
  applyValue(config: Config, value: unknown, name: string): void
}

const configFileNames = ["tintype.config.ts", "tintype.config.js"]

/**
 * Every setting from its first source: flag, `TINTYPE_*` variable, file, default. An empty variable counts as unset.
 * Throws `ConfigError` for what is unknown or malformed.
 *
 * ```ts
 * const config = await loadConfig({ flags: { port: "0" }, env: process.env, cwd: process.cwd() })
 * ```
 */
export async function loadConfig({ flags, env, cwd }: ConfigSources): Promise<Config> {
  const config = structuredClone(defaultConfig)
  await applyFile(config, cwd)
  refuseMisspelt(env)
  for (const one of settings) {
    const variable = variableOf(one)
    const text = env[variable]
    if (text !== undefined && text !== "") one.applyText(config, text, variable)
  }
  for (const [flag, text] of Object.entries(flags)) {
    const found = settings.find((one) => one.flag === flag && !one.secret)
    if (found === undefined) throw unknown(`flag --${flag}`, flag, configFlags, "--")
    found.applyText(config, text, `--${flag}`)
  }
  if (config.data !== ":memory:") config.data = resolve(cwd, config.data)
  config.apps = config.apps.map((app) => (isPath(app) ? resolve(cwd, app) : app))
  config.engines = Object.fromEntries(
    Object.entries(config.engines).map(([id, engine]) => [id, withFolder(engine, cwd)]),
  )
  const { cache } = config.diffusion
  if (cache !== null) config.diffusion.cache = resolve(cwd, cache)
  return config
}

/** A model that is named by a path is seen from where the configuration is. */
function withFolder(engine: unknown, cwd: string): unknown {
  if (!isObject(engine) || typeof engine["model"] !== "string") return engine
  const { model } = engine
  return model.startsWith(".") ? { ...engine, model: resolve(cwd, model) } : engine
}

/** A module named by a path, not by its package. */
function isPath(module: string): boolean {
  return /^[./]/.test(module) || /\.[cm]?[jt]s$/.test(module)
}

const settings: Setting[] = [
  setting("host", checks.host, (config, value) => (config.host = value)),
  setting(
    "port",
    checks.integer(0, 65_535),
    (config, value) => (config.port = value),
    checks.toNumber,
  ),
  setting(
    "tls-port",
    checks.nullable(checks.tlsPort),
    (config, value) => (config.tlsPort = value),
    checks.toNumber,
  ),
  setting("data", checks.text, (config, value) => (config.data = value)),
  setting(
    "public-url",
    checks.nullable(checks.publicUrl),
    (config, value) => (config.publicUrl = value),
  ),
  setting(
    "trust-proxy",
    checks.list(checks.cidr),
    (config, value) => (config.trustProxy = value),
    checks.toList,
  ),
  setting(
    "allowed-origins",
    checks.list(checks.origin),
    (config, value) => (config.allowedOrigins = value),
    checks.toList,
  ),
  {
    ...setting("key", checks.nullable(checks.key), (config, value) => (config.key = value)),
    secret: true,
  },
  setting("log", checks.oneOf("text", "json"), (config, value) => (config.log = value)),
  setting("pace", checks.pace, (config, value) => (config.pace = value), checks.toNumber),
  setting(
    "apps",
    checks.list(checks.text),
    (config, value) => (config.apps = value),
    checks.toList,
  ),
  setting(
    "runner-local",
    checks.boolean,
    (config, value) => (config.runner.local = value),
    checks.toBoolean,
  ),
  setting(
    "runner-slots",
    checks.nullable(checks.integer(1, 1_024)),
    (config, value) => (config.runner.slots = value),
    checks.toNumber,
  ),
  setting("engines", checks.object, (config, value) => (config.engines = value), checks.toJson),
  setting(
    "diffusion-provider",
    checks.nullable(checks.oneOf("cpu", "cuda")),
    (config, value) => (config.diffusion.provider = value),
  ),
  setting(
    "diffusion-threads",
    checks.nullable(checks.integer(1, 1_024)),
    (config, value) => (config.diffusion.threads = value),
    checks.toNumber,
  ),
  setting(
    "diffusion-unload-after-ms",
    checks.nullable(checks.integer(1, 2 ** 31 - 1)),
    (config, value) => (config.diffusion.unloadAfterMs = value),
    checks.toNumber,
  ),
  setting(
    "diffusion-models-max",
    checks.nullable(checks.integer(1, 1_000)),
    (config, value) => (config.diffusion.modelsMax = value),
    checks.toNumber,
  ),
  setting(
    "diffusion-cache",
    checks.nullable(checks.text),
    (config, value) => (config.diffusion.cache = value),
  ),
  setting(
    "allow-private-targets",
    checks.nullable(checks.boolean),
    (config, value) => (config.allowPrivateTargets = value),
    checks.toBoolean,
  ),
]

/** The flags that `loadConfig` knows, without dashes. */
export const configFlags: string[] = settings
  .filter(({ secret }) => !secret)
  .map(({ flag }) => flag)

function setting<Value>(
  flag: string,
  check: Check<Value>,
  place: (config: Config, value: Value) => void,
  fromText: (text: string) => unknown = (text) => text,
): Setting {
  return {
    flag,
    secret: false,
    applyText: (config, text, name) => place(config, check(fromText(text), name)),
    applyValue: (config, value, name) => place(config, check(value, name)),
  }
}

function variableOf({ flag }: Setting): string {
  return `TINTYPE_${flag.replaceAll("-", "_").toUpperCase()}`
}

/**
 * A misspelt variable would be passed over in silence, so one that is nearly a setting is refused. Others that start
 * with `TINTYPE_` may belong to another command or a newer version.
 */
function refuseMisspelt(env: Record<string, string | undefined>): void {
  const known = [...settings.map(variableOf), "TINTYPE_URL"]
  for (const name of Object.keys(env)) {
    if (!name.startsWith("TINTYPE_") || known.includes(name)) continue
    const rest = name.slice("TINTYPE_".length)
    const near = nearest(
      rest,
      known.map((one) => one.slice("TINTYPE_".length)),
    )
    if (near !== null)
      throw new ConfigError(`Unknown variable ${name}; did you mean TINTYPE_${near}?`)
  }
}

async function applyFile(config: Config, cwd: string): Promise<void> {
  const name = configFileNames.find((one) => existsSync(join(cwd, one)))
  if (name === undefined) return
  const file = await importFile(join(cwd, name), name)
  // The keys of `engines` are ids, which the catalogue knows.
  refuseUnknownKeys(file, { ...defaultConfig, engines: null }, "", name)
  for (const one of settings) {
    const value = valueAt(file, one)
    if (value !== undefined) one.applyValue(config, value, `${keyOf(one)} in ${name}`)
  }
  config.timing = { ...config.timing, ...amounts(file, "timing", name) }
  config.limits = { ...config.limits, ...amounts(file, "limits", name) }
  config.webhooks = { ...config.webhooks, ...amounts(file, "webhooks", name) }
  config.retention = { ...config.retention, ...amounts(file, "retention", name) }
  config.idempotency = { ...config.idempotency, ...idempotencyOf(file, name) }
}

/** The one group of the file whose values are not all numbers. */
function idempotencyOf(file: Record<string, unknown>, name: string): Partial<Idempotency> {
  const group = "idempotency"
  const { detectLost, blindResenders, ...numbers } = section(file, group)
  return {
    ...amounts({ [group]: numbers }, group, name),
    ...(detectLost === undefined
      ? {}
      : { detectLost: checks.boolean(detectLost, `${group}.detectLost in ${name}`) }),
    ...(blindResenders === undefined
      ? {}
      : { blindResenders: listOfText(blindResenders, `${group}.blindResenders in ${name}`) }),
  }
}

const listOfText = checks.list(checks.text)

function amounts(
  file: Record<string, unknown>,
  group: AmountGroup | "idempotency",
  name: string,
): Record<string, number> {
  const given = Object.entries(section(file, group)).filter(([, value]) => value !== undefined)
  return Object.fromEntries(
    given.map(([key, value]) => [key, checks.amount(value, `${group}.${key} in ${name}`)]),
  )
}

async function importFile(path: string, name: string): Promise<Record<string, unknown>> {
  let module: unknown
  try {
    module = await import(/* @vite-ignore */ pathToFileURL(path).href)
  } catch (error) {
    const why = (error instanceof Error ? error.message : String(error)).split("\n")[0]
    throw new ConfigError(`${name} cannot be loaded: ${why}`, { cause: error })
  }
  const file = isObject(module) ? module["default"] : undefined
  // A file without any export is taken for CommonJS, whose exports are an empty object.
  const exportsNothing = isObject(module) && "module.exports" in module && isEmpty(file)
  if (!isObject(file) || exportsNothing) {
    throw new ConfigError(`${name} must export an object of settings as its default`)
  }
  return file
}

function isEmpty(value: unknown): boolean {
  return isObject(value) && Object.keys(value).length === 0
}

/** `runner-slots` → `runner.slots`, `public-url` → `publicUrl`. */
function keyOf({ flag }: Setting): string {
  const grouped = flag.replace(/^(runner|diffusion)-/, "$1.")
  return grouped.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
}

function valueAt(file: Record<string, unknown>, one: Setting): unknown {
  const [first, second] = keyOf(one).split(".")
  return second === undefined ? file[first!] : section(file, first!)[second]
}

function section(file: Record<string, unknown>, group: string): Record<string, unknown> {
  return isObject(file[group]) ? file[group] : {}
}

function refuseUnknownKeys(
  given: Record<string, unknown>,
  known: Record<string, unknown>,
  path: string,
  name: string,
): void {
  for (const [key, value] of Object.entries(given)) {
    if (!Object.hasOwn(known, key)) {
      throw unknown(`key ${path}${key} in ${name}`, key, Object.keys(known), path)
    }
    const inner = known[key]
    if (!isObject(inner) || value === undefined) continue
    if (!isObject(value)) throw new ConfigError(`${path}${key} in ${name} must be an object`)
    refuseUnknownKeys(value, inner, `${path}${key}.`, name)
  }
}

function unknown(what: string, word: string, known: string[], prefix: string): ConfigError {
  const near = nearest(word, known)
  return new ConfigError(
    `Unknown ${what}${near === null ? "" : `; did you mean ${prefix}${near}?`}`,
  )
}
