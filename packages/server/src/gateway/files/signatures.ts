import { accessTo, isExpired } from "../../domain/files/object-lifecycle.ts"
import type { FileRow } from "../../store.ts"
import {
  type Answer,
  badRequest,
  jsonAnswer,
  methodNotAllowed,
  RefusedError,
  refusal,
} from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"
import { makeCapability } from "./capabilities.ts"
import { readJsonBody } from "./json-body.ts"
import { fileNameOfUrl } from "./paths.ts"

/** URLs that open a file whatever its ACL says, for a while: made by its owner, for whoever gets them. */

const secondsDefault = 24 * 3_600
const secondsMax = 7 * 24 * 3_600

/** `POST {file URL}/sign` with `{"duration", "scope"}`: the URL as text. */
export async function answerSignature(gateway: Gateway, call: Call, name: string): Promise<Answer> {
  if (call.method !== "POST") return methodNotAllowed(call.method, "POST")
  const { duration = secondsDefault, scope = ["read"] } = await readJsonBody(gateway, call)
  if (!Array.isArray(scope) || scope.length !== 1 || scope[0] !== "read") {
    return badRequest('scope must be ["read"]')
  }
  const signed = await signUrl(gateway, call, name, readSeconds("duration", duration))
  return { status: 200, headers: { "content-type": "text/plain; charset=utf-8" }, body: signed }
}

/** `POST /v1/storage/files/sign?url=` with `{"expiration_seconds"}`. */
export async function answerSignedUrl(gateway: Gateway, call: Call): Promise<Answer> {
  if (call.method !== "POST") return methodNotAllowed(call.method, "POST")
  const { expiration_seconds: given } = await readJsonBody(gateway, call)
  const seconds = readSeconds("expiration_seconds", given)
  const signed = await signUrl(gateway, call, nameAsked(call), seconds)
  return jsonAnswer(200, { signed_url: signed })
}

async function signUrl(
  gateway: Gateway,
  call: Call,
  name: string,
  seconds: number,
): Promise<string> {
  const { parts } = gateway
  await findOwnFile(gateway, call, name)
  const identity = makeCapability(parts, "read", name, parts.now() + seconds * 1_000)
  return `${call.address.fileBase}/${name}?identity=${identity}`
}

function readSeconds(name: string, given: unknown): number {
  const isFair = Number.isInteger(given) && Number(given) >= 1 && Number(given) <= secondsMax
  if (isFair) return Number(given)
  const detail = `${name} must be a whole number of seconds from 1 to ${secondsMax}`
  throw new RefusedError(badRequest(detail))
}

/** The file that `?url=` means. */
export function nameAsked({ address }: Call): string {
  const name = fileNameOfUrl(address.query.get("url") ?? "")
  if (name !== null) return name
  const detail = "url must be the whole URL of a file, without a query"
  throw new RefusedError(badRequest(detail))
}

/** Only its owner decides about a file; to others it is what it is when they read it. */
export async function findOwnFile(
  { parts }: Gateway,
  { account }: Call,
  name: string,
): Promise<FileRow> {
  const file = await parts.store.file(name)
  if (file === null || isExpired(file, parts.now()) || accessTo(file, account) === "hide") {
    throw new RefusedError(refusal(404, "File not found"))
  }
  if (file.account === account) return file
  throw new RefusedError(refusal(403, "This file is another account's"))
}
