import type { ErrorAnswer } from "./errors.ts"

/** What an app answers when a call cannot be served: validation, content, media. Part of the error catalogue. */
export interface ModelErrorEntry {
  status: number
  /** `maybe`: the app knows, case by case. */
  retryable: boolean | "maybe"
  /** The keys of `ctx`. */
  ctx: readonly string[]
}

const invalid = (...ctx: string[]) => ({ status: 422, retryable: false, ctx }) as const
const archiveCount = ["provided_count", "supported_extensions"]

export const modelErrors = {
  internal_server_error: { status: 500, retryable: "maybe", ctx: [] },
  generation_timeout: { status: 504, retryable: "maybe", ctx: [] },
  // 400 in the documentation of 2025, 500 in that of 2026.
  downstream_service_error: { status: 500, retryable: "maybe", ctx: [] },
  downstream_service_unavailable: { status: 500, retryable: true, ctx: [] },
  content_policy_violation: invalid(),
  no_media_generated: invalid(),
  image_too_small: invalid("min_height", "min_width"),
  image_too_large: invalid("max_height", "max_width"),
  image_load_error: invalid(),
  file_download_error: invalid(),
  face_detection_error: invalid(),
  file_too_large: invalid("max_size"),
  greater_than: invalid("gt"),
  greater_than_equal: invalid("ge"),
  less_than: invalid("lt"),
  less_than_equal: invalid("le"),
  multiple_of: invalid("multiple_of"),
  sequence_too_short: invalid("min_length"),
  sequence_too_long: invalid("max_length"),
  one_of: invalid("expected"),
  feature_not_supported: invalid(),
  invalid_archive: invalid("supported_extensions"),
  archive_file_count_below_minimum: invalid("min_count", ...archiveCount),
  archive_file_count_exceeds_maximum: invalid("max_count", ...archiveCount),
  audio_duration_too_long: invalid("max_duration", "provided_duration"),
  audio_duration_too_short: invalid("min_duration", "provided_duration"),
  video_duration_too_long: invalid("max_duration", "provided_duration"),
  video_duration_too_short: invalid("min_duration", "provided_duration"),
  unsupported_audio_format: invalid("supported_formats"),
  unsupported_image_format: invalid("supported_formats"),
  unsupported_video_format: invalid("supported_formats"),
} as const satisfies Record<string, ModelErrorEntry>

export type ModelErrorType = keyof typeof modelErrors

export function isModelErrorType(text: string): text is ModelErrorType {
  return Object.hasOwn(modelErrors, text)
}

/** One entry of `detail`. Callers dispatch on `type`, never on `msg`. */
export interface ModelErrorItem {
  /** `["body", "field"]`, or `["body"]` for the whole. */
  loc: readonly (string | number)[]
  msg: string
  /** One of the catalogue's, or one of Pydantic's (`missing`, `int_parsing`, …). */
  type: string
  /** Where the type is documented; for a type of the catalogue it may be left out. */
  url?: string
  ctx?: Record<string, unknown>
  input?: unknown
}

/**
 * The HTTP answer for model errors: the highest status among them, 422 for Pydantic's types. `retryable` decides
 * where the catalogue says `maybe`.
 *
 *     modelErrorAnswer([{ loc: ["body", "image_url"], msg: "Failed to load", type: "image_load_error" }])
 */
export function modelErrorAnswer(
  errors: readonly ModelErrorItem[],
  options: { retryable?: boolean } = {},
): ErrorAnswer {
  const entries = errors.map(({ type }) => entryOf(type))
  const status = Math.max(422, ...entries.map((entry) => entry.status))
  const retryable =
    entries.length > 0 &&
    entries.every((entry) =>
      entry.retryable === "maybe" ? options.retryable === true : entry.retryable,
    )
  const headers = {
    "content-type": "application/json",
    // Two pages of the documentation name two headers for the same thing; clients may read either.
    "x-fal-retryable": String(retryable),
    "x-fal-needs-retry": retryable ? "1" : "0",
  }
  const body = JSON.stringify({ detail: errors.map(describe) })
  return { status, headers, body: new TextEncoder().encode(body) }
}

/** The type that `modelErrors` documents at this address. */
export function modelErrorUrl(type: ModelErrorType): string {
  return `https://docs.fal.ai/errors/#${type}`
}

function entryOf(type: string): ModelErrorEntry {
  return isModelErrorType(type) ? modelErrors[type] : invalid()
}

function describe(item: ModelErrorItem): Record<string, unknown> {
  const { loc, msg, type, url, ctx, input } = item
  const address = url ?? (isModelErrorType(type) ? modelErrorUrl(type) : undefined)
  return {
    loc,
    msg,
    type,
    ...(address === undefined ? {} : { url: address }),
    ...(ctx === undefined ? {} : { ctx }),
    ...(input === undefined ? {} : { input }),
  }
}
