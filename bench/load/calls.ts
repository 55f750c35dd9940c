import type { Connection } from "./connection.ts"
import { nextBody, submit } from "./jobs.ts"
import type { LoadOrders } from "./orders.ts"
import { keepPace, openConnections, repeat } from "./paced.ts"
import { formatGet, formatPost } from "./target.ts"

export const runCalls: LoadOrders["calls"] = async ({ port, path, concurrency, seconds }) => {
  const connections = await openConnections(port, concurrency)
  const figures = await repeat(connections, seconds, async (connection) => {
    const body = nextBody()
    const startedAt = performance.now()
    const answer = await connection.exchange(formatPost(port, path, body))
    const tookMs = performance.now() - startedAt
    if (answer.status !== 200 || answer.body !== body) {
      throw new Error(`a call got ${answer.status}: ${answer.body}, not ${body}`)
    }
    return tookMs
  })
  for (const connection of connections) connection.close()
  return figures
}

export const runSubmits: LoadOrders["submits"] = async ({ target, seconds }) => {
  const connections = await openConnections(target.port, 1)
  const figures = await repeat(connections, seconds, async (connection) => {
    const startedAt = performance.now()
    await submit(connection, target, nextBody())
    return performance.now() - startedAt
  })
  for (const connection of connections) connection.close()
  return figures
}

const submitConnections = 16

export const runPolls: LoadOrders["polls"] = async (order) => {
  const { port, paths, holds, concurrency, seconds, submits } = order
  const requests = paths.map((path) => ({ text: formatGet(port, path), answer: "" }))
  const connections = await openConnections(port, concurrency)
  const beside = submits === null ? null : await keepSubmitting(submits)
  let next = 0
  const figures = await repeat(connections, seconds, async (connection) => {
    const request = requests[(next = (next + 1) % requests.length)]!
    const startedAt = performance.now()
    const { status, body } = await connection.exchange(request.text)
    const tookMs = performance.now() - startedAt
    if (request.answer === "") {
      const times = body.split(holds.text).length - 1
      if (times !== holds.times) throw new Error(`${times} times "${holds.text}" in ${body}`)
      request.answer = body
    }
    if (body !== request.answer) throw new Error(`a poll got ${status}: ${body}`)
    return tookMs
  })
  for (const connection of connections) connection.close()
  return { ...figures, submitsPerSecond: (await beside?.()) ?? null }
}

/** Submits at a steady pace until the returned function is called, which tells what came of it. */
async function keepSubmitting({
  target,
  perSecond,
}: NonNullable<Parameters<LoadOrders["polls"]>[0]["submits"]>): Promise<() => Promise<number>> {
  const connections = await openConnections(target.port, submitConnections)
  // A submit waits for its connection's last one; where the server is too slow, the pace falls and is told.
  const lines = connections.map(() => Promise.resolve())
  let acknowledged = 0
  let sent = 0
  const send = () => {
    const line = (sent += 1) % connections.length
    const connection: Connection = connections[line]!
    lines[line] = lines[line]!.then(async () => {
      await submit(connection, target, nextBody())
      acknowledged += 1
    })
  }
  const startedAt = performance.now()
  const stop = keepPace(perSecond, send)
  return async () => {
    stop()
    const reached = acknowledged / ((performance.now() - startedAt) / 1_000)
    await Promise.all(lines)
    for (const connection of connections) connection.close()
    return reached
  }
}
