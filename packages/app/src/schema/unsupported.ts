/** Part of a schema that Pydantic has no counterpart for. `place` is like `.images[].url`. */
export class UnsupportedSchemaError extends TypeError {
  readonly place: string

  constructor(place: string, message: string) {
    super(message)
    this.name = "UnsupportedSchemaError"
    this.place = place
  }
}
