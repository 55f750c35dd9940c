/** Pydantic's documentation of an error type lives under its version; the oracle of our tests is this one. */
export const pydanticVersion = "2.14"

/** More than these are counted but not told. */
export const errorsMax = 1000

export type LocPart = string | number

/** A place in the input, as a chain, so that no list is copied for values that are valid. */
export interface Place {
  parent: Place | null
  key: LocPart
}

export interface ValidationError {
  type: string
  loc: LocPart[]
  msg: string
  input: unknown
  ctx?: Record<string, unknown>
  url: string
}

/** What a value that is no value is. */
export const invalid = Symbol("invalid")
export type Checked<Value = unknown> = Value | typeof invalid

/** How close an input was to its type; a union prefers the closest. */
export const closeness = { lax: 0, strict: 1, exact: 2 } as const
export type Closeness = (typeof closeness)[keyof typeof closeness]

/** One walk over an input: its errors, and what a union needs to know to choose. */
export class Run {
  readonly errors: ValidationError[] = []
  closeness: Closeness = closeness.exact
  /** How many fields the input set, over all objects; null where there was no object. */
  fieldsSet: number | null = null

  /** Loses closeness; never gains it. */
  loosen(to: Closeness): void {
    if (to < this.closeness) this.closeness = to
  }

  addFieldsSet(count: number | null): void {
    if (count !== null) this.fieldsSet = (this.fieldsSet ?? 0) + count
  }

  /** The errors of a walk that was tried and failed. */
  adopt(failure: Run): void {
    this.errors.push(...failure.errors.slice(0, errorsMax - this.errors.length))
  }

  fail(
    place: Place | null,
    input: unknown,
    type: string,
    msg: string,
    ctx?: Record<string, unknown>,
  ): typeof invalid {
    if (this.errors.length < errorsMax) {
      const url = `https://errors.pydantic.dev/${pydanticVersion}/v/${type}`
      const error: ValidationError = { type, loc: locOf(place), msg, input, url }
      this.errors.push(ctx === undefined ? error : { ...error, ctx })
    }
    return invalid
  }
}

function locOf(place: Place | null): LocPart[] {
  const loc: LocPart[] = []
  for (let each = place; each !== null; each = each.parent) loc.push(each.key)
  return loc.toReversed()
}
