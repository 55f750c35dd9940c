import { createHash, timingSafeEqual } from "node:crypto"

/**
 * What a call shows to say who it is. A key comes as `Key id:secret` or `Bearer id:secret`; a client that was given id and
 * secret as two variables joins them itself. `Local` is the secret file of the data folder, for administration.
 */
export type Credentials =
  | { kind: "none" }
  | { kind: "key"; id: string; secret: string }
  | { kind: "local"; secret: string }
  | { kind: "malformed"; detail: string }

const malformedKey = {
  kind: "malformed",
  detail: "Invalid Key Authorization header format. Expected '<key_id>:<key_secret>'.",
} as const

/** Reads `Authorization`. The texts of what is malformed are those of the hosted service. */
export function readCredentials(authorization: string | undefined): Credentials {
  if (authorization === undefined || authorization.trim() === "") return { kind: "none" }
  const [, scheme = "", given = ""] = /^(\S+)\s+(.*)$/.exec(authorization.trim()) ?? []
  const [, id, secret] = /^([^\s:]+):(\S+)$/.exec(given) ?? []
  const key = id === undefined || secret === undefined ? null : { id, secret }
  switch (scheme.toLowerCase()) {
    case "key":
      return key === null ? malformedKey : { kind: "key", ...key }
    case "bearer":
      return key === null
        ? { kind: "malformed", detail: "bearer: unable to decode issuer" }
        : { kind: "key", ...key }
    case "local":
      return { kind: "local", secret: given }
    default:
      return malformedKey
  }
}

/**
 * What is stored of a secret, hex. One plain SHA-256: our secrets are 256 random bits, which nobody finds by guessing,
 * so a slow hash such as scrypt would protect nothing more, and would cost every call its milliseconds.
 */
export function hashSecret(secret: string): string {
  return digest(secret).toString("hex")
}

/** Digests have one length, so the comparison takes the same time whatever was given. */
export function equalsSecret(given: string, secret: string): boolean {
  return timingSafeEqual(digest(given), digest(secret))
}

/** The same for a secret of which only the hash is known; with none, it takes as long and is false. */
export function matchesHash(given: string, secretHash: string | null): boolean {
  const known = Buffer.from(secretHash ?? "", "hex")
  const wanted = known.byteLength === 32 ? known : Buffer.alloc(32)
  return timingSafeEqual(digest(given), wanted) && secretHash !== null
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest()
}
