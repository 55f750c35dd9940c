import type { BlobRef } from "../../blob.ts"

/** How parts become a file, as pure functions. */

/** From 1. A file of so many is still removed in one slice of pruning; the clients send parts of 10 MiB. */
export const partNumberMax = 1_000

/** A part that has come. */
export interface UploadPart {
  number: number
  blob: string
  bytes: number
  etag: string
}

/** A part as whoever completes an upload names it. */
export interface ListedPart {
  number: number
  etag: string
}

/**
 * The bytes of a file in order, or a sentence that says why the list and what came do not make one. Every part that came must
 * be listed, from 1 without a gap: a file whose end is missing would be taken for whole. So would one of the client whose later
 * parts are all empty, which is why only the single part of an empty file may be empty.
 */
export function assembleParts(
  came: readonly UploadPart[],
  listed: readonly ListedPart[],
): { blobs: BlobRef[] } | { objection: string } {
  const etags = new Map(listed.map(({ number, etag }) => [number, bareEtag(etag)]))
  if (etags.size === 0) return { objection: "No parts are listed" }
  const known = new Map(came.map((part) => [part.number, part]))
  const last = Math.max(...etags.keys(), ...known.keys())
  const numbers = Array.from({ length: last }, (_, index) => index + 1)
  const missing = numbers.filter((number) => !known.has(number))
  if (missing.length > 0) return { objection: `Parts that did not come: ${name(missing)}` }
  const unlisted = numbers.filter((number) => !etags.has(number))
  if (unlisted.length > 0) {
    return { objection: `Parts that came and are not listed: ${name(unlisted)}` }
  }
  const parts = came.toSorted((one, other) => one.number - other.number)
  const wrong = parts.filter(({ number, etag }) => etags.get(number) !== bareEtag(etag))
  if (wrong.length > 0) {
    return { objection: `Parts whose etag is another one: ${name(wrong.map(toNumber))}` }
  }
  const empty = parts.filter(({ bytes }) => bytes === 0)
  if (empty.length > 0 && parts.length > 1) {
    return { objection: `Parts that are empty: ${name(empty.map(toNumber))}. ${whyEmpty}` }
  }
  return { blobs: parts.map(({ blob, bytes }) => ({ name: blob, bytes })) }
}

/** Told to whoever sends an empty part: most often a program that does not know it. */
export const whyEmpty =
  "Only the single part of an empty file may be empty. Some versions of the Python client send nothing after the first part of " +
  "bytes in memory: update it, or use upload_file"

/** Clients take the quotes away, or leave them. */
function bareEtag(etag: string): string {
  return etag.replaceAll(/^W\/|"/g, "")
}

function toNumber({ number }: UploadPart): number {
  return number
}

/** A sentence has room for so many. */
const namedMax = 20

function name(numbers: readonly number[]): string {
  const shown = numbers.slice(0, namedMax).join(", ")
  return numbers.length > namedMax ? `${shown} and ${numbers.length - namedMax} more` : shown
}
