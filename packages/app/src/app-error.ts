export interface AppErrorDetails {
  /** Of the answer; names in any case. `x-fal-needs-retry` and `x-fal-stop-runner` tell the platform what to do. */
  headers?: Record<string, string>
  cause?: unknown
}

// An app may bring its own copy of this package; its errors must be known all the same.
const brand = Symbol.for("tintype.app-error")

/**
 * An HTTP answer of the app's own, `{"detail"}` with this status; thrown in `run`. For what is wrong with an input there
 * is `ModelError`. The queue repeats a 503 and a 504, and a 503 has the runner replaced; `x-fal-needs-retry` and
 * `x-fal-stop-runner` (`1` or `0`) say otherwise. Throws a RangeError for a status that is no error.
 *
 *     throw new AppError(503, "The GPU is gone", { headers: { "x-fal-needs-retry": "1" } })
 */
export class AppError extends Error {
  readonly [brand] = true
  readonly status: number
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, detail: string, { headers = {}, cause }: AppErrorDetails = {}) {
    super(detail, cause === undefined ? {} : { cause })
    if (!Number.isInteger(status) || status < 400 || status > 599) {
      throw new RangeError(`status ${status}: an error has one from 400 to 599`)
    }
    this.name = "AppError"
    this.status = status
    const lowered = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])
    this.headers = Object.fromEntries(lowered) as Record<string, string>
  }
}

export function isAppError(error: unknown): error is AppError {
  return error instanceof Error && brand in error
}
