import { randomBytes, randomUUID } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { createConnection, createServer, type Server, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type App, defineApp, type RunContext } from "@tintype/app"
import {
  createGatewayFrameReader,
  encodeFrames,
  linkVersion,
  type GatewayFrame,
  type HelloFrame,
  type RunnerFrame,
} from "@tintype/protocol"
import { hostApp, Runner, type RunnerOptions } from "@tintype/runner"
import { WebSocket } from "ws"
import { openDiskBlobs } from "../blobs/disk/disk-blobs.ts"
import type { BlobStore } from "../blob.ts"
import { defaultConfig, type Limits, type Timing } from "../config.ts"
import type { NewRequest, RequestRecord } from "../domain/request.ts"
import { LocalHints } from "../hints.ts"
import { SnapshotCache } from "../snapshot-cache.ts"
import type { Store } from "../store.ts"
import { openSqliteStore, type SqliteStore } from "../stores/sqlite/sqlite-store.ts"
import { Dispatcher } from "./dispatcher.ts"
import { LinkServer } from "./link/link-server.ts"
import { Transfers } from "./link/transfers.ts"

/** A server without its gateway, on a real store, disk and socket; the tests call what the doors would call. */

export interface TestServerOptions {
  /** Of an earlier life of the server; null: a new one. */
  folder?: string
  inMemory?: boolean
  timing?: Partial<Timing>
  limits?: Partial<Limits>
  /** How long files are kept whose requests say nothing; 0: for ever. */
  fileMs?: number
  /** A disk that is full. */
  pagesMax?: number
  /** Stands before the store. */
  wrap?: (store: Store) => Store
}

export class TestServer {
  readonly folder: string
  readonly sqlite: SqliteStore
  readonly store: Store
  readonly blobs: BlobStore
  readonly hints = new LocalHints()
  readonly snapshots: SnapshotCache
  readonly dispatcher: Dispatcher
  readonly links: LinkServer
  readonly entries: Record<string, unknown>[] = []
  readonly pids: number[] = []
  readonly endedPids: number[] = []
  readonly #watchers = new Set<() => void>()
  #closed = false

  private constructor(
    folder: string,
    sqlite: SqliteStore,
    blobs: BlobStore,
    options: TestServerOptions,
  ) {
    this.folder = folder
    this.sqlite = sqlite
    this.blobs = blobs
    this.store = options.wrap?.(sqlite) ?? sqlite
    const limits = { ...defaultConfig.limits, ...options.limits }
    const timing = { ...defaultConfig.timing, ...options.timing }
    this.snapshots = new SnapshotCache(sqlite, limits.snapshotBytesMax)
    const log = (entry: Record<string, unknown>) => {
      this.entries.push(entry)
      for (const watcher of this.#watchers) watcher()
    }
    const { store, hints } = this
    this.dispatcher = new Dispatcher({
      store,
      blobs,
      hints,
      timing,
      limits,
      newLease,
      onRunner: (pid) => this.pids.push(pid),
      endRunner: (pid) => this.endedPids.push(pid),
      log,
    })
    const { dispatcher } = this
    const files = { fileMs: options.fileMs ?? 0, now: Date.now }
    const transfers = new Transfers({ store, blobs, dispatcher, limits, log, ...files })
    this.links = new LinkServer({ dispatcher, store, transfers, secret, limits, log })
  }

  static async open(options: TestServerOptions = {}): Promise<TestServer> {
    const folder = options.folder ?? (await mkdtemp(join(tmpdir(), "tintype-dispatch-")))
    let server: TestServer | null = null
    const sqlite = await openSqliteStore({
      path: options.inMemory === true ? ":memory:" : join(folder, "tintype.sqlite"),
      limits: { ...defaultConfig.limits, ...options.limits },
      retry: { ...defaultConfig.timing, ...options.timing },
      ...(options.pagesMax === undefined ? {} : { pagesMax: options.pagesMax }),
      onCommit: (changed) => server?.commit(changed),
      onFatal: (error) => {
        throw error
      },
    })
    const blobs = await openDiskBlobs({ folder: join(folder, "blobs") })
    server = new TestServer(folder, sqlite, blobs, options)
    await sqlite.recover()
    await server.dispatcher.start()
    await rm(server.socketPath, { force: true })
    await server.links.listen(server.socketPath)
    servers.add(server)
    return server
  }

  commit(changed: RequestRecord[]): void {
    this.snapshots.commit(changed)
    this.dispatcher.commit(changed)
  }

  get socketPath(): string {
    return join(this.folder, "link.sock")
  }

  /** What a door does: submit and hint in one tick. */
  async submit(fields: Partial<NewRequest> = {}): Promise<RequestRecord> {
    const app = fields.app ?? "acme/echo"
    const submitted = this.store.submit({
      id: randomUUID(),
      account: "local",
      door: "queue",
      app,
      endpoint: app,
      path: "/",
      priority: "normal",
      input: { inline: Buffer.from('{"text":"a"}') },
      headers: {},
      fileBase: "http://127.0.0.1:3250/files",
      ...fields,
    })
    this.hints.work(app)
    return await submitted
  }

  async cancel(id: string): Promise<string> {
    const { result } = await this.store.cancel({ id, cause: "client_cancelled" })
    if (result === "requested") this.hints.cancel(id, "client_cancelled")
    return result
  }

  async terminal(id: string): Promise<RequestRecord> {
    return (await this.snapshots.untilTerminal(id, { timeoutMs: 15_000 }))!
  }

  async until(id: string, fits: (record: RequestRecord) => boolean): Promise<RequestRecord> {
    const { promise, resolve } = Promise.withResolvers<RequestRecord>()
    const unwatch = this.snapshots.watch(id, (record) => {
      if (fits(record)) resolve(record)
    })
    const now = await this.snapshots.get(id)
    if (now !== null && fits(now)) resolve(now)
    const found = await promise
    unwatch()
    return found
  }

  /** Resolves to the first entry of the log with this name, past or to come. */
  async logged(event: string, count = 1): Promise<Record<string, unknown>> {
    const { promise, resolve } = Promise.withResolvers<Record<string, unknown>>()
    const look = () => {
      const found = this.entries.filter((entry) => entry["event"] === event)
      if (found.length >= count) resolve(found[count - 1]!)
    }
    this.#watchers.add(look)
    look()
    const entry = await promise
    this.#watchers.delete(look)
    return entry
  }

  async output(record: RequestRecord): Promise<Buffer> {
    const body = await this.store.body(record.sequence, "output")
    if (body === null) throw new Error("there is no output")
    if ("inline" in body) return Buffer.from(body.inline)
    const stream = await this.blobs.read(body.blob)
    return Buffer.concat(await stream!.toArray())
  }

  async messages(record: RequestRecord): Promise<string[]> {
    const lines = await this.dispatcher.events.read(record)
    return lines.flatMap(({ event }) => (event.kind === "log" ? [event.message] : []))
  }

  /** Ends without a goodbye, as far as the runner can tell; the folder stays. */
  async crash(): Promise<string> {
    if (!this.#closed) {
      this.#closed = true
      servers.delete(this)
      await this.links.close()
      this.dispatcher.close()
      await this.blobs.close()
      await this.sqlite.close()
    }
    return this.folder
  }

  async close(): Promise<void> {
    await this.crash()
    await rm(this.folder, { recursive: true, force: true })
  }
}

function newLease(): string {
  return randomBytes(16).toString("hex")
}

export const secret = "5ec2e7".repeat(8)

const servers = new Set<TestServer>()
const runners = new Set<Runner>()
const peers = new Set<RawPeer>()

/** Ends whatever a test left open. */
export async function closeAll(): Promise<void> {
  for (const peer of peers) peer.cut()
  peers.clear()
  for (const runner of runners) runner.drain()
  await Promise.all([...runners].map((runner) => runner.ended))
  runners.clear()
  // One that crashed left its folder to the next, which removes it.
  for (const server of servers) await server.close()
}

/** The runner itself, in this process. */
export function startRunner(
  server: TestServer,
  apps: App[],
  options: Partial<RunnerOptions> = {},
): Runner {
  const runner = new Runner({
    target: { socketPath: server.socketPath, secret },
    slots: 1,
    apps: apps.map(hostApp),
    identity: { pid: process.pid, startedAt: "now", build: "test" },
    allowPrivateTargets: false,
    ...options,
    timing: {
      redialMinMs: 5,
      redialMaxMs: 20,
      transferRetryMinMs: 5,
      transferRetryMaxMs: 20,
      drainMs: 100,
      graceMs: 1_000,
      ...options.timing,
    },
  })
  runners.add(runner)
  void runner.ended.then(() => runners.delete(runner))
  runner.start()
  return runner
}

/** A wire to a server's socket that can be cut at any byte. */
export class Wire {
  readonly socketPath: string
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor(server: TestServer) {
    this.socketPath = join(server.folder, "wire.sock")
    this.#server = createServer((near) => {
      const far = createConnection(server.socketPath)
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one)
        one.on("error", () => {})
        one.on("close", () => {
          this.#sockets.delete(one)
          other.destroy()
        })
        one.pipe(other)
      }
    })
    this.#server.listen(this.socketPath).unref()
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}

/** An app whose one endpoint does what the test wants, with bytes. */
export function rawApp(
  id: string,
  raw: (input: Uint8Array, context: RunContext) => Promise<Uint8Array> | Uint8Array,
): App {
  return defineApp({ id, endpoints: { "/": { raw } } })
}

/** A runner that says what the test wants it to say, and answers pings. */
export class RawPeer {
  readonly socket: WebSocket
  readonly frames: GatewayFrame[] = []
  readonly closed: Promise<{ code: number; reason: string }>
  readonly opened: Promise<void>
  /** Answers no ping any more. */
  mute = false
  #read = 0
  readonly #waiting = new Set<() => void>()

  /** `door`: dials a gateway's port instead of the server's socket. */
  constructor(
    server: Pick<TestServer, "socketPath">,
    options: { secret?: string; door?: { port: number; authorization: string } } = {},
  ) {
    const { socketPath } = server
    const { door } = options
    this.socket = new WebSocket("ws://localhost/_/link", {
      createConnection: () =>
        door === undefined ? createConnection(socketPath) : createConnection(door.port),
      headers: { authorization: door?.authorization ?? `Bearer ${options.secret ?? secret}` },
      perMessageDeflate: false,
    })
    peers.add(this)
    this.opened = new Promise((resolve, reject) => {
      this.socket.on("open", resolve)
      this.socket.on("error", reject)
    })
    this.opened.catch(() => {})
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }))
    })
    const readFrames = createGatewayFrameReader()
    this.socket.on("message", (data: Buffer) => {
      for (const frame of readFrames(data)) this.#take(frame)
    })
  }

  /** Dials and says hello; resolves when it is welcome. */
  static async link(server: TestServer, hello: Partial<HelloFrame> = {}): Promise<RawPeer> {
    const peer = new RawPeer(server)
    await peer.opened
    peer.hello(hello)
    await peer.next("welcome")
    return peer
  }

  hello(fields: Partial<HelloFrame> = {}): void {
    this.send({
      type: "hello",
      version: linkVersion,
      session: randomBytes(16).toString("hex"),
      runner: { pid: process.pid, startedAt: "now", build: "test" },
      slots: 1,
      apps: ["acme/echo"],
      held: [],
      unacked: [],
      ...fields,
    })
  }

  send(...frames: RunnerFrame[]): void {
    for (const message of encodeFrames(frames)) this.socket.send(message)
  }

  credit(count = 1): void {
    this.send({ type: "credit", count })
  }

  log(lease: string, ...seqs: number[]): void {
    this.send(
      ...seqs.map((seq) => {
        const event = { seq, at: 1, kind: "log", level: "INFO", message: `line ${seq}` } as const
        return { type: "event", lease, event } as const
      }),
    )
  }

  done(lease: string, fields: Partial<Extract<RunnerFrame, { type: "done" }>> = {}): void {
    const body = Buffer.from('{"ok":true}')
    const headers = { "content-type": "application/json" }
    this.send({ type: "done", lease, status: 200, headers, body, inferenceMs: 5, ...fields })
  }

  /** The next frame of this type that was not taken before; what comes between is skipped. */
  async next<Type extends GatewayFrame["type"]>(
    type: Type,
  ): Promise<Extract<GatewayFrame, { type: Type }>> {
    for (;;) {
      while (this.#read < this.frames.length) {
        const frame = this.frames[this.#read++]!
        if (frame.type === type) return frame as Extract<GatewayFrame, { type: Type }>
      }
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve)
      })
    }
  }

  count(type: GatewayFrame["type"]): number {
    return this.frames.filter((frame) => frame.type === type).length
  }

  /** Resolves when the gateway has applied all that was sent before: it answers the outcome of no attempt. */
  async applied(): Promise<void> {
    const lease = randomBytes(16).toString("hex")
    this.send({ type: "failed", lease, reason: "exception", detail: "", inferenceMs: 0 })
    const isAnswer = (frame: GatewayFrame) => frame.type === "settled" && frame.lease === lease
    for (;;) {
      const place = this.frames.findIndex(isAnswer)
      if (place !== -1) {
        this.frames.splice(place, 1)
        if (place < this.#read) this.#read -= 1
        return
      }
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve)
      })
    }
  }

  /** Cut at once, without a goodbye. */
  cut(): void {
    this.socket.terminate()
  }

  #take(frame: GatewayFrame): void {
    this.frames.push(frame)
    if (frame.type === "ping" && !this.mute) this.send({ type: "pong", at: frame.at })
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }
}

/** The real store, one call of which goes another way first. */
export function standIn<Name extends keyof Store>(
  store: Store,
  name: Name,
  call: Store[Name],
): Store {
  return new Proxy(store, {
    get: (target, key) => {
      if (key === name) return call
      const value: unknown = Reflect.get(target, key)
      return typeof value === "function" ? value.bind(target) : value
    },
  })
}
