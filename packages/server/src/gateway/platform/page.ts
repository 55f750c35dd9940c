import { type Answer, refusal } from "../answer.ts"

/** How the lists below `/_/` are read page by page. */

const limitDefault = 50
const limitMax = 100

export interface PageAsked {
  limit: number
  /** The sequence that the cursor stands for: rows before it are asked for. */
  before: number | null
}

/** `limit` and `cursor` of a query, or why they are refused. */
export function readPage(query: URLSearchParams): PageAsked | { refused: Answer } {
  const limit = query.get("limit") ?? String(limitDefault)
  if (!/^[1-9]\d{0,8}$/.test(limit)) return { refused: refusal(400, "limit is not valid") }
  const cursor = query.get("cursor")
  const before = cursor === null ? null : Buffer.from(cursor, "base64url").toString()
  if (before !== null && !/^\d{1,15}$/.test(before)) {
    return { refused: refusal(400, "cursor is not valid") }
  }
  const size = Math.min(Number(limit), limitMax)
  return { limit: size, before: before === null ? null : Number(before) }
}

/** What an answer says of the page after it; `next` is the sequence that it ends at, null on the last page. */
export function describeNext(next: number | null): object {
  const cursor = next === null ? null : Buffer.from(String(next)).toString("base64url")
  return { next_cursor: cursor, has_more: cursor !== null }
}

export function toIso(epochMs: number): string
export function toIso(epochMs: number | null): string | null
export function toIso(epochMs: number | null): string | null {
  return epochMs === null ? null : new Date(epochMs).toISOString()
}
