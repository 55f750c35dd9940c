/** What is wrong with the caller's picture or mask; the type is one of the documented error types. */
export interface PictureRefusal {
  field: "image_url" | "mask_url"
  type: "image_load_error" | "image_too_large" | "image_too_small" | "unsupported_image_format"
  message: string
  ctx?: Record<string, unknown>
}

/** Thrown where a picture of the caller cannot be used. */
export class PictureError extends Error {
  override readonly name = "PictureError"
  readonly refusal: PictureRefusal

  constructor(refusal: PictureRefusal) {
    super(refusal.message)
    this.refusal = refusal
  }
}
