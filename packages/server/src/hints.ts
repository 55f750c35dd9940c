import type { CancelCause } from "./domain/request.ts"

/**
 * Hints between services: they may be lost, come twice or late, and cost only latency when they do. The truth is the
 * store, which every listener also asks on its own.
 */
export interface Hints {
  /** A queue of this app may have something to claim, or will have once the writes called before commit. */
  work(app: string): void
  /** This running request was asked to stop; its holder should be told. */
  cancel(requestId: string, cause: CancelCause): void
  /** A webhook's delivery was made due. */
  delivery(): void
  /** A key was made or revoked; what it opened is to be looked at again: calls, streams, links. */
  keyChanged(id: string): void
  onWork(listener: (app: string) => void): void
  onKeyChanged(listener: (id: string) => void): void
  onDelivery(listener: () => void): void
  onCancel(listener: (requestId: string, cause: CancelCause) => void): void
}

/** Hints within one process. */
export class LocalHints implements Hints {
  readonly #work: ((app: string) => void)[] = []
  readonly #delivery: (() => void)[] = []
  readonly #keyChanged: ((id: string) => void)[] = []
  readonly #cancel: Parameters<Hints["onCancel"]>[0][] = []

  work(app: string): void {
    for (const listener of this.#work) listener(app)
  }

  cancel(requestId: string, cause: CancelCause): void {
    for (const listener of this.#cancel) listener(requestId, cause)
  }

  delivery(): void {
    for (const listener of this.#delivery) listener()
  }

  onDelivery(listener: () => void): void {
    this.#delivery.push(listener)
  }

  keyChanged(id: string): void {
    for (const listener of this.#keyChanged) listener(id)
  }

  onKeyChanged(listener: (id: string) => void): void {
    this.#keyChanged.push(listener)
  }

  onWork(listener: (app: string) => void): void {
    this.#work.push(listener)
  }

  onCancel(listener: Parameters<Hints["onCancel"]>[0]): void {
    this.#cancel.push(listener)
  }
}
