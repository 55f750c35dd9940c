import { type FileLifecycle, readAcl, readLifecycle } from "../../domain/files/object-lifecycle.ts"
import { mintUploadToken } from "../access/upload-token.ts"
import { type Answer, badRequest, jsonAnswer, methodNotAllowed, refusal } from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"
import { announce } from "./announcement.ts"
import { invalidField, readJsonBody } from "./json-body.ts"
import { understood } from "./lifecycle-headers.ts"
import { parseUploadPath } from "./paths.ts"
import { answerSignedUrl, findOwnFile, nameAsked } from "./signatures.ts"
import { completeUpload, originOf } from "./uploads.ts"

/** What is said about files without their bytes: `/storage/…` of the REST surface and `/v1/storage/…` of the platform API. */

type Route = (gateway: Gateway, call: Call) => Promise<Answer>

/** By method and path. */
const routes: Record<string, Record<string, Route>> = {
  "/storage/upload/initiate": {
    POST: (gateway, call) => initiate(gateway, call, { multipart: false }),
  },
  "/storage/upload/initiate-multipart": {
    POST: (gateway, call) => initiate(gateway, call, { multipart: true }),
  },
  "/storage/upload/complete-multipart": { POST: completeAsked },
  "/storage/auth/token": { POST: makeToken },
  "/storage/files/acl": { GET: tellAcl, PUT: setAcl },
  "/v1/storage/files/acl": { GET: tellAcl, PUT: setAcl },
  "/v1/storage/files/sign": { POST: answerSignedUrl },
  "/v1/storage/settings": { GET: tellSettings, PUT: setSettings },
}

export function isStoragePath(path: string): boolean {
  return /^(\/v1)?\/storage\//.test(path)
}

export async function answerStorage(gateway: Gateway, call: Call): Promise<Answer> {
  const route = routes[call.address.path.replace(/\/$/, "")]
  if (route === undefined) return refusal(404, "Path not found")
  const answer = route[call.method]
  if (answer === undefined) return methodNotAllowed(call.method, Object.keys(route).join(", "))
  return await answer(gateway, call)
}

/** Names of what is one kind of storage here. */
const storageTypes = ["fal-cdn-v3", "gcs"]

/** `{"content_type", "file_name"}` → where to send the bytes, and where they will be read. */
async function initiate(
  gateway: Gateway,
  call: Call,
  { multipart }: { multipart: boolean },
): Promise<Answer> {
  checkStorageType(call)
  const body = await readJsonBody(gateway, call)
  const [fileName, contentType] = [readText(body, "file_name"), readText(body, "content_type")]
  const file = { fileName, contentType, multipart }
  const { fileUrl, capability } = await announce(gateway, call, file)
  // In the path: one client appends the number of a part to the whole URL, another one to its path.
  return jsonAnswer(200, { upload_url: `${fileUrl}/upload/${capability}`, file_url: fileUrl })
}

function readText(body: Record<string, unknown>, name: string): string {
  const { [name]: given } = body
  if (given === undefined || given === null) return ""
  if (typeof given === "string") return given
  const why = { type: "string_type", input: given }
  throw invalidField(["body", name], "Input should be a valid string", why)
}

function checkStorageType({ address }: Call): void {
  const given = address.query.get("storage_type")
  if (given === null || storageTypes.includes(given)) return
  const msg = `Input should be ${storageTypes.map((type) => `'${type}'`).join(" or ")}`
  throw invalidField(["query", "storage_type"], msg, { type: "enum", input: given })
}

/** For proxies that pass on nothing else: the upload is named by its URL in the body. */
async function completeAsked(gateway: Gateway, call: Call): Promise<Answer> {
  checkStorageType(call)
  const body = await readJsonBody(gateway, call)
  const { upload_url: given } = body
  const path = typeof given === "string" ? parseUploadPath(URL.parse(given)?.pathname ?? "") : null
  if (path === null) return badRequest("upload_url must be what initiate-multipart has answered")
  return await completeUpload(gateway, call, path, body)
}

const tokenSecondsDefault = 24 * 3_600
const tokenSecondsMax = 30 * 24 * 3_600

async function makeToken(gateway: Gateway, call: Call): Promise<Answer> {
  checkStorageType(call)
  const { parts } = gateway
  const { expiration_seconds: seconds = tokenSecondsDefault } = await readJsonBody(gateway, call)
  const isFair = Number.isInteger(seconds) && Number(seconds) >= 1
  if (!isFair || Number(seconds) > tokenSecondsMax) {
    const msg = `Input should be a whole number of seconds from 1 to ${tokenSecondsMax}`
    throw invalidField(["body", "expiration_seconds"], msg, { type: "int_type", input: seconds })
  }
  const expiresAt = parts.now() + Number(seconds) * 1_000
  const grant = { account: call.account, key: call.caller.key?.id ?? null, expiresAt }
  const answer = {
    token: mintUploadToken(parts, grant),
    token_type: "Bearer",
    base_url: originOf(call),
    // Python before 3.11 does not understand a Z.
    expires_at: new Date(expiresAt).toISOString().replace("Z", "+00:00"),
  }
  return jsonAnswer(200, answer, { "cache-control": "no-store" })
}

async function tellAcl(gateway: Gateway, call: Call): Promise<Answer> {
  const { acl } = await findOwnFile(gateway, call, nameAsked(call))
  return jsonAnswer(200, acl ?? { default: "allow", rules: [] }, { "cache-control": "no-store" })
}

async function setAcl(gateway: Gateway, call: Call): Promise<Answer> {
  const { name } = await findOwnFile(gateway, call, nameAsked(call))
  const body = await readJsonBody(gateway, call)
  const acl = understood("The ACL", () => readAcl(body, "acl"))
  const kept = await gateway.parts.store.setFileAcl(name, acl)
  // It expired in between.
  return kept === null ? refusal(404, "File not found") : jsonAnswer(200, kept)
}

async function tellSettings({ parts }: Gateway, { account }: Call): Promise<Answer> {
  const { settings } = await parts.store.storage(account)
  return jsonAnswer(200, describe(settings), { "cache-control": "no-store" })
}

/** What the body does not name stays as it is. */
async function setSettings(gateway: Gateway, call: Call): Promise<Answer> {
  const { store } = gateway.parts
  const body = await readJsonBody(gateway, call)
  const given = understood("The body", () => readLifecycle(body))
  const { settings } = await store.storage(call.account)
  const kept = await store.setStorage(call.account, {
    expirationMs: given.expirationMs === undefined ? settings.expirationMs : given.expirationMs,
    acl: body["initial_acl"] === undefined ? settings.acl : given.acl,
  })
  return jsonAnswer(200, describe(kept))
}

function describe({ expirationMs, acl }: FileLifecycle): object {
  return {
    expiration_duration_seconds: expirationMs === null ? null : expirationMs / 1_000,
    initial_acl: acl,
  }
}
