import { hash } from "node:crypto"
import type { IncomingMessage } from "node:http"
import type { Readable } from "node:stream"
import { setImmediate } from "node:timers/promises"
import { type EndpointId, platformErrorAnswer, strippedFromCaller } from "@tintype/protocol"
import { BlobError } from "../blob.ts"
import type { Door } from "../domain/door.ts"
import type { Body, RequestRecord } from "../domain/request.ts"
import type { AppRow } from "../store.ts"
import type { Caller } from "./access/caller.ts"
import { badRequest, RefusedError, refusal } from "./answer.ts"
import { readSubmitOptions } from "./doors/submit-options.ts"
import { webhookOfBody, webhookOfQuery } from "./doors/webhook-target.ts"
import { identityOf, keyOf } from "./idempotency/submit-identity.ts"
import type { Call, Gateway, GatewayParts } from "./parts.ts"

/**
 * Takes a call's body and makes a request of it. A body is opaque: kept as received, only looked at to tell whether
 * it is JSON when its type says so.
 */

/** Finds the app of an endpoint id, or refuses with the id that was perhaps meant. */
export async function findApp(
  gateway: Gateway,
  endpoint: EndpointId | null,
  asked: string,
  caller: Caller,
): Promise<{ endpoint: EndpointId; app: AppRow }> {
  const app = endpoint === null ? null : await gateway.apps.find(endpoint.app)
  if (endpoint !== null && app !== null) return { endpoint, app }
  const name = (endpoint?.app ?? asked.replace(/^\/|\/$/g, "")).slice(0, 200)
  const nearest = await gateway.apps.nearest(endpoint?.id ?? name, caller)
  throw new RefusedError(
    refusal(404, `Application "${name}" not found`, {
      extra: nearest === null ? {} : { nearest },
    }),
  )
}

/** What a call has become. */
export interface TakenRequest {
  record: RequestRecord
  /** It came with an idempotency key. */
  keyed: boolean
  /** Its caller sent it before and lost the answer: it is the request of that call. */
  resubmission: boolean
}

/** Reads the body and submits: resolves when the request is durable. */
export async function takeRequest(
  gateway: Gateway,
  call: Call,
  endpoint: EndpointId,
  door: Door,
): Promise<TakenRequest> {
  const { parts, repeats } = gateway
  const { keyLengthMax, blindResenders } = parts.config.idempotency
  const key = keyOf(call, keyLengthMax)
  const asked = webhookOfQuery(call)
  const options = readSubmitOptions(call, door)
  refuseTooFast(gateway, call)
  const { bodyBytesMax } = parts.config.limits
  const ownMax = call.caller.key?.limits.bodyBytesMax ?? bodyBytesMax
  const received = await readBody(call.raw, parts, Math.min(bodyBytesMax, ownMax))
  const { body: input, sha256: bodyHash } = received
  const webhook = asked ?? (door === "queue" ? await webhookOfBody(input, gateway, endpoint) : null)
  const id = parts.newId()
  // In the same tick: what was named before is not found.
  repeats.named.tell()
  const submitted = parts.store.submit({
    id,
    account: call.account,
    key: call.caller.key?.id ?? null,
    door,
    app: endpoint.app,
    endpoint: endpoint.id,
    path: endpoint.path === "" ? "/" : endpoint.path,
    ...options,
    webhook,
    input,
    headers: headersForApp(call),
    fileBase: call.address.fileBase,
    identity: identityOf(call, { key, door, endpoint: endpoint.id, bodyHash }, blindResenders),
  })
  // In the same tick: the claim that follows from it joins the commit of the submit.
  parts.hints.work(endpoint.app)
  const answer = key === null ? repeats.answers.follow(call, id) : null
  const record = await submitted
  answer?.taken(record.id)
  const isNew = record.id === id
  if (!isNew) await discardCopy(parts, input)
  const resubmission = !isNew && key === null
  if (resubmission) repeats.named.resubmitted(record.id)
  return { record, keyed: key !== null, resubmission }
}

/** The body of a call that was taken before: no row names it. What cannot be deleted now is swept later. */
async function discardCopy({ blobs }: GatewayParts, body: Body): Promise<void> {
  if ("blob" in body) await blobs.delete(body.blob).catch(() => {})
}

/** The rate of the account, and the key's own where it is narrower. */
export function refuseTooFast(
  { parts, rates }: Gateway,
  { account, caller }: Pick<Call, "account" | "caller">,
): void {
  const { requestsPerSecondMax } = parts.config.limits
  const ownMax = caller.key?.limits.requestsPerSecondMax ?? 0
  const wait = rates.take([
    ...(requestsPerSecondMax > 0 ? [{ name: account, perSecond: requestsPerSecondMax }] : []),
    ...(ownMax > 0 ? [{ name: `${account}/${caller.key?.id}`, perSecond: ownMax }] : []),
  ])
  if (wait === null) return
  const extra = { retryAfterSeconds: wait }
  throw new RefusedError(platformErrorAnswer("request_rate_limit", undefined, extra))
}

function headersForApp(call: Call): Record<string, string> {
  const passed: Record<string, string> = {}
  for (const [name, value] of Object.entries(call.headers)) {
    if (value === undefined || strippedFromCaller(name)) continue
    passed[name] = Array.isArray(value) ? value.join(", ") : value
  }
  return passed
}

export interface ReceivedBody {
  body: Body
  /** In hex. */
  sha256: string
}

/** The body as received: in memory when it is small, else a blob. */
export async function readBody(
  raw: IncomingMessage,
  parts: GatewayParts,
  bodyBytesMax = parts.config.limits.bodyBytesMax,
): Promise<ReceivedBody> {
  const { inlineBytesMax } = parts.config.limits
  const length = Number(raw.headers["content-length"] ?? 0)
  if (length > bodyBytesMax) throw new RefusedError(tooLarge(bodyBytesMax))
  const json = isJsonType(raw.headers["content-type"])
  const arrived = await takeArrived(raw, Math.min(inlineBytesMax, bodyBytesMax))
  if (arrived !== null) return receive(arrived, json)
  const source = withPace(raw, {
    graceMs: parts.config.timing.bodyGraceMs,
    bytesPerSecondMin: parts.config.limits.bodyBytesPerSecondMin,
  })
  const head: Uint8Array[] = []
  let bytes = 0
  try {
    for (let next = await source.next(); next.done !== true; next = await source.next()) {
      head.push(next.value)
      bytes += next.value.byteLength
      if (bytes > bodyBytesMax) throw new RefusedError(tooLarge(bodyBytesMax))
      if (bytes > inlineBytesMax) {
        return await writeBlob(parts, resume(head, source), { json, bytesMax: bodyBytesMax })
      }
    }
  } finally {
    // Lets go of a body that is refused half-way. Not awaited: a chunk may still be waited for.
    void source.return(undefined)
  }
  return receive(Buffer.concat(head), json)
}

/**
 * A body that came with its head, as most small ones do, is taken as it is; null: there is more to wait for. Node parses it
 * when the callbacks of the head are done, so it is there in the next phase of this turn.
 */
async function takeArrived(raw: IncomingMessage, bytesMax: number): Promise<Uint8Array | null> {
  if (!raw.complete) await setImmediate()
  if (!raw.complete || raw.readableLength > bytesMax) return null
  return (raw.read() as Buffer | null) ?? Buffer.alloc(0)
}

function receive(inline: Uint8Array, json: boolean): ReceivedBody {
  if (json && inline.byteLength > 0 && !isJson(inline)) throw new RefusedError(notJson())
  return { body: { inline }, sha256: hash("sha256", inline) }
}

async function writeBlob(
  parts: GatewayParts,
  source: AsyncIterable<Uint8Array>,
  options: { json: boolean; bytesMax: number },
): Promise<ReceivedBody> {
  try {
    const { name, bytes, sha256 } = await parts.blobs.write(source, options)
    return { body: { blob: name, bytes }, sha256 }
  } catch (error) {
    if (error instanceof BlobError && error.code === "not_json") throw new RefusedError(notJson())
    if (error instanceof BlobError && error.code === "too_large") {
      throw new RefusedError(tooLarge(options.bytesMax))
    }
    throw error
  }
}

function tooLarge(bytesMax: number) {
  const detail = `The body is larger than ${bytesMax} bytes`
  return badRequest(detail, { status: 413 })
}

function notJson() {
  return badRequest("The body is not valid JSON")
}

/** A missing or unknown type is none that promises JSON: such a body passes as bytes. */
export function isJsonType(contentType: string | undefined): boolean {
  const type = contentType?.split(";", 1)[0]?.trim().toLowerCase() ?? ""
  return type === "application/json" || type === "text/json" || type.endsWith("+json")
}

function isJson(bytes: Uint8Array): boolean {
  try {
    JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes))
    return true
  } catch {
    return false
  }
}

async function* resume(
  head: Uint8Array[],
  rest: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* head.splice(0)
  yield* rest
}

/**
 * The body's chunks, as long as they come fast enough. Only time spent waiting for the sender counts: when the disk
 * is slow, the sender is held back by us.
 */
export async function* withPace(
  raw: Readable,
  pace: { graceMs: number; bytesPerSecondMin: number },
): AsyncGenerator<Uint8Array> {
  const chunks: AsyncIterator<Uint8Array> = raw.iterator({ destroyOnReturn: false })
  let allowanceMs = pace.graceMs
  try {
    for (;;) {
      const startedAt = performance.now()
      const next = await within(chunks.next(), allowanceMs)
      if (next === "late") {
        const detail = `The body came slower than ${pace.bytesPerSecondMin} bytes a second`
        throw new RefusedError(badRequest(detail, { close: true }))
      }
      if (next.done === true) return
      const waitedMs = performance.now() - startedAt
      const earnedMs = (next.value.byteLength / pace.bytesPerSecondMin) * 1_000
      // What was earned can be saved up to the grace: a sender that stops is noticed however fast it was.
      allowanceMs = Math.min(pace.graceMs, allowanceMs - waitedMs + earnedMs)
      yield next.value
    }
  } finally {
    // Not awaited: after a late chunk it would wait for that chunk.
    void chunks.return?.()
  }
}

async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T | "late"> {
  const late = Promise.withResolvers<"late">()
  const timer = setTimeout(() => late.resolve("late"), Math.max(0, timeoutMs))
  try {
    return await Promise.race([promise, late.promise])
  } catch (error) {
    // The sender hung up within its body: nobody reads the answer, and it is no fault of ours.
    throw new RefusedError(badRequest(`The body ended early: ${String(error)}`, { close: true }))
  } finally {
    clearTimeout(timer)
  }
}

/** Is there a body that nobody has read to its end? */
export function hasUnreadBody(raw: IncomingMessage): boolean {
  const { headers } = raw
  const empty =
    headers["content-length"] === undefined && headers["transfer-encoding"] === undefined
  return !empty && !raw.complete && !raw.destroyed
}

/** What is left of a refused body may take this long. */
const discardMs = 30_000

/**
 * Takes what is left of a refused body off the wire. Closing instead would reset the connection under a sender that is
 * still writing, and it would never read why.
 */
export async function discardBody(raw: IncomingMessage, bytesMax: number): Promise<void> {
  // Whoever read the body until now lets go of it first; two readers would starve each other.
  await setImmediate()
  if (raw.complete || raw.destroyed) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(() => raw.destroy(), discardMs)
  let bytes = 0
  raw.on("data", (chunk: Uint8Array) => {
    bytes += chunk.byteLength
    if (bytes > bytesMax) raw.destroy()
  })
  raw.once("end", resolve).once("close", resolve).once("error", resolve).resume()
  await promise
  clearTimeout(timer)
}
