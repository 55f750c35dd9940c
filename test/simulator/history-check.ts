import type { AttemptRecord, RequestRecord } from "../../packages/server/src/domain/request.ts"

/** Is every attempt on record once, with its runner, and does each but the last say why it was not the last? */
export function isHistoryWhole(
  { state, attempts }: RequestRecord,
  history: AttemptRecord[],
): boolean {
  const last = history.at(-1)
  return (
    history.length === attempts &&
    history.every(({ number, runner }, index) => number === index + 1 && runner !== null) &&
    history.slice(0, -1).every(({ requeued }) => requeued !== null) &&
    (state !== "queued" || last === undefined || last.requeued !== null) &&
    (state !== "running" || (last?.requeued === null && last.endedAt === null))
  )
}
