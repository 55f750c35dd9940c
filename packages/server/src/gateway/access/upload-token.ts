import { isSigned, sign } from "../files/capabilities.ts"
import type { Refusal } from "../open-mode.ts"
import type { Gateway, GatewayParts } from "../parts.ts"
import type { Address } from "../address.ts"
import type { Caller } from "./caller.ts"

/**
 * What the Python client gets for its key and shows where files are sent to: who it is, and until when. It opens `/files/` and
 * nothing else, and dies with its key.
 */

interface Grant {
  account: string
  /** Null: open mode made it, where nobody looks at it. */
  key: string | null
  /** Epoch milliseconds. */
  expiresAt: number
}

type Signer = Pick<GatewayParts, "config" | "tokenSecret">

export function mintUploadToken(parts: Signer, grant: Grant): string {
  const content = Buffer.from(JSON.stringify(grant)).toString("base64url")
  return `${content}.${sign(parts, fieldsOf(parts, content))}`
}

/** Who shows an upload token where it counts, or why it opens nothing; null when the call shows something else. */
export async function identifyByUploadToken(
  { parts, keys }: Gateway,
  authorization: string | undefined,
  { surface }: Address,
): Promise<Caller | Refusal | null> {
  const [, content, signature] =
    /^bearer\s+([\w-]+)\.([\w-]+)$/i.exec(authorization?.trim() ?? "") ?? []
  if (surface !== "files" || content === undefined || signature === undefined) return null
  if (!isSigned(parts, fieldsOf(parts, content), signature)) return null
  const { account, key, expiresAt } = JSON.parse(
    Buffer.from(content, "base64url").toString(),
  ) as Grant
  if (expiresAt <= parts.now()) return { status: 401, detail: "The upload token has expired" }
  const holder = key === null ? null : await keys.findById(key)
  if (holder === null) {
    return { status: 401, detail: "The key that this upload token was made with is not valid" }
  }
  return { account, scope: "api", key: holder, open: false }
}

/** The bootstrap key is no row that could be revoked: tokens made with another one are not signed like this. */
function fieldsOf({ config }: Signer, content: string): string[] {
  return ["upload token", config.key ?? "", content]
}
