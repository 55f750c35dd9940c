import { createHmac, timingSafeEqual } from "node:crypto"
import type { GatewayParts } from "../parts.ts"

/**
 * What a URL may open by itself: signed with the server's secret, for one file, one purpose and one time. Nothing of it is
 * stored.
 *
 *     b/0a1b2c3d/…_cat.png, upload, until 2027-01-01  →  "t5a0w0.V0rN…"
 */

type Signer = Pick<GatewayParts, "tokenSecret" | "now">

/** `upload`: to send the file. `read`: to read it, whatever its ACL says. */
export type Purpose = "upload" | "read"

export function makeCapability(
  parts: Signer,
  purpose: Purpose,
  name: string,
  expiresAt: number,
): string {
  const until = Math.ceil(expiresAt / 1_000).toString(36)
  return `${until}.${sign(parts, [purpose, name, until])}`
}

/** `wrong`: nobody made it here, or for something else. */
export function checkCapability(
  parts: Signer,
  purpose: Purpose,
  name: string,
  capability: string,
): "good" | "expired" | "wrong" {
  const [until = "", signature = ""] = capability.split(".")
  if (!isSigned(parts, [purpose, name, until], signature)) return "wrong"
  return parseInt(until, 36) * 1_000 > parts.now() ? "good" : "expired"
}

/** Over fields of which none holds a line break. */
export function sign({ tokenSecret }: Pick<Signer, "tokenSecret">, fields: string[]): string {
  return createHmac("sha256", tokenSecret).update(fields.join("\n")).digest("base64url")
}

export function isSigned(
  parts: Pick<Signer, "tokenSecret">,
  fields: string[],
  signature: string,
): boolean {
  const [wanted, given] = [sign(parts, fields), signature].map((text) => Buffer.from(text))
  return wanted?.length === given?.length && timingSafeEqual(wanted!, given!)
}
