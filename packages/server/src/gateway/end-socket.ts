import { STATUS_CODES } from "node:http"
import type { Duplex } from "node:stream"
import type { Answer } from "./answer.ts"

/** An answer where Node has no response to write it to; the connection ends with it. */
export function endSocket(socket: Duplex, { status, headers, body }: Answer): void {
  const text = typeof body === "string" || body instanceof Uint8Array ? body : ""
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${Buffer.byteLength(text)}`,
    "connection: close",
  ]
  // Whoever is gone already is no error of ours.
  socket.on("error", () => socket.destroy())
  // One that does not end its half must not hold up ours.
  socket.once("finish", () => socket.destroy())
  socket.write(`${head.join("\r\n")}\r\n\r\n`)
  socket.end(text)
}
