/** SQLite's primary result codes, https://sqlite.org/rescode.html; those that we tell apart. */
export const resultCodes = {
  error: 1,
  corrupt: 11,
  full: 13,
  tooBig: 18,
  constraint: 19,
  mismatch: 20,
  range: 25,
  notADatabase: 26,
}

/** The primary code of an error of `node:sqlite`; null for any other error. */
export function resultCode(error: unknown): number | null {
  if (typeof error !== "object" || error === null || !("errcode" in error)) return null
  return Number(error.errcode) & 0xff
}
