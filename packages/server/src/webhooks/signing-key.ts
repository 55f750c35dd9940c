import { open, readFile, rename } from "node:fs/promises"
import { join } from "node:path"
import { makeWebhookKey, type WebhookKey, type WebhookKeyPair } from "@tintype/protocol"
import { StartError } from "../start-error.ts"

/**
 * The key pair that webhooks are signed with, kept in the data folder, readable by its owner alone. It is made once: receivers
 * remember its public half. Throws a `StartError` for a file that is no key, as another key would make theirs worthless.
 */
export async function openSigningKey(folder: string): Promise<WebhookKeyPair> {
  const path = join(folder, "webhook-key.json")
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null
    throw error
  })
  if (text !== null) return parseKey(text, path)
  const made = await makeWebhookKey()
  await writeDurably(folder, path, `${JSON.stringify(made)}\n`)
  return made
}

/** What others may know of a key pair. */
export function publicHalf({ kty, crv, x, kid }: WebhookKeyPair): WebhookKey {
  return kid === undefined ? { kty, crv, x } : { kty, crv, x, kid }
}

function parseKey(text: string, path: string): WebhookKeyPair {
  const message = `${path} is not the key that webhooks are signed with: restore it, or remove it to have a new one made`
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (cause) {
    throw new StartError("data_unusable", message, { cause })
  }
  if (isKeyPair(parsed)) return parsed
  throw new StartError("data_unusable", message)
}

function isKeyPair(parsed: unknown): parsed is WebhookKeyPair {
  if (typeof parsed !== "object" || parsed === null) return false
  const { kty, crv, x, d } = parsed as Partial<Record<keyof WebhookKeyPair, unknown>>
  return kty === "OKP" && crv === "Ed25519" && isHalf(x) && isHalf(d)
}

/** 32 bytes, base64url. */
function isHalf(half: unknown): boolean {
  return typeof half === "string" && /^[\w-]{43}$/.test(half)
}

/** Whole or not at all, also after a power loss: a key that was used and is gone cannot be made again. */
async function writeDurably(folder: string, path: string, text: string): Promise<void> {
  const temporary = `${path}.new`
  {
    await using file = await open(temporary, "w", 0o600)
    await file.writeFile(text)
    await file.sync()
  }
  await rename(temporary, path)
  await using parent = await open(folder, "r")
  await parent.sync()
}
