import { closeSync, fdatasyncSync, openSync } from "node:fs"
import { connect, type Socket } from "node:net"
import type { LoadOrders, TransferOrder } from "./orders.ts"

/** Large files, one after another, each on a connection of its own. */

const block = Buffer.alloc(256 * 1024, "tintype ")

export const runUploads: LoadOrders["uploads"] = async ({ flushes, ...order }) => {
  const perSecond: number[] = []
  let answer = ""
  for (let sent = 0; sent < order.count; sent += 1) {
    const startedAt = performance.now()
    answer = await upload(order)
    // Whoever acknowledges before its bytes are on the disk gets them there before the time is taken.
    if (flushes !== null) flush(flushes)
    perSecond.push(megabytesPerSecond(order, startedAt))
  }
  return { perSecond, answer }
}

export const runDownloads: LoadOrders["downloads"] = async (order) => {
  const perSecond: number[] = []
  for (let read = 0; read < order.count; read += 1) {
    const startedAt = performance.now()
    await download(order)
    perSecond.push(megabytesPerSecond(order, startedAt))
  }
  return { perSecond, answer: "" }
}

function megabytesPerSecond({ bytes }: TransferOrder, startedAt: number): number {
  return bytes / 1e6 / ((performance.now() - startedAt) / 1_000)
}

function flush(path: string): void {
  const file = openSync(path, "r+")
  fdatasyncSync(file)
  closeSync(file)
}

function headOf({ port, method, path }: TransferOrder, length: string): string {
  return `${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nconnection: close\r\n${length}\r\n`
}

/** Resolves to the body of the answer. */
async function upload(order: TransferOrder): Promise<string> {
  const { port, bytes } = order
  const socket = connect({ host: "127.0.0.1", port })
  const done = Promise.withResolvers<string>()
  let text = ""
  socket.setEncoding("latin1").on("data", (part: string) => (text += part))
  socket.on("error", done.reject)
  socket.on("close", () => {
    if (/^HTTP\/1\.1 20[014] /.test(text)) done.resolve(text.slice(text.indexOf("\r\n\r\n") + 4))
    else done.reject(new Error(`an upload got ${text.slice(0, 300)}`))
  })
  const type = "content-type: application/octet-stream\r\n"
  socket.write(headOf(order, `${type}content-length: ${bytes}\r\n`))
  for (let left = bytes; left > 0 && !socket.destroyed; left -= block.byteLength) {
    const more = socket.write(left < block.byteLength ? block.subarray(0, left) : block)
    if (!more) await drained(socket)
  }
  return await done.promise
}

/** Resolves when more may be written, or nothing more can be. */
async function drained(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  socket.once("drain", resolve).once("close", resolve)
  await promise
  socket.off("drain", resolve).off("close", resolve)
}

async function download(order: TransferOrder): Promise<void> {
  const socket = connect({ host: "127.0.0.1", port: order.port })
  const done = Promise.withResolvers<void>()
  let received = 0
  let head: string | null = null
  socket.on("data", (part: Buffer) => {
    if (head === null) {
      // The head comes whole in the first part: it is sent in one write.
      const end = part.indexOf("\r\n\r\n") + 4
      head = part.toString("latin1", 0, end)
      received -= end
    }
    received += part.byteLength
  })
  socket.on("error", done.reject)
  socket.on("close", () => {
    if (head?.startsWith("HTTP/1.1 200 ") === true && received === order.bytes) done.resolve()
    else done.reject(new Error(`a download got ${received} bytes: ${head?.slice(0, 300)}`))
  })
  socket.write(headOf(order, ""))
  await done.promise
}
