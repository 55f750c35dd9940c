import { type ListedPart, partNumberMax, whyEmpty } from "../../domain/files/upload.ts"
import type { UploadRow } from "../../store.ts"
import {
  type Answer,
  badRequest,
  jsonAnswer,
  methodNotAllowed,
  RefusedError,
  refusal,
} from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"
import { announce, planUpload } from "./announcement.ts"
import { checkCapability } from "./capabilities.ts"
import { readJsonBody } from "./json-body.ts"
import type { UploadPath } from "./paths.ts"
import { addWholeFile, orDelete, receiveBlob, tooLarge } from "./receiving.ts"

/**
 * `POST /files/upload` with the file's bytes, `POST /files/upload/multipart` with none: for who has a key or an upload token.
 * Its parts go where every announced file's go.
 */
export async function answerIntake(
  gateway: Gateway,
  call: Call,
  { multipart }: { multipart: boolean },
): Promise<Answer> {
  if (call.method !== "POST") return methodNotAllowed(call.method, "POST")
  const given = call.headers["x-fal-file-name"]
  const file = {
    fileName: Array.isArray(given) ? (given[0] ?? "") : (given ?? ""),
    contentType: call.headers["content-type"],
    multipart,
  }
  if (multipart) {
    const { fileUrl, capability } = await announce(gateway, call, file)
    return jsonAnswer(200, { access_url: fileUrl, uploadId: capability })
  }
  const upload = await planUpload(gateway, call, file)
  const blob = await receiveBlob(gateway, call.raw, upload)
  await addWholeFile(gateway, upload, blob, { announced: false })
  return jsonAnswer(200, { access_url: `${call.address.fileBase}/${upload.file}` })
}

/** `PUT {upload URL}`, `PUT {upload URL}/{n}`, `POST {upload URL}/complete`: for who has the URL. */
export async function answerUpload(
  gateway: Gateway,
  call: Call,
  path: UploadPath,
): Promise<Answer> {
  if (path.part === "complete") {
    if (call.method !== "POST") return methodNotAllowed(call.method, "POST")
    return await completeUpload(gateway, call, path, await readJsonBody(gateway, call))
  }
  const refused = refuseUpload(gateway, path)
  if (refused !== null) return refused
  const upload = await gateway.parts.store.upload(path.name)
  if (upload === null) return isOver()
  if (path.part === null) return await takeWhole(gateway, call, upload)
  return await takePart(gateway, call, upload, { ...path, part: path.part })
}

function refuseUpload({ parts }: Gateway, { name, capability }: UploadPath): Answer | null {
  const verdict = checkCapability(parts, "upload", name, capability)
  if (verdict === "good") return null
  return verdict === "expired"
    ? refusal(403, "This upload URL has expired: start a new upload")
    : refusal(403, "This server did not make this upload URL")
}

/** Its file was stored, or the upload was given up meanwhile. */
function isOver(): Answer {
  return refusal(403, "This upload is over: its URL can be used once. Start a new upload")
}

async function takeWhole(gateway: Gateway, call: Call, upload: UploadRow): Promise<Answer> {
  if (call.method !== "PUT") return methodNotAllowed(call.method, "PUT")
  if (upload.multipart) {
    return badRequest("This upload comes in parts: PUT {upload_url}/{number}, from 1")
  }
  const blob = await receiveBlob(gateway, call.raw, upload)
  const { result } = await addWholeFile(gateway, upload, blob, { announced: true })
  if (result !== "added") return isOver()
  return jsonAnswer(200, { file_url: urlOf(call, upload.file) }, { etag: `"${blob.sha256}"` })
}

async function takePart(
  gateway: Gateway,
  call: Call,
  upload: UploadRow,
  { path, part: number }: UploadPath & { part: number },
): Promise<Answer> {
  const { parts } = gateway
  if (!upload.multipart) return badRequest("This upload comes as a whole: PUT {upload_url}")
  if (number < 1 || number > partNumberMax) {
    return badRequest(`The number of a part is from 1 to ${partNumberMax}`)
  }
  // The older form asks for the URL of each part first.
  if (call.method === "POST") {
    return jsonAnswer(200, { upload_url: `${originOf(call)}${path}/${number}` })
  }
  if (call.method !== "PUT") return methodNotAllowed(call.method, "POST, PUT")
  const blob = await receiveBlob(gateway, call.raw, upload)
  const etag = `"${blob.sha256}"`
  const { name, bytes } = blob
  const { storageBytesMax } = parts.config.limits
  const added = await orDelete(parts, blob, async () => {
    if (bytes === 0 && number > 1) throw new RefusedError(emptyPart(number))
    const part = { number, blob: name, bytes, etag }
    return await parts.store.addPart({ file: upload.file, part, storageBytesMax })
  })
  if (added.result === "unknown") return isOver()
  if (added.result === "too_large") throw tooLarge(upload.bytesMax)
  // What cannot be deleted now is swept later.
  if (added.replaced !== null) await parts.blobs.delete(added.replaced).catch(() => {})
  return jsonAnswer(200, { partNumber: number, etag }, { etag })
}

function emptyPart(number: number): Answer {
  return badRequest(`Part ${number} is empty. ${whyEmpty}`)
}

/** Said twice, it answers twice: the first answer may have been lost. */
export async function completeUpload(
  gateway: Gateway,
  call: Call,
  path: UploadPath,
  body: Record<string, unknown>,
): Promise<Answer> {
  const refused = refuseUpload(gateway, path)
  if (refused !== null) return refused
  const { store, config } = gateway.parts
  const { storageBytesMax } = config.limits
  const { name } = path
  const parts = readParts(body["parts"])
  const ended = await store.finishUpload({ file: name, content: { parts }, storageBytesMax })
  if (ended.result === "refused") return badRequest(ended.objection)
  if (ended.result === "unknown" && (await store.file(name)) === null) return isOver()
  const url = urlOf(call, name)
  return jsonAnswer(200, { file_url: url, access_url: url })
}

function readParts(given: unknown): ListedPart[] {
  if (!Array.isArray(given) || given.length > partNumberMax) {
    throw new RefusedError(badRequest(`parts must be a list, of at most ${partNumberMax}`))
  }
  return given.map((one: unknown, at) => {
    const part = typeof one === "object" && one !== null ? { ...one } : {}
    const { partNumber, part_number: number = partNumber, etag } = part as Record<string, unknown>
    const isNumber = Number.isInteger(number) && Number(number) >= 1
    if (isNumber && Number(number) <= partNumberMax && typeof etag === "string") {
      return { number: Number(number), etag }
    }
    throw new RefusedError(badRequest(`parts.${at} must be {"partNumber", "etag"}`))
  })
}

function urlOf({ address }: Call, name: string): string {
  return `${address.fileBase}/${name}`
}

/** Of the URLs below `/files/`. */
export function originOf({ address }: Call): string {
  return address.fileBase.slice(0, -"/files".length)
}
