/**
 * Who may read a file and until when, as pure functions. A request says it for the files that its app makes
 * (`X-Fal-Object-Lifecycle-Preference`), an upload will say it for itself.
 */
export interface ObjectLifecycle {
  /** Null is never; absent is what the configuration says. */
  expirationMs?: number | null
  acl: Acl | null
}

export interface Acl {
  default: AclDecision
  rules: { user: string; decision: AclDecision }[]
}

/** `forbid` says that there is something, `hide` does not. */
export type AclDecision = (typeof decisions)[number]

/** From the most permissive to the least. */
const decisions = ["allow", "forbid", "hide"] as const

/** What a file row keeps of a lifecycle. */
export interface FileAccess {
  /** Whose file it is. */
  account: string
  /** Epoch milliseconds; null is never. */
  expiresAt: number | null
  /** Null: everyone who knows the name may read it. */
  acl: Acl | null
}

/** Longer than anyone waits, and no overflow when it is added to a time. */
const expirationSecondsMax = 100 * 365 * 24 * 3_600

/**
 * The lifecycle of a header's JSON; null when the header is absent or empty. Fields that we do not know are passed over.
 * What cannot be understood is thrown as a `LifecycleError`, not ignored: the file would be public for ever instead.
 *
 *     parseLifecycle('{"expiration_duration_seconds": 3600}') // { expirationMs: 3_600_000, acl: null }
 */
export function parseLifecycle(header: string | undefined): ObjectLifecycle | null {
  if (header === undefined || header.trim() === "") return null
  const given = parseObject(header)
  const acl = parseAcl(given["initial_acl"])
  const seconds = given["expiration_duration_seconds"]
  if (seconds === undefined) return { acl }
  // The clients' "never"; the hosted service takes 0 for it as well.
  if (seconds === null || seconds === 0) return { expirationMs: null, acl }
  if (typeof seconds !== "number" || seconds % 1 !== 0 || seconds < 1) {
    throw new LifecycleError("expiration_duration_seconds must be a whole number or null")
  }
  return { expirationMs: Math.min(seconds, expirationSecondsMax) * 1_000, acl }
}

/** Says what is wrong with a lifecycle, to whoever sent it. */
export class LifecycleError extends Error {}

/** When a file expires that was made now; `defaultMs` is the configuration's, 0 for never. */
export function expiryOf(
  lifecycle: ObjectLifecycle | null,
  now: number,
  defaultMs: number,
): number | null {
  const ms = lifecycle?.expirationMs
  if (ms === undefined) return defaultMs === 0 ? null : now + defaultMs
  return ms === null ? null : now + ms
}

export function isExpired({ expiresAt }: Pick<FileAccess, "expiresAt">, now: number): boolean {
  return expiresAt !== null && expiresAt <= now
}

/** What a caller of this account gets. The owner always may; of several rules for one user the most permissive counts. */
export function accessTo(
  { account: owner, acl }: Pick<FileAccess, "account" | "acl">,
  account: string,
): AclDecision {
  if (acl === null || account === owner) return "allow"
  const named = acl.rules.filter(({ user }) => user === account).map(({ decision }) => decision)
  return decisions.find((decision) => named.includes(decision)) ?? acl.default
}

/** Is the answer the same for everyone, so that any cache may keep it? */
export function isPublic({ acl }: Pick<FileAccess, "acl">): boolean {
  return acl === null || [acl.default, ...acl.rules.map(({ decision }) => decision)].every(allows)
}

function allows(decision: AclDecision): boolean {
  return decision === "allow"
}

/** Without the rules for users that there are none of: a name given to someone later must not open it. */
export function withKnownUsers(acl: Acl | null, isKnown: (user: string) => boolean): Acl | null {
  if (acl === null) return null
  return { ...acl, rules: acl.rules.filter(({ user }) => isKnown(user)) }
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    if (isObject(value)) return value
  } catch {
    // Told below, like any other value that is no object.
  }
  throw new LifecycleError("it must be a JSON object")
}

function parseAcl(value: unknown): Acl | null {
  if (value === undefined || value === null) return null
  if (!isObject(value)) throw new LifecycleError("initial_acl must be an object or null")
  const { rules = [] } = value
  if (!Array.isArray(rules)) throw new LifecycleError("initial_acl.rules must be a list")
  return {
    default: parseDecision(value["default"], "initial_acl.default"),
    rules: rules.map((rule, at) => {
      const user: unknown = isObject(rule) ? rule["user"] : undefined
      const decision: unknown = isObject(rule) ? rule["decision"] : undefined
      const name = `initial_acl.rules.${at}`
      if (typeof user !== "string" || user === "") {
        throw new LifecycleError(`${name}.user must be a text`)
      }
      return { user, decision: parseDecision(decision, `${name}.decision`) }
    }),
  }
}

function parseDecision(value: unknown, name: string): AclDecision {
  const decision = decisions.find((one) => one === value)
  if (decision !== undefined) return decision
  throw new LifecycleError(`${name} must be ${decisions.join(", ")}`)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
