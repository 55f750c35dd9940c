import {
  createRunnerFrameReader,
  encodeFrames,
  LinkProtocolError,
  linkVersion,
  type GatewayFrame,
  type RunnerFrame,
} from "@tintype/protocol"
import type { WebSocket } from "ws"
import { mayHost } from "../../domain/hosting.ts"
import type { Store } from "../../store.ts"
import type { Dispatcher } from "../dispatcher.ts"
import type { RunnerLink, RunnerSession } from "../runner-session.ts"

export interface LinkSocketParts {
  dispatcher: Dispatcher
  store: Pick<Store, "app">
  /** Frames that may wait for a commit. */
  pendingBytesMax: number
  log(entry: Record<string, unknown>): void
}

/** Who dials. */
export interface LinkHolder {
  /** Null: the local runner, which dials the data folder's socket. */
  key: string | null
  /** Ids of the apps that it may host, `owner/alias` or `owner/*`; null: all. */
  apps: readonly string[] | null
}

/** The runner only forgets something by them: no caller waits for that. */
const confirming: ReadonlySet<GatewayFrame["type"]> = new Set(["settled", "stored", "taken"])

/**
 * One socket from a runner, from its hello to its close.
 *
 *     greeting ──hello answered──▶ linked ──refused, closed──▶ over
 *         └──────────refused, expired, closed, silent──────────▲
 *
 * Frames are applied one after the other; those that arrive while the hello is being answered wait for it. Invariant:
 * nothing is applied once the socket is closing.
 */
export class LinkSocket implements RunnerLink {
  readonly #socket: WebSocket
  readonly #parts: LinkSocketParts
  readonly #holder: LinkHolder
  readonly #readFrames = createRunnerFrameReader()
  #session: RunnerSession | null = null
  #applied: Promise<void> = Promise.resolve()
  #outgoing: GatewayFrame[] = []
  #full: NodeJS.Timeout | null = null
  #cutOff: NodeJS.Timeout | null = null

  constructor(socket: WebSocket, holder: LinkHolder, parts: LinkSocketParts) {
    this.#socket = socket
    this.#holder = holder
    this.#parts = parts
    const silent = setTimeout(() => this.#refuse("no hello"), helloMs)
    silent.unref()
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      clearTimeout(silent)
      this.#receive(data, isBinary)
    })
    // The socket says why in its own close frame: 1009 for a message that is too large, 1002 for a broken one.
    socket.on("error", (error) => {
      this.#parts.log({ event: "link_protocol_error", reason: error.message })
      this.#cutOffLater(closeMs)
    })
    socket.on("close", () => {
      clearTimeout(silent)
      if (this.#full !== null) clearInterval(this.#full)
      if (this.#cutOff !== null) clearTimeout(this.#cutOff)
      this.#then(() => {
        if (this.#session !== null) parts.dispatcher.detach(this.#session, this)
      })
    })
  }

  /** Frames of one tick leave in one message; those that only confirm leave after the answers of this turn. */
  send(frame: GatewayFrame): void {
    const isFirst = this.#outgoing.push(frame) === 1
    if (!confirming.has(frame.type)) queueMicrotask(() => this.#flush())
    else if (isFirst) setImmediate(() => this.#flush())
  }

  close(code: number, reason: string): void {
    this.#flush()
    this.#socket.close(code, closeReason(reason))
    this.#cutOffLater(closeMs)
  }

  /**
   * The key that opened it is no more. Nothing of it is applied from here on, and its attempts are lost at once: none of
   * its outcomes could ever be taken, as no hello of that key is.
   */
  revoke(): void {
    this.#cutOffLater(revokedMs)
    this.close(1008, "key revoked")
    this.#then(async () => {
      if (this.#session === null) return
      await this.#parts.dispatcher.endSession(this.#session.id, "its key was revoked")
    })
  }

  /** A peer that does not answer the close is cut off: it dials again, and is the same session. */
  #cutOffLater(afterMs: number): void {
    if (this.#full !== null) this.#socket.resume()
    this.#cutOff ??= setTimeout(() => this.#socket.terminate(), afterMs)
    this.#cutOff.unref()
  }

  #isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN
  }

  #flush(): void {
    if (this.#outgoing.length === 0) return
    const frames = this.#outgoing
    this.#outgoing = []
    if (!this.#isOpen()) return
    try {
      for (const message of encodeFrames(frames)) this.#socket.send(message)
    } catch (error) {
      // A frame that fits no message; thrown from a microtask it would end the process.
      this.#parts.log({ event: "link_frame_failed", error: String(error) })
      this.close(1011, "a frame is too large")
    }
  }

  /** Whatever fails closes this link and no more: a rejection that nobody hears would end the process. */
  #then(step: () => Promise<void> | void): void {
    this.#applied = this.#applied.then(step).catch((error: unknown) => {
      this.#parts.log({ event: "link_failed", error: String(error) })
      this.close(1013, "try again")
    })
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (!this.#isOpen()) return
    let frames: RunnerFrame[]
    try {
      if (!isBinary) throw new LinkProtocolError("message: binary expected")
      frames = this.#readFrames(data)
    } catch (error) {
      if (!(error instanceof LinkProtocolError)) throw error
      this.#refuse(error.message)
      return
    }
    // Once the hello is answered nothing here waits, and frames are applied as they come.
    if (this.#session !== null) this.#apply(frames)
    else this.#then(() => this.#greet(frames))
  }

  async #greet(frames: RunnerFrame[]): Promise<void> {
    if (!this.#isOpen()) return
    if (this.#session === null) {
      // What a peer sends before it was answered waits in its own buffers.
      this.#socket.pause()
      try {
        await this.#hello(frames.shift())
      } finally {
        this.#socket.resume()
      }
    }
    this.#apply(frames)
  }

  async #hello(frame: RunnerFrame | undefined): Promise<void> {
    if (frame?.type !== "hello") return this.#refuse("the first frame is not a hello")
    if (frame.version !== linkVersion) return this.#refuse(`link version ${linkVersion} is spoken`)
    const objection = await this.#objectionTo(frame.apps)
    if (objection !== null) {
      this.#parts.log({ event: "link_refused", key: this.#holder.key, reason: objection })
      return this.close(1008, objection)
    }
    // It may have been closed meanwhile; its session would only wait to expire.
    if (!this.#isOpen()) return
    this.#session = await this.#parts.dispatcher.hello(frame, this, this.#holder.key)
  }

  /** Why these apps may not be hosted over this link; null when they may. Those of the local runner are the server's own. */
  async #objectionTo(apps: readonly string[]): Promise<string | null> {
    const { key, apps: allowed } = this.#holder
    if (key === null) return null
    const foreign = apps.find((app) => !mayHost(allowed, app))
    if (foreign !== undefined) {
      return `this key may not host ${shown(foreign)}: it is for ${allowed?.join(", ")}`
    }
    for (const app of apps) {
      if ((await this.#parts.store.app(app)) !== null) continue
      return `the server has no app ${shown(app)}: name its module in apps of its tintype.config.ts`
    }
    return null
  }

  #apply(frames: RunnerFrame[]): void {
    const session = this.#session
    if (session === null) return
    for (const frame of frames) {
      if (!this.#isOpen()) return
      const wrong =
        frame.type === "hello" ? "a second hello" : this.#parts.dispatcher.frame(session, frame)
      if (wrong !== null) return this.#refuse(wrong)
    }
    this.#pauseWhileFull(session)
  }

  #pauseWhileFull(session: RunnerSession): void {
    const { dispatcher, pendingBytesMax } = this.#parts
    if (this.#full !== null || dispatcher.events.pendingBytes <= pendingBytesMax) return
    this.#socket.pause()
    this.#full = setInterval(() => {
      dispatcher.heardFrom(session)
      if (dispatcher.events.pendingBytes > pendingBytesMax) return
      if (this.#full !== null) clearInterval(this.#full)
      this.#full = null
      this.#socket.resume()
    }, fullLookMs)
    this.#full.unref()
  }

  #refuse(reason: string): void {
    this.#parts.log({ event: "link_protocol_error", reason })
    this.close(1002, reason)
  }
}

/** A peer that connects and says nothing. */
const helloMs = 10_000
/** For the other end's half of a close. */
const closeMs = 1_000
/** The same of a link whose key was revoked. */
const revokedMs = 200
const fullLookMs = 20

function shown(app: string): string {
  return app.slice(0, 40)
}

/** A close frame has room for 123 bytes; a letter that is cut in two becomes a mark of three. */
function closeReason(text: string): string {
  return Buffer.from(text).subarray(0, 120).toString()
}
