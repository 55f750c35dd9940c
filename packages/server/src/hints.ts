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
  onWork(listener: (app: string) => void): void
  onCancel(listener: (requestId: string, cause: CancelCause) => void): void
}

/** Hints within one process. */
export class LocalHints implements Hints {
  readonly #work: ((app: string) => void)[] = []
  readonly #cancel: Parameters<Hints["onCancel"]>[0][] = []

  work(app: string): void {
    for (const listener of this.#work) listener(app)
  }

  cancel(requestId: string, cause: CancelCause): void {
    for (const listener of this.#cancel) listener(requestId, cause)
  }

  onWork(listener: (app: string) => void): void {
    this.#work.push(listener)
  }

  onCancel(listener: Parameters<Hints["onCancel"]>[0]): void {
    this.#cancel.push(listener)
  }
}
