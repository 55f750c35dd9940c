import { buffer } from "node:stream/consumers"
import { isTerminal, signWebhook, webhookHeaders, type WebhookKeyPair } from "@tintype/protocol"
import type { BlobStore } from "../blob.ts"
import type { Clock, Timer } from "../clock.ts"
import type { Webhooks } from "../config.ts"
import { type Delivery, redactWebhookUrl, tryTimeoutMs } from "../domain/delivery.ts"
import type { RequestRecord } from "../domain/request.ts"
import type { DueDelivery, RecordedTry, Store } from "../store.ts"
import { postWebhook, type PostResult } from "./post.ts"
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
const lookEveryMs = 10
/** A try that could not be written is written again so often: untold, it would be made again at once, for ever. */
const recordEveryMs = 1_000
/** Characters of a URL that a line of the log has, one for every try. */
const loggedUrlMax = 512
/** Origins that are remembered as slow. */
const slowOriginsMax = 10_000

/**
 * Sends what requests owe their webhooks.
 *
 * Owns the tries under way and nothing durable: what is due stands in the store, and a try that a crash cuts short is made
 * again. It looks when a commit may have made something due, when a try has ended, and every `pollEveryMs`.
 *
 * Invariant: a delivery has one try at a time, an origin at most `triesPerOriginMax`, and one whose last try took all its
 * time has one, so that those who hang cannot hold all places.
 */
export class Deliverer {
  readonly #parts: DelivererParts
  readonly #stop = new AbortController()
  readonly #underWay = new Map<number, Promise<void>>()
  readonly #triesAt = new Map<string, number>()
  readonly #slow = new Set<string>()
  #payloadBytes = 0
  #poll: Timer | null = null
  #looking: Promise<void> | null = null
  #lookAgain = false
  #closing = false

  constructor(parts: DelivererParts) {
    this.#parts = parts
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
      if (this.#lookAgain) await this.#pause(lookEveryMs)
    }
  }

  async #look(): Promise<void> {
    const { store, settings } = this.#parts
    // Those under way are still due and come first, so twice as many are asked for as may be under way.
    const limit = 4 * settings.triesMax
    const due = await store.dueDeliveries({
      now: this.#parts.clock.now(),
      limit,
      perOrigin: 2 * settings.triesPerOriginMax,
      except: [...this.#triesAt.keys()].filter((origin) => !this.#hasPlaceAt(origin)),
    })
    const before = this.#underWay.size
    for (const one of due) {
      if (this.#closing || this.#underWay.size >= settings.triesMax) return
      if (this.#hasPlaceFor(one)) this.#begin(one)
    }
    // Behind so many there may be others, whose origins have places when those that were just filled are passed over.
    if (due.length === limit && this.#underWay.size > before) this.#lookAgain = true
  }

  #hasPlaceAt(origin: string): boolean {
    const triesMax = this.#slow.has(origin) ? 1 : this.#parts.settings.triesPerOriginMax
    return (this.#triesAt.get(origin) ?? 0) < triesMax
  }

  #hasPlaceFor({ delivery, payloadBytes }: DueDelivery): boolean {
    const { payloadBytesMax, payloadBytesHeldMax } = this.#parts.settings
    if (this.#underWay.has(delivery.sequence) || !this.#hasPlaceAt(delivery.origin)) return false
    if (payloadBytes > payloadBytesMax || this.#payloadBytes === 0) return true
    return this.#payloadBytes + payloadBytes <= payloadBytesHeldMax
  }

  #begin({ delivery, payloadBytes }: DueDelivery): void {
    const held = payloadBytes > this.#parts.settings.payloadBytesMax ? 0 : payloadBytes
    this.#payloadBytes += held
    this.#triesAt.set(delivery.origin, (this.#triesAt.get(delivery.origin) ?? 0) + 1)
    const trying = this.#try(delivery)
      .catch((error: unknown) => {
        // Cut short by our own stop.
        if (!this.#stop.signal.aborted) this.#parts.log({ event: "webhook_failed", error })
      })
      .finally(() => {
        this.#payloadBytes -= held
        this.#underWay.delete(delivery.sequence)
        const others = (this.#triesAt.get(delivery.origin) ?? 1) - 1
        if (others === 0) this.#triesAt.delete(delivery.origin)
        else this.#triesAt.set(delivery.origin, others)
        this.wake()
      })
    this.#underWay.set(delivery.sequence, trying)
  }

  async #try(delivery: Delivery): Promise<void> {
    const { settings, clock } = this.#parts
    const at = clock.now()
    const startedAt = clock.monotonic()
    const result = await this.#post(delivery)
    const durationMs = Math.round(clock.monotonic() - startedAt)
    this.#noteSpeed(delivery.origin, result)
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
    const { settings, allowPrivate, key } = this.#parts
    const { signal } = this.#stop
    try {
      const body = await this.#readBody(delivery)
      const timestamp = String(Math.floor(this.#parts.wall() / 1_000))
      const signed = { requestId: delivery.request, userId: delivery.account, timestamp, body }
      const headers = {
        [webhookHeaders.requestId]: signed.requestId,
        [webhookHeaders.userId]: signed.userId,
        [webhookHeaders.timestamp]: timestamp,
        [webhookHeaders.signature]: await signWebhook(signed, key),
      }
      const timeoutMs = tryTimeoutMs(delivery, settings)
      const { answerBytesMax } = settings
      const options = { allowPrivate, timeoutMs, answerBytesMax, signal }
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

  #noteSpeed(origin: string, { error }: PostResult): void {
    this.#slow.delete(origin)
    if (error !== "timeout") return
    this.#slow.add(origin)
    const [oldest] = this.#slow
    if (this.#slow.size > slowOriginsMax && oldest !== undefined) this.#slow.delete(oldest)
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.setTimeout(resolve, ms))
  }
}
