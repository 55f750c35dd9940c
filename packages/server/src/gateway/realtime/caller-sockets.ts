import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import { channelMessageBytesMax } from "@tintype/protocol"
import { type WebSocket, WebSocketServer } from "ws"
import type { Config } from "../../config.ts"
import { AccountPlaces, type Place } from "./account-places.ts"
import { CallerSocket, type CallerSocketParts } from "./caller-socket.ts"
import { SharedBytes } from "./shared-bytes.ts"

/** A connection that asks to become a WebSocket. */
export interface UpgradeCall {
  request: IncomingMessage
  socket: Duplex
  head: Buffer
}

/** The WebSockets of callers: upgrades them, and pings all of them by one clock. */
export class CallerSockets {
  readonly places: AccountPlaces
  readonly #server: WebSocketServer
  readonly #open = new Set<CallerSocket>()
  readonly #pingMs: number
  readonly #shared: SharedBytes
  #timer: NodeJS.Timeout | null = null
  #lastPing = 0

  constructor({ limits, timing }: Pick<Config, "limits" | "timing">) {
    this.#pingMs = timing.channelPingMs
    this.#shared = new SharedBytes(limits.channelBytesMax)
    this.places = new AccountPlaces({
      // Whoever may have few requests at a time has few channels.
      countMax: Math.min(limits.channelsPerAccountMax, limits.concurrencyMax || Infinity),
      bytesMax: limits.channelBytesPerAccountMax,
      shared: this.#shared,
    })
    this.#server = new WebSocketServer({
      noServer: true,
      // What no frame of a link could carry would end the link, and everybody's channels.
      maxPayload: Math.min(limits.channelMessageBytesMax, channelMessageBytesMax),
      // Each would take hundreds of kilobytes, and pictures do not shrink.
      perMessageDeflate: false,
      clientTracking: false,
    })
  }

  /** A text: what was asked for is no WebSocket, and that is why. Without a place it can only be told something. */
  upgrade(call: UpgradeCall, place: Place | null, parts: CallerSocketParts): CallerSocket | string {
    const bytes = place?.bytes ?? this.#shared
    let opened: CallerSocket | string = "The connection was closed"
    const refuse = ({ message }: Error) => (opened = message)
    this.#server.once("wsClientError", refuse)
    // Calls back before it returns, or never.
    this.#server.handleUpgrade(call.request, call.socket, call.head, (socket: WebSocket) => {
      const onClosed: CallerSocketParts["onClosed"] = (summary) => {
        this.#open.delete(caller)
        parts.onClosed(summary)
      }
      const caller = new CallerSocket(socket, { ...parts, onClosed }, bytes)
      opened = caller
      this.#open.add(caller)
      if (this.#timer === null) this.#start()
    })
    this.#server.off("wsClientError", refuse)
    return opened
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    for (const caller of this.#open) caller.close(1001, "The server stops: connect again")
  }

  #start(): void {
    this.#lastPing = performance.now()
    this.#timer = setInterval(() => {
      const now = performance.now()
      // This process was deaf for so long: nobody else is to blame.
      const isLate = now - this.#lastPing > 1.5 * this.#pingMs
      this.#lastPing = now
      // What lies unread in the sockets is read before anyone is judged.
      setImmediate(() => setImmediate(() => this.#ping(isLate)))
    }, this.#pingMs)
    this.#timer.unref()
  }

  #ping(isLate: boolean): void {
    for (const caller of this.#open) {
      caller.ping(isLate)
      // Others may have let go of what it waited for.
      caller.offer()
    }
  }
}
