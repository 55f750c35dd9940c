/**
 * Who may read a file and until when, as pure functions. A request says it for the files that its app makes
 * (`X-Fal-Object-Lifecycle-Preference`), an upload says it for itself (or `X-Fal-Object-Lifecycle`).
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

/** What becomes of one file, once all has been asked that may say it. */
export interface FileLifecycle {
  /** Null is never. */
  expirationMs: number | null
  acl: Acl | null
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
  return readLifecycle(parseObject(header))
}

/** The same of an object that was parsed; throws a `LifecycleError`. */
export function readLifecycle(given: Record<string, unknown>): ObjectLifecycle {
  const initial = given["initial_acl"]
  const acl = initial === undefined || initial === null ? null : readAcl(initial, "initial_acl")
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

/**
 * What holds for a file: what it says itself, else what its account says, else the configuration, whose `defaultMs` is 0 for
 * never.
 */
export function settleLifecycle(
  own: ObjectLifecycle | null,
  account: FileLifecycle,
  defaultMs: number,
): FileLifecycle {
  const byDefault = account.expirationMs ?? (defaultMs === 0 ? null : defaultMs)
  return {
    expirationMs: own?.expirationMs === undefined ? byDefault : own.expirationMs,
    acl: own?.acl ?? account.acl,
  }
}

/** When a file expires that was made now. */
export function expiryOf({ expirationMs }: FileLifecycle, now: number): number | null {
  return expirationMs === null ? null : now + expirationMs
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

/** Throws a `LifecycleError` that begins with the name of what is wrong. */
export function readAcl(value: unknown, name: string): Acl {
  if (!isObject(value)) throw new LifecycleError(`${name} must be an object`)
  const { rules = [] } = value
  if (!Array.isArray(rules)) throw new LifecycleError(`${name}.rules must be a list`)
  return {
    default: parseDecision(value["default"], `${name}.default`),
    rules: rules.map((rule, at) => {
      const user: unknown = isObject(rule) ? rule["user"] : undefined
      const decision: unknown = isObject(rule) ? rule["decision"] : undefined
      const place = `${name}.rules.${at}`
      if (typeof user !== "string" || user === "") {
        throw new LifecycleError(`${place}.user must be a text`)
      }
      return { user, decision: parseDecision(decision, `${place}.decision`) }
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
