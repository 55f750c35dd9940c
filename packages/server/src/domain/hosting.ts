/**
 * May a runner's key host this app? `patterns` are app ids, `owner/alias`, or `owner/*` for all of an owner; null is no
 * bound.
 *
 *     mayHost(["acme/*"], "acme/painter") === true
 */
export function mayHost(patterns: readonly string[] | null, app: string): boolean {
  if (patterns === null) return true
  const owner = app.slice(0, app.indexOf("/") + 1)
  return patterns.some((one) => one === app || (owner !== "" && one === `${owner}*`))
}
