import type { Delivery } from "../../domain/delivery.ts"
import { doorPolicies } from "../../domain/door.ts"
import type { RequestRecord } from "../../domain/request.ts"
import { type Store, StoreError } from "../../store.ts"

export interface NamedRequestsParts {
  store: Pick<Store, "markNamed">
  now: () => number
  resendWindowMs: number
  nameEveryMs: number
  /** Remembered at most; one that is forgotten is told to the store again. */
  namedMax: number
  onError: (error: unknown) => void
}

/**
 * The requests that calls have named by their ids: their answers did arrive. Owns what the store was not told yet and what it
 * was told lately, so that of however many polls one is written, and only while it matters: a submit can be lost until the
 * window is over, or until then after a crash.
 */
export class NamedRequests {
  readonly #parts: NamedRequestsParts
  readonly #startedAt: number
  /** By id: when it was named, oldest first. */
  readonly #named = new Map<string, number>()
  /** Submitted again lately, whatever the age of the request: when. */
  readonly #resubmitted = new Map<string, number>()
  #untold: string[] = []
  #timer: NodeJS.Timeout | null = null

  constructor(parts: NamedRequestsParts) {
    this.#parts = parts
    this.#startedAt = parts.now()
  }

  has(id: string): boolean {
    return this.#named.has(id)
  }

  /** A call has named it. */
  name({ id, door, submittedAt, finishedAt }: RequestRecord): void {
    // Where a caller waits, the answer is the outcome.
    const { endsWithCaller } = doorPolicies[door]
    this.#name(id, endsWithCaller ? (finishedAt ?? submittedAt) : submittedAt)
  }

  /** A call has named the request of this delivery. */
  nameByDelivery({ request, createdAt }: Delivery): void {
    this.#name(request, createdAt)
  }

  /** A copy of its submit came, so it can be lost anew. */
  resubmitted(id: string): void {
    this.#resubmitted.delete(id)
    this.#resubmitted.set(id, this.#parts.now())
    this.#named.delete(id)
    this.#forget(this.#resubmitted)
  }

  /** Tells the store what it does not know. Called in the tick of a submit, which then sees it. */
  tell(): void {
    if (this.#untold.length === 0) return
    const ids = this.#untold
    this.#untold = []
    // Nothing waits for it, and what it is lost with is worth one request more after a crash.
    this.#parts.store.markNamed(ids).catch((error: unknown) => {
      if (!(error instanceof StoreError)) this.#parts.onError(error)
    })
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.tell()
  }

  #name(id: string, since: number): void {
    if (this.#named.has(id) || !this.#isYoung(id, since)) return
    this.#named.set(id, this.#parts.now())
    this.#forget(this.#named)
    this.#untold.push(id)
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      this.tell()
    }, this.#parts.nameEveryMs).unref()
  }

  /** What came before a crash is lost for a window after it, and the start follows the crash. */
  #isYoung(id: string, since: number): boolean {
    const { now, resendWindowMs } = this.#parts
    const oldest = now() - 2 * resendWindowMs
    return since > oldest || this.#startedAt > oldest || this.#resubmitted.has(id)
  }

  /** Lets go of what is too old to matter. */
  #forget(times: Map<string, number>): void {
    const { now, resendWindowMs, namedMax } = this.#parts
    const oldest = now() - 3 * resendWindowMs
    for (const [id, at] of times) {
      if (at > oldest && times.size <= namedMax) return
      times.delete(id)
    }
  }
}
