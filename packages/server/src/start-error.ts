/** A start that cannot go on, for a reason that a person can act on. */
export class StartError extends Error {
  readonly code: "data_locked" | "data_unusable" | "port_taken" | "public_without_key" | "settings"

  constructor(code: StartError["code"], message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "StartError"
    this.code = code
  }
}
