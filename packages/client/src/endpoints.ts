/**
 * The endpoints that the compiler knows: none, until a file that `tintype types` has written is part of the program, which adds
 * them here. An id that is not among them can be called all the same, untyped: its output is `unknown`.
 */
// oxlint-disable-next-line typescript/no-empty-object-type -- what others add to must be an interface
export interface Endpoints {}

/** Of a call: an id that is known, which an editor completes, or any other. */
export type EndpointId<Known = Endpoints> = (keyof Known & string) | (string & {})

/** What an endpoint takes: `Input<"fal-ai/flux/dev">`. */
export type Input<Id extends string, Known = Endpoints> = Id extends keyof Known
  ? Known[Id] extends { input: infer Taken }
    ? Taken
    : UnknownInput
  : UnknownInput

/** What it gives: `Output<"fal-ai/flux/dev">`. */
export type Output<Id extends string, Known = Endpoints> = Id extends keyof Known
  ? Known[Id] extends { output: infer Given }
    ? Given
    : unknown
  : unknown

/** Any JSON, with files in it; `object` would refuse nothing that is one. */
export type UnknownInput = object

/** Where an endpoint takes the URL of a file: one, or the file itself, which is uploaded first. */
export type FileInput = string | Blob
