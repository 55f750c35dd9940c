/** One origin, every host: which part of the API a host name or a first path segment stands for. */

export type Surface = "run" | "queue" | "ws" | "rest" | "cdn" | "api" | "kv" | "web"

/** The host names that a program written for fal calls. The list is exact: any other fal host is refused by name. */
export const foreignHosts: Readonly<Record<string, Surface>> = {
  "fal.run": "run",
  "queue.fal.run": "queue",
  "ws.fal.run": "ws",
  "rest.fal.ai": "rest",
  "rest.alpha.fal.ai": "rest",
  "v3.fal.media": "cdn",
  "v3b.fal.media": "cdn",
  "fal.media": "cdn",
  "kv.fal.media": "kv",
  "api.fal.ai": "api",
  "fal.ai": "web",
  "falrun.com": "run",
  "queue.falrun.com": "queue",
}

const foreignDomains = ["fal.run", "fal.ai", "fal.media", "falrun.com"]

/**
 * The surface of a foreign host; `unknown` for another host of the same domains, which must be refused and never
 * taken for ours; null for a host that is not foreign. Without port, any case.
 */
export function findForeignSurface(host: string): Surface | "unknown" | null {
  const name = host.toLowerCase().replace(/\.$/, "")
  if (Object.hasOwn(foreignHosts, name)) return foreignHosts[name]!
  const foreign = foreignDomains.some((domain) => name === domain || name.endsWith(`.${domain}`))
  return foreign ? "unknown" : null
}

/** `queue.` + the configured host, and so on. */
export const hostPrefixes = ["queue", "ws", "rest", "cdn", "api", "kv"] as const

/** First path segments that name a surface and are stripped. */
export const strippedPrefixes = ["run", "queue", "ws", "rest", "kv"] as const

/** First path segments that cannot be an owner's: the surfaces' own paths and the fixed ones. */
export const reservedSegments: readonly string[] = [
  ...strippedPrefixes,
  "files",
  "v1",
  "api",
  "console",
  "health",
  "metrics",
  ".well-known",
  "_",
]
