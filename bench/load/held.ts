import { connect, type Socket } from "node:net"
import type { LoadOrders } from "./orders.ts"
import { formatGet } from "./target.ts"

/** Connections that are opened and then left alone. */

/** A listener's backlog is short: so many dial at a time. */
const dialsMax = 200

let held: Socket[] = []

/** Resolves when each has had its first event; `open`: those that are open still. */
export const holdStreams: LoadOrders["hold"] = async ({ port, paths, count }) => {
  let next = 0
  const dial = async () => {
    while (next < count) {
      const path = paths[next % paths.length]!
      next += 1
      held.push(await openStream(port, path))
    }
  }
  await Promise.all(Array.from({ length: Math.min(dialsMax, count) }, dial))
  return {
    open: held.filter(({ destroyed, readableEnded }) => !destroyed && !readableEnded).length,
  }
}

export const releaseStreams: LoadOrders["release"] = async () => {
  for (const socket of held) socket.destroy()
  held = []
  return await Promise.resolve({})
}

async function openStream(port: number, path: string): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port })
  const first = Promise.withResolvers<void>()
  let text = ""
  socket.setEncoding("latin1")
  socket.on("data", (part: string) => {
    if (text.includes("\ndata: ")) return
    text += part
    if (text.includes("\ndata: ")) first.resolve()
    else if (!text.startsWith("HTTP/1.1 200".slice(0, text.length))) {
      first.reject(new Error(`a stream got ${text.slice(0, 300)}`))
    }
  })
  socket.on("error", first.reject)
  socket.on("close", () => first.reject(new Error("a stream was closed before its first event")))
  socket.write(formatGet(port, path))
  await first.promise
  return socket
}
