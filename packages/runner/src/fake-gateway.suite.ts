import { mkdtemp, rm } from "node:fs/promises"
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  type AssignFrame,
  type AttemptEvent,
  type DoneFrame,
  type FailedFrame,
  type GatewayFrame,
  type HelloFrame,
  type RunnerFrame,
  createRunnerFrameReader,
  encodeFrames,
} from "@tintype/protocol"
import { type WebSocket, WebSocketServer } from "ws"

/** What the gateway of the tests knows of a lease; what is in `stored` and `settled` survives its crashes. */
export interface FakeLease {
  assign: AssignFrame
  stored: AttemptEvent[]
  received: AttemptEvent[]
  accepted: boolean
  outcome: DoneFrame | FailedFrame | null
  output: Buffer | null
  /** How often an outcome was taken as the first. */
  settledCount: number
  outcomesReceived: number
}

/**
 * The other end of the link for tests: a peer on a real Unix socket that does what docs/link.md says of the gateway,
 * and that can be cut, crashed and made slow.
 */
export class FakeGateway {
  readonly secret = "a secret"
  /** Opens it on a port, instead of the secret. */
  readonly key = "id:secret"
  /** Where it listens after `start("port")`. */
  url = ""
  /** What a dial is answered with instead of being taken. */
  dialFault: { status: number; body: string } | null = null
  /** A runner that wants to go hears `drain` at once; otherwise when the test says it. */
  autoDrain = true
  readonly leases = new Map<string, FakeLease>()
  readonly hellos: HelloFrame[] = []
  readonly frames: RunnerFrame[] = []
  readonly files = new Map<string, { bytes: Buffer; type: string | null }>()
  /** Requests of `/_/transfer`, `METHOD path → status`. */
  readonly transfers: string[] = []
  readonly closes: { code: number; reason: string }[] = []
  orphanMs = 600_000
  /** Leases that the next welcomes give up. */
  readonly abandoned = new Set<string>()
  /** Events are stored when they come; otherwise when `store` is called. */
  autoStore = true
  autoSettle = true
  /** Called with each frame; true cuts the link there, before it is applied. */
  cutBefore: (frame: RunnerFrame) => boolean = () => false
  cutAfter: (frame: RunnerFrame) => boolean = () => false
  /** A status that a transfer is answered with instead of being done. */
  transferFault: (path: string) => number | "reset" | null = () => null
  credits = 0
  /** How many apps the test sees running; with the credits it may never exceed the slots. */
  running: () => number = () => 0
  promisedMax = 0
  /** The types of the frames of each message. */
  readonly messages: RunnerFrame["type"][][] = []
  socketPath = ""
  #folder = ""
  #http: Server | null = null
  #sockets = new WebSocketServer({ noServer: true })
  #socket: WebSocket | null = null
  #greeted = false
  readonly #queue: AssignFrame[] = []
  #watchers: (() => void)[] = []

  async start(on: "socket" | "port" = "socket"): Promise<void> {
    this.#folder = await mkdtemp(join(tmpdir(), "tintype link "))
    if (on === "socket") this.socketPath = join(this.#folder, "link.sock")
    await this.listen()
  }

  async listen(): Promise<void> {
    if (this.socketPath !== "") await rm(this.socketPath, { force: true })
    const server = createServer((request, response) => {
      this.#transfer(request, response).catch(() => response.destroy())
    })
    server.on("upgrade", (request: IncomingMessage, socket, head) => {
      const fault = this.dialFault
      if (fault !== null) {
        const length = Buffer.byteLength(fault.body)
        const start = `HTTP/1.1 ${fault.status} No\r\ncontent-length: ${length}`
        socket.end(`${start}\r\n\r\n${fault.body}`)
        return
      }
      if (!this.#isKnown(request) || request.url !== "/_/link") {
        socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n")
        return
      }
      this.#sockets.handleUpgrade(request, socket, head, (webSocket) => this.#link(webSocket))
    })
    this.#http = server
    const where =
      this.socketPath === "" ? { port: 0, host: "127.0.0.1" } : { path: this.socketPath }
    await new Promise<void>((resolve) => server.listen(where, resolve))
    const address = server.address()
    if (typeof address === "object") this.url = `http://127.0.0.1:${address?.port}`
  }

  #isKnown({ headers }: IncomingMessage): boolean {
    const expected = this.socketPath === "" ? `Key ${this.key}` : `Bearer ${this.secret}`
    return headers.authorization === expected
  }

  /** Stops listening and cuts everything, as a crash does; what was not stored is forgotten. */
  async crash(): Promise<void> {
    const server = this.#http
    this.#http = null
    this.cut()
    this.forgetUnstored()
    server?.closeAllConnections()
    await new Promise<void>((resolve) =>
      server === null ? resolve() : server.close(() => resolve()),
    )
  }

  forgetUnstored(): void {
    for (const lease of this.leases.values()) {
      lease.received = [...lease.stored]
      lease.output = lease.settledCount > 0 ? lease.output : null
      lease.outcome = lease.settledCount > 0 ? lease.outcome : null
    }
  }

  async close(): Promise<void> {
    await this.crash()
    await rm(this.#folder, { recursive: true, force: true })
  }

  cut(): void {
    this.#socket?.terminate()
    this.#socket = null
    this.#greeted = false
    this.credits = 0
    this.#changed()
  }

  get linked(): boolean {
    return this.#greeted
  }

  closeLink(code: number, reason: string): void {
    this.#socket?.close(code, reason)
  }

  send(...frames: GatewayFrame[]): void {
    for (const message of encodeFrames(frames)) this.#socket?.send(message)
  }

  sendRaw(bytes: Uint8Array): void {
    this.#socket?.send(bytes)
  }

  /** Assigns as soon as there is a credit. */
  assign(lease: string, fields: Partial<AssignFrame> = {}): void {
    this.#queue.push(assignFrame(lease, fields))
    this.#spend()
  }

  store(lease: string): void {
    const known = this.leases.get(lease)!
    known.stored = [...known.received]
    this.send({ type: "stored", lease, seq: known.stored.at(-1)?.seq ?? 0 })
  }

  settle(lease: string): void {
    const known = this.leases.get(lease)!
    known.settledCount += 1
    known.stored = [...known.received]
    this.send({ type: "settled", lease, result: "settled" })
    this.#changed()
  }

  lease(lease: string): FakeLease {
    const known = this.leases.get(lease)
    if (known === undefined) throw new Error(`no lease ${lease}`)
    return known
  }

  logs(lease: string): string[] {
    const { received } = this.lease(lease)
    return received.flatMap((event) => (event.kind === "log" ? [event.message] : []))
  }

  /** Resolves when the condition holds; it is looked at after everything that happens. */
  async until(condition: () => boolean, what = condition.toString()): Promise<void> {
    if (condition()) return
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`never: ${what}`)), 10_000)
      this.#watchers.push(() => {
        if (!condition()) return
        clearTimeout(timer)
        resolve()
      })
    })
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher()
  }

  #spend(): void {
    while (this.#greeted && this.credits > 0 && this.#queue.length > 0) {
      const assign = this.#queue.shift()!
      this.credits -= 1
      this.leases.set(assign.lease, newLease(assign))
      this.send(assign)
    }
  }

  #link(socket: WebSocket): void {
    this.#socket?.close(1000, "replaced")
    this.#socket = socket
    this.#greeted = false
    this.credits = 0
    const readFrames = createRunnerFrameReader()
    socket.on("message", (data: Buffer) => {
      const frames = readFrames(data)
      this.messages.push(frames.map((frame) => frame.type))
      for (const frame of frames) {
        if (socket !== this.#socket) return
        if (this.cutBefore(frame)) return this.cut()
        this.frames.push(frame)
        this.#apply(frame)
        this.#changed()
        if (this.cutAfter(frame)) return this.cut()
      }
    })
    socket.on("close", (code, reason) => {
      this.closes.push({ code, reason: reason.toString() })
      if (socket === this.#socket) this.#greeted = false
      this.#changed()
    })
  }

  #apply(frame: RunnerFrame): void {
    switch (frame.type) {
      case "hello":
        return this.#welcome(frame)
      case "credit":
        this.credits += frame.count
        this.promisedMax = Math.max(this.promisedMax, this.credits + this.running())
        return this.#spend()
      case "accepted":
        this.lease(frame.lease).accepted = true
        return
      case "event": {
        const lease = this.lease(frame.lease)
        if (frame.event.seq <= (lease.received.at(-1)?.seq ?? 0)) return
        lease.received.push(frame.event)
        if (this.autoStore) this.store(frame.lease)
        return
      }
      case "done":
      case "failed": {
        const lease = this.lease(frame.lease)
        lease.outcomesReceived += 1
        if (lease.settledCount > 0) {
          return this.send({ type: "settled", lease: frame.lease, result: "repeated" })
        }
        lease.outcome = frame
        if (this.autoSettle) this.settle(frame.lease)
        return
      }
      case "retire":
        if (this.autoDrain) this.send({ type: "drain", deadlineMs: 30_000 })
        return
      case "pong":
    }
  }

  #welcome(hello: HelloFrame): void {
    this.hellos.push(hello)
    const seen = new Set([...hello.held.map(({ lease }) => lease), ...hello.unacked])
    const open = [...this.leases.values()].filter(({ settledCount }) => settledCount === 0)
    const keep = open.filter(({ assign }) => seen.has(assign.lease) && !this.#isGivenUp(assign))
    const kept = new Set(keep.map(({ assign }) => assign.lease))
    this.send({
      type: "welcome",
      keep: keep.map(({ assign, stored }) => ({
        lease: assign.lease,
        storedSeq: stored.at(-1)?.seq ?? 0,
      })),
      abandon: [...seen].filter((lease) => !kept.has(lease)),
      orphanMs: this.orphanMs,
    })
    this.#greeted = true
    // Assigned, and lost on the way: these go again, each for a credit.
    const lost = open.filter(({ assign }) => !seen.has(assign.lease) && !this.#isGivenUp(assign))
    for (const { assign } of lost) this.leases.delete(assign.lease)
    this.#queue.unshift(...lost.map(({ assign }) => assign))
  }

  #isGivenUp({ lease }: AssignFrame): boolean {
    return this.abandoned.has(lease)
  }

  async #transfer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "", "http://link")
    const [, , , lease = "", what = "", ...rest] = url.pathname.split("/")
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const fault = this.transferFault(url.pathname)
    const say = (status: number, body?: Uint8Array, type = "application/json") => {
      this.transfers.push(`${request.method} ${what} → ${status}`)
      response.writeHead(status, { "content-type": type }).end(body)
      this.#changed()
    }
    if (fault === "reset") {
      response.destroy()
      return
    }
    if (fault !== null) return say(fault)
    const known = this.leases.get(lease)
    if (!this.#isKnown(request) || known === undefined) return say(401)
    if (what === "input") return say(200, Buffer.alloc(known.assign.inputBytes, "i"))
    if (what === "output") {
      known.output = Buffer.concat(chunks)
      return say(204)
    }
    const name = rest.join("/")
    if (request.method === "PUT") {
      this.files.set(name, { bytes: Buffer.concat(chunks), type: url.searchParams.get("type") })
      return say(204)
    }
    const file = this.files.get(name)
    return file === undefined ? say(404) : say(200, file.bytes, file.type ?? "")
  }
}

export function assignFrame(lease: string, fields: Partial<AssignFrame> = {}): AssignFrame {
  return {
    type: "assign",
    lease,
    attempt: 1,
    requestId: `request-of-${lease}`,
    app: "local/test",
    endpoint: "local/test",
    path: "/",
    input: Buffer.from("{}"),
    inputBytes: 2,
    headers: {},
    fileBase: "http://127.0.0.1:3250/files",
    logBytesMax: 1024 * 1024,
    timeoutMs: 60_000,
    streams: false,
    ...fields,
  }
}

function newLease(assign: AssignFrame): FakeLease {
  return {
    assign,
    stored: [],
    received: [],
    accepted: false,
    outcome: null,
    output: null,
    settledCount: 0,
    outcomesReceived: 0,
  }
}
