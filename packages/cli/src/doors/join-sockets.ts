import type { Duplex } from "node:stream"

/** What the one says the other hears, and neither outlives the other by more than what is still to be written. */
export function joinSockets(one: Duplex, other: Duplex): void {
  one.pipe(other)
  other.pipe(one)
  one.once("close", () => endSoon(other))
  other.once("close", () => endSoon(one))
}

function endSoon(socket: Duplex): void {
  if (socket.writableFinished) socket.destroy()
  else socket.end(() => socket.destroy())
}
