/** The name of one of our own files that this URL means, below `/files/`; null when it is not ours. */
export function ownFileName(
  url: string,
  ours: { fileBase: string; ownOrigins: readonly string[] },
): string | null {
  const base = parse(ours.fileBase)
  const asked = parse(url)
  if (asked === null) return null
  const origins = [base, ...ours.ownOrigins.map(parse)]
  if (!origins.some((origin) => origin !== null && isSameOrigin(origin, asked))) return null
  const name = /^\/files\/(.+)$/.exec(asked.pathname)?.[1]
  if (name === undefined) return null
  try {
    return decodeURIComponent(name)
  } catch {
    return null
  }
}

/** All names of this machine are one: a caller may say `localhost` where the base says 127.0.0.1. */
function isSameOrigin(left: URL, right: URL): boolean {
  if (left.protocol !== right.protocol || left.port !== right.port) return false
  return left.hostname === right.hostname || (isLoopback(left) && isLoopback(right))
}

function isLoopback({ hostname }: URL): boolean {
  if (hostname === "localhost" || hostname.endsWith(".localhost") || hostname === "[::1]")
    return true
  return /^127\.\d+\.\d+\.\d+$/.test(hostname)
}

function parse(url: string): URL | null {
  const parsed = URL.parse(url)
  return parsed === null || !/^https?:$/.test(parsed.protocol) ? null : parsed
}
