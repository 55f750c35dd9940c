import { modelErrorAnswer, type ModelErrorItem, type ModelErrorType } from "@tintype/protocol"
import { toPlain } from "./json/write.ts"

export interface ModelErrorDetails {
  /** Defaults to the type in words. */
  msg?: string
  /** Defaults to `["body"]`, the whole input. */
  loc?: readonly (string | number)[]
  /** The catalogue names the keys of each type. */
  ctx?: Record<string, unknown>
  input?: unknown
  /** Where the catalogue leaves it to the app: may the same call succeed later? Default false. */
  retryable?: boolean
  cause?: unknown
}

// An app may bring its own copy of this package; its errors must be known all the same.
const brand = Symbol.for("tintype.model-error")

/**
 * The answer of an app that cannot serve a call; thrown in `run`, and not a failure of the app. The HTTP status and the
 * headers follow from the type.
 *
 *     throw new ModelError("image_too_small", {
 *       loc: ["body", "image_url"],
 *       ctx: { min_width: 64, min_height: 64 },
 *     })
 */
export class ModelError extends Error {
  readonly [brand] = true
  readonly item: ModelErrorItem
  readonly retryable: boolean

  constructor(type: ModelErrorType | "value_error", details: ModelErrorDetails = {}) {
    const { msg = wordsOf(type), loc = ["body"], ctx, input, retryable = false, cause } = details
    super(msg, cause === undefined ? {} : { cause })
    this.name = "ModelError"
    this.retryable = retryable
    this.item = {
      loc,
      msg,
      type,
      ...(ctx === undefined ? {} : { ctx }),
      ...(input === undefined ? {} : { input }),
    }
  }
}

/**
 * One field's value cannot be served, for a reason that its schema cannot say: 422 `value_error`.
 *
 *     throw new FieldError("prompt", "only haiku are painted here")
 */
export class FieldError extends ModelError {
  constructor(field: string, msg: string) {
    super("value_error", { msg, loc: ["body", field] })
    this.name = "FieldError"
  }
}

export function isModelError(error: unknown): error is ModelError {
  return error instanceof Error && brand in error
}

/** The HTTP answer for a thrown `ModelError`. */
export function answerModelError(error: ModelError): ReturnType<typeof modelErrorAnswer> {
  const { item, retryable } = error
  const { input, ctx, ...told } = item
  const plain = {
    ...told,
    ...(ctx === undefined ? {} : { ctx: mapValues(ctx) }),
    ...(input === undefined ? {} : { input: toPlain(input) }),
  }
  return modelErrorAnswer([plain], { retryable })
}

function mapValues(ctx: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(ctx).map(([key, value]) => [key, toPlain(value)]))
}

function wordsOf(type: string): string {
  const text = type.replaceAll("_", " ")
  return text.charAt(0).toUpperCase() + text.slice(1)
}
