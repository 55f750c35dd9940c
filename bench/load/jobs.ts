import type { Connection, Response } from "./connection.ts"
import type { LoadOrders, PickupFigures, StoredCount } from "./orders.ts"
import { openConnections, repeat } from "./paced.ts"
import { findId, formatGet, formatPost, type Target } from "./target.ts"

interface Acknowledged {
  id: string
  body: string
}

const batches = new Map<string, Acknowledged[]>()
let bodiesMade = 0

/** Keys in the order in which PostgreSQL's jsonb gives them back: a peer's result must be the same text, too. */
export function nextBody(): string {
  bodiesMade += 1
  return `{"job":"${String(bodiesMade).padStart(12, "0")}","prompt":"a lighthouse at dusk, oil on canvas"}`
}

export const runJobs: LoadOrders["jobs"] = async ({ target, concurrency, seconds, batch }) => {
  const acknowledged = batches.get(batch) ?? []
  batches.set(batch, acknowledged)
  const connections = await openConnections(target.port, concurrency)
  const figures = await repeat(connections, seconds, async (connection) => {
    const startedAt = performance.now()
    acknowledged.push(await doJob(connection, target))
    return performance.now() - startedAt
  })
  for (const connection of connections) connection.close()
  return figures
}

export async function submit(
  connection: Connection,
  target: Target,
  body: string,
): Promise<string> {
  const taken = await connection.exchange(formatPost(target.port, target.submit, body))
  if (taken.status !== 200) throw new Error(`a submit got ${taken.status}: ${taken.body}`)
  return findId(taken.body, target)
}

export async function awaitResult(
  connection: Connection,
  { port, result, resultHeaders }: Target,
  id: string,
): Promise<Response> {
  const path = `${result.before}${id}${result.after}`
  return await connection.exchange(formatGet(port, path, resultHeaders))
}

/** From the first byte of the submit to the last one of the result. */
async function doJob(connection: Connection, target: Target): Promise<Acknowledged> {
  const body = nextBody()
  const id = await submit(connection, target, body)
  const answered = await awaitResult(connection, target, id)
  if (answered.status !== 200 || answered.body !== body) {
    throw new Error(`the result of ${id} is ${answered.status}: ${answered.body}, not ${body}`)
  }
  return { id, body }
}

export const queueJobs: LoadOrders["queue"] = async ({ target, count }) => {
  const connections = await openConnections(target.port, 1)
  const ids: string[] = []
  while (ids.length < count) ids.push(await submit(connections[0]!, target, nextBody()))
  for (const connection of connections) connection.close()
  return { ids }
}

const manyConnections = 32

export const countStored: LoadOrders["count"] = async ({ target, batch }): Promise<StoredCount> => {
  const acknowledged = batches.get(batch) ?? []
  batches.delete(batch)
  const connections = await openConnections(target.port, manyConnections)
  const left = acknowledged.values()
  let found = 0
  const ask = async (connection: Connection) => {
    // One iterator for all: each takes what the others have not.
    for (const { id, body } of left) {
      const answer = await awaitResult(connection, target, id)
      if (answer.status === 200 && answer.body === body) found += 1
    }
  }
  await Promise.all(connections.map(ask))
  for (const connection of connections) connection.close()
  return { acknowledged: acknowledged.length, found }
}

export const prepareJobs: LoadOrders["prepare"] = async ({ target, count }) => {
  const connections = await openConnections(target.port, manyConnections)
  const ids: string[] = []
  let begun = 0
  const work = async (connection: Connection) => {
    while (begun < count) {
      begun += 1
      ids.push((await doJob(connection, target)).id)
    }
  }
  await Promise.all(connections.map(work))
  for (const connection of connections) connection.close()
  return { ids }
}

export const runPickups: LoadOrders["pickups"] = async ({ target, count }) => {
  const [connection] = await openConnections(target.port, 1)
  const figures: PickupFigures = { fromSubmit: [], fromAnswer: [] }
  for (let job = 0; job < count; job += 1) {
    const sentAt = process.hrtime.bigint()
    const id = await submit(connection!, target, nextBody())
    const answeredAt = process.hrtime.bigint()
    const { body } = await awaitResult(connection!, target, id)
    const startedAt = BigInt((JSON.parse(body) as { startedAt: string }).startedAt)
    figures.fromSubmit.push(Number(startedAt - sentAt) / 1e6)
    figures.fromAnswer.push(Number(startedAt - answeredAt) / 1e6)
  }
  connection?.close()
  return figures
}
