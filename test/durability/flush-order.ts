import { basename, dirname } from "node:path"
import type { TracedCall } from "./trace.ts"

/** A request as the test knows it. */
export interface TracedRequest {
  id: string
  /** Occurs in the input, and so in the echo's output, and nowhere else. */
  marker: string
  /** Is it kept as a blob, input and output alike? */
  isBlob: boolean
  /** Queue: the submit is answered, and later the result. Run: only the result. */
  door: "queue" | "run"
}

const flushes = new Set(["fsync", "fdatasync"])
const writes = new Set(["write", "writev", "pwrite64", "pwritev", "pwritev2"])
const renames = new Set(["rename", "renameat", "renameat2", "link", "linkat"])
const sends = new Set(["write", "writev", "sendto", "sendmsg"])
const uuid = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}"

/**
 * Holds a trace to the order: bytes written, flushed, and only then the answer written that promises them. For a blob: its
 * file flushed, renamed, its folder flushed, and only then the row that names it. Returns a sentence for each breach.
 */
export function breaches(calls: TracedCall[], requests: TracedRequest[]): string[] {
  return requests.flatMap((request) => [
    ...(request.door === "queue" ? submitBreaches(calls, request) : []),
    ...outcomeBreaches(calls, request),
  ])
}

/** Bytes of a file that were sent, as a whole or a part of it. */
export interface TracedUpload {
  /** Occurs in the bytes and nowhere else. */
  marker: string
  /** Occurs in the answer that acknowledges them, and in none before. */
  acknowledgement: string
}

/** The same for uploads: a file's bytes are as durable as its row when they are acknowledged. */
export function uploadBreaches(calls: TracedCall[], uploads: TracedUpload[]): string[] {
  return uploads.flatMap((upload) => {
    const what = `upload ${upload.marker}`
    const answer = answers(calls, upload.acknowledgement)[0]
    if (answer === undefined) return [`${what}: no answer to it was seen`]
    const blob = blobsOf(calls, upload)[0]
    // A blob keeps the name of its draft, which stands in its row.
    const name = blob === undefined ? "none" : basename(blob.draft)
    const row = calls.find((call) => isLogWrite(call) && call.text.includes(name))
    return [...rowBreaches(calls, what, row, answer), ...blobBreaches(calls, what, blob, row)]
  })
}

function submitBreaches(calls: TracedCall[], request: TracedRequest): string[] {
  const answer = answers(calls, request.id)[0]
  if (answer === undefined) return [`${request.id}: no answer to its submit was seen`]
  const row = calls.find((call) => isLogWrite(call) && call.text.includes(request.id))
  const what = `submit ${request.id}`
  return [
    ...rowBreaches(calls, what, row, answer),
    ...(request.isBlob ? blobBreaches(calls, what, blobsOf(calls, request)[0], row) : []),
  ]
}

function outcomeBreaches(calls: TracedCall[], request: TracedRequest): string[] {
  const answer = answers(calls, request.id).find((call) => {
    // The body of a blob is another write: what tells it from a submit's answer is what it has not.
    return !call.text.includes(`IN_QUEUE`) && /HTTP\/1\.1 200/.test(call.text)
  })
  if (answer === undefined) return [`${request.id}: no answer with its result was seen`]
  // The row of a request holds its id, then a few short columns, then its state. What lies behind the id need not be its
  // row: a freed place keeps its first bytes until another row takes all of it, and that one begins with an id of its own.
  const concluded = new RegExp(`${request.id}(?:(?!queued|running|${uuid}).){0,300}?succeeded`, "s")
  const row = calls.find((call) => isLogWrite(call) && concluded.test(call.text))
  const what = `outcome ${request.id}`
  return [
    ...rowBreaches(calls, what, row, answer),
    ...(request.isBlob ? blobBreaches(calls, what, blobsOf(calls, request)[1], row) : []),
  ]
}

function rowBreaches(
  calls: TracedCall[],
  what: string,
  row: TracedCall | undefined,
  answer: TracedCall,
): string[] {
  if (row === undefined) return [`${what}: its row was never written to the log`]
  if (row.ended > answer.began) return [`${what}: answered before its row was written`]
  const flush = flushAfter(calls, row.target, row.ended)
  if (flush === undefined) return [`${what}: the log was not flushed after its row`]
  return flush.ended < answer.began ? [] : [`${what}: answered before the log was flushed`]
}

interface BlobFile {
  /** The path that its bytes were written to, before it got its name. */
  draft: string
  written: number
}

/** The files that hold a request's marker, in the order in which they were begun: input, then output. */
function blobsOf(calls: TracedCall[], { marker }: { marker: string }): BlobFile[] {
  const drafts = calls.filter(
    (call) =>
      writes.has(call.name) &&
      call.target.startsWith("/") &&
      !/tintype\.sqlite/.test(call.target) &&
      call.text.includes(marker),
  )
  return drafts.map((first) => {
    const all = calls.filter((call) => writes.has(call.name) && call.target === first.target)
    return { draft: first.target, written: Math.max(...all.map((call) => call.ended)) }
  })
}

function blobBreaches(
  calls: TracedCall[],
  what: string,
  blob: BlobFile | undefined,
  row: TracedCall | undefined,
): string[] {
  if (blob === undefined) return [`${what}: no blob with its bytes was written`]
  if (row === undefined) return []
  const file = flushAfter(calls, blob.draft, blob.written)
  if (file === undefined) return [`${what}: its blob was not flushed after its last bytes`]
  const naming = calls.find(
    (call) =>
      renames.has(call.name) && call.result === 0 && call.text.includes(basename(blob.draft)),
  )
  if (naming === undefined) return [`${what}: its blob never got its name`]
  if (naming.began < file.ended) return [`${what}: its blob got its name before it was flushed`]
  const names = [...naming.text.matchAll(/"([^"]+)"/g)].map((match) => match[1]!)
  const folder = flushAfter(calls, dirname(names.at(-1)!), naming.ended)
  if (folder === undefined) return [`${what}: the folder of its blob was not flushed`]
  return folder.ended < row.began
    ? []
    : [`${what}: the row that names its blob was written before the blob's folder was flushed`]
}

function flushAfter(calls: TracedCall[], target: string, place: number): TracedCall | undefined {
  return calls.find(
    (call) =>
      flushes.has(call.name) && call.target === target && call.result === 0 && call.began > place,
  )
}

/** Writes to a caller that name the request, first one first. */
function answers(calls: TracedCall[], id: string): TracedCall[] {
  return calls.filter(
    (call) => sends.has(call.name) && call.target.startsWith("TCP") && call.text.includes(id),
  )
}

function isLogWrite(call: TracedCall): boolean {
  return writes.has(call.name) && call.target.endsWith("/tintype.sqlite-wal")
}
