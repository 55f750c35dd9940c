import { buffer } from "node:stream/consumers"
import {
  isTerminal,
  type SignedWebhook,
  webhookHeaders,
  type WebhookKeyPair,
} from "@tintype/protocol"
import type { BlobStore } from "../blob.ts"
import type { Clock, Timer } from "../clock.ts"
import type { Webhooks } from "../config.ts"
import { type Delivery, redactWebhookUrl, tryTimeoutMs } from "../domain/delivery.ts"
import type { RequestRecord } from "../domain/request.ts"
import type { DueDelivery, RecordedTry, Store } from "../store.ts"
import { Connections } from "./connections.ts"
import { Places, type TryPace } from "./places.ts"
import { postWebhook, type PostResult } from "./post.ts"
import { makeSigner } from "./signer.ts"
import { Waiting } from "./waiting.ts"
import { webhookBody, type WebhookOutput } from "./webhook-body.ts"

export interface DelivererParts {
  store: Pick<Store, "dueDeliveries" | "request" | "body" | "recordTry">
  blobs: Pick<BlobStore, "read">
  key: WebhookKeyPair
  settings: Webhooks
  /** Targets on this machine and in private networks are allowed. */
  allowPrivate: boolean
  clock: Clock
  /** What receivers have, too, who refuse a signature that is old: epoch milliseconds. */
  wall(): number
  /** From [0, 1). */
  random(): number
  log(entry: Record<string, unknown>): void
}

/** Between two looks at what is due, while deliveries come and go all the time. */
const lookEveryMs = 5
/** A try that could not be written is written again so often: untold, it would be made again at once, for ever. */
const recordEveryMs = 1_000
/** Characters of a URL that a line of the log has, one for every try. */
const loggedUrlMax = 512

/**
 * Sends what requests owe their webhooks.
 *
 * Owns the tries under way, what was found for the next ones, and nothing durable: what is due stands in the store, and a
 * try that a crash cuts short is made again. It looks when a commit may have made something due, when an origin that has had
 * a try has nothing that waits, and every `pollEveryMs`.
 *
 * Invariant: a delivery has one try at a time, which ends when it is written, and an origin as many as `Places` gives it, so
 * that those who hang cannot hold all.
 */
export class Deliverer {
  readonly #parts: DelivererParts
  readonly #stop = new AbortController()
  readonly #sign: (signed: SignedWebhook) => string
  readonly #connections: Connections
  readonly #places: Places
  readonly #underWay = new Map<number, Promise<void>>()
  readonly #waiting = new Waiting()
  #payloadBytes = 0
  #poll: Timer | null = null
  #looking: Promise<void> | null = null
  #lookAgain = false
  #closing = false

  constructor(parts: DelivererParts) {
    this.#parts = parts
    const { key, settings, allowPrivate } = parts
    this.#sign = makeSigner(key)
    this.#connections = new Connections({ allowPrivate, idleMax: settings.triesMax })
    this.#places = new Places(settings)
  }

  start(): void {
    const { clock, settings } = this.#parts
    this.#poll = clock.setInterval(() => this.wake(), settings.pollEveryMs)
    this.#poll.unref()
    this.wake()
  }

  /** Hears of every commit. */
  commit(changed: readonly RequestRecord[]): void {
    const owes = changed.some(({ webhook, state }) => webhook !== null && isTerminal(state))
    if (owes) this.wake()
  }

  /** Something may be due. */
  wake(): void {
    this.#lookAgain = true
    if (this.#closing) return
    this.#looking ??= this.#lookWhileAsked().finally(() => {
      this.#looking = null
      if (this.#lookAgain) this.wake()
    })
  }

  /** Lets tries under way end for at most `graceMs`; those cut short are made again by the next life. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true
    this.#parts.clock.clear(this.#poll)
    await this.#looking
    const ended = Promise.allSettled(this.#underWay.values())
    const timer = this.#parts.clock.setTimeout(() => this.#stop.abort(), graceMs)
    await ended
    this.#parts.clock.clear(timer)
    this.#connections.close()
  }

  async #lookWhileAsked(): Promise<void> {
    while (this.#lookAgain && !this.#closing) {
      this.#lookAgain = false
      try {
        await this.#look()
      } catch (error) {
        // The next poll looks again.
        if (!this.#closing) this.#parts.log({ event: "webhooks_unreadable", error })
        return
      }
      await this.#pause(lookEveryMs)
    }
  }

  async #look(): Promise<void> {
    const { store, settings, clock } = this.#parts
    const heldMax = 2 * settings.triesMax
    // They can be found again, and must not hide others, whose origins have places.
    const hasNoPlace = (origin: string) => !this.#places.hasPlaceAt(origin)
    if (this.#waiting.size >= heldMax) this.#waiting.forget(hasNoPlace)
    const room = heldMax - this.#waiting.size
    if (room <= 0) return
    // Those under way are still due and come first.
    const limit = room + this.#underWay.size
    const due = await store.dueDeliveries({
      now: clock.now(),
      limit,
      perOrigin: 2 * this.#places.most,
      except: [...this.#places.taken(), ...this.#waiting.origins()],
    })
    const fresh = due.filter(({ delivery }) => !this.#underWay.has(delivery.sequence))
    for (const one of fresh) this.#waiting.add(one)
    this.#begin()
    // Behind so many there may be others.
    if (due.length === limit && fresh.length > 0) this.#lookAgain = true
  }

  /** Begins what has a place. */
  #begin(): void {
    if (this.#closing || this.#places.isFull) return
    for (const due of this.#waiting.take((one) => this.#hasPlaceFor(one))) this.#beginOne(due)
  }

  #hasPlaceFor({ delivery, payloadBytes }: DueDelivery): boolean {
    const { payloadBytesMax, payloadBytesHeldMax } = this.#parts.settings
    if (this.#places.isFull || !this.#places.hasPlaceAt(delivery.origin)) return false
    if (payloadBytes > payloadBytesMax || this.#payloadBytes === 0) return true
    return this.#payloadBytes + payloadBytes <= payloadBytesHeldMax
  }

  #beginOne({ delivery, payloadBytes }: DueDelivery): void {
    const { origin, sequence } = delivery
    const held = payloadBytes > this.#parts.settings.payloadBytesMax ? 0 : payloadBytes
    this.#payloadBytes += held
    this.#places.take(origin)
    const trying = this.#try(delivery)
      .catch((error: unknown) => {
        // Cut short by our own stop.
        if (!this.#stop.signal.aborted) this.#parts.log({ event: "webhook_failed", error })
      })
      .finally(() => {
        this.#payloadBytes -= held
        this.#underWay.delete(sequence)
        this.#places.leave(origin)
        this.#begin()
        if (!this.#waiting.has(origin)) this.wake()
      })
    this.#underWay.set(sequence, trying)
  }

  async #try(delivery: Delivery): Promise<void> {
    const { settings, clock } = this.#parts
    const at = clock.now()
    const startedAt = clock.monotonic()
    const result = await this.#post(delivery)
    const durationMs = Math.round(clock.monotonic() - startedAt)
    this.#places.note(delivery.origin, paceOf(result, durationMs, settings))
    const number = delivery.tries + 1
    const after = await this.#record({
      sequence: delivery.sequence,
      number,
      made: { at, durationMs, ...result },
      policy: settings,
      random: this.#parts.random(),
    })
    this.#parts.log({
      event: "webhook",
      state: after === "unknown" || after === "repeated" ? after : after.state,
      url: redactWebhookUrl(delivery.url).slice(0, loggedUrlMax),
      try: number,
      status: result.status,
      ms: durationMs,
      requestId: delivery.request,
      ...(result.error === null ? {} : { reason: `${result.error}: ${result.detail}` }),
    })
  }

  async #post(delivery: Delivery): Promise<PostResult> {
    const { settings } = this.#parts
    const { signal } = this.#stop
    const { origin } = delivery
    // Nobody is left with an idle connection who is told a thing now and then.
    const keepsConnection = this.#waiting.has(origin) || this.#places.triesAt(origin) > 1
    try {
      const body = await this.#readBody(delivery)
      const timestamp = String(Math.floor(this.#parts.wall() / 1_000))
      const signed = { requestId: delivery.request, userId: delivery.account, timestamp, body }
      const headers = {
        [webhookHeaders.requestId]: signed.requestId,
        [webhookHeaders.userId]: signed.userId,
        [webhookHeaders.timestamp]: timestamp,
        [webhookHeaders.signature]: this.#sign(signed),
      }
      const timeoutMs = tryTimeoutMs(delivery, settings)
      const { answerBytesMax } = settings
      const connections = this.#connections
      const options = { connections, keepsConnection, timeoutMs, answerBytesMax, signal }
      return await postWebhook({ url: delivery.url, headers, body }, options)
    } catch (error) {
      signal.throwIfAborted()
      // Ours, not the receiver's; it counts as a try, so that it does not come round for ever.
      this.#parts.log({ event: "webhook_failed", requestId: delivery.request, error })
      return { status: null, answer: "", error: "internal", detail: "the body could not be made" }
    }
  }

  async #readBody({ request, sequence }: Delivery): Promise<Uint8Array> {
    const { store } = this.#parts
    const record = await store.request(request)
    if (record === null) throw new Error(`request ${request} is gone and its delivery is not`)
    return webhookBody(record, await this.#readOutput(sequence))
  }

  async #readOutput(sequence: number): Promise<WebhookOutput> {
    const { store, blobs, settings } = this.#parts
    const body = await store.body(sequence, "output")
    if (body === null) return "missing"
    const bytes = "inline" in body ? body.inline.byteLength : body.bytes
    if (bytes > settings.payloadBytesMax) return "too_large"
    if ("inline" in body) return body.inline
    const stream = await blobs.read(body.blob)
    return stream === null ? "missing" : await buffer(stream)
  }

  /** Written for sure before anything is tried again; rejects only when the server stops meanwhile. */
  async #record(recorded: RecordedTry): ReturnType<Store["recordTry"]> {
    for (;;) {
      try {
        return await this.#parts.store.recordTry(recorded)
      } catch (error) {
        if (this.#closing) throw error
        this.#parts.log({ event: "webhook_unrecorded", error })
        await this.#pause(recordEveryMs)
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.setTimeout(resolve, ms))
  }
}

function paceOf(
  { status, error }: PostResult,
  durationMs: number,
  { quickMs }: Pick<Webhooks, "quickMs">,
): TryPace {
  if (error === "timeout") return "timeout"
  const isSuccess = error === null && Math.floor((status ?? 0) / 100) === 2
  return isSuccess && durationMs < quickMs ? "quick" : "usual"
}
