import type { AddressInfo } from "node:net"
import { randomBytes, randomUUID } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setImmediate } from "node:timers/promises"
import { buffer } from "node:stream/consumers"
import type { FailureReason } from "@tintype/protocol"
import { openDiskBlobs } from "../blobs/disk/disk-blobs.ts"
import { type Config, defaultConfig } from "../config.ts"
import { EventBook } from "../dispatcher/event-book.ts"
import { ChunkRelay } from "../dispatcher/relay/chunk-relay.ts"
import type { Body, RequestRecord } from "../domain/request.ts"
import { LocalHints } from "../hints.ts"
import { SnapshotCache } from "../snapshot-cache.ts"
import type { AppRow, AttemptResult, Claim, Store } from "../store.ts"
import { openSqliteStore } from "../stores/sqlite/sqlite-store.ts"
import { createGateway } from "./gateway.ts"
import type { GatewayLogEntry, GatewayParts } from "./parts.ts"

/** A gateway on a real socket, store and disk; the tests play the runner by calling the store as one. */

export const fluxApp: AppRow = {
  id: "fal-ai/flux",
  endpoints: ["fal-ai/flux/dev", "fal-ai/flux/schnell"],
  streams: ["fal-ai/flux/dev"],
  openapi: {
    "fal-ai/flux/dev": { openapi: "3.0.4", info: { title: "Queue OpenAPI for fal-ai/flux/dev" } },
  },
  metadata: { "fal-ai/flux/dev": { display_name: "FLUX.1 [dev]", category: "text-to-image" } },
  auth: "shared",
  revision: 1,
}

export const echoApp: AppRow = {
  id: "tintype/echo",
  endpoints: ["tintype/echo"],
  openapi: {},
  metadata: {},
  auth: "shared",
  revision: 1,
}

export interface HttpAnswer {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  /** The body, read as JSON. */
  json: Record<string, unknown>
}

export interface HttpCall {
  headers?: Record<string, string | string[]>
  body?: string | Uint8Array
}

/** Of the data folder that the tests have none of. */
export const localSecret = "10ca1".repeat(12)

/** The runner that the tests play. */
export const session = "5e55105e55105e55105e55105e55105e"

export class TestGateway {
  readonly url: string
  readonly port: number
  readonly parts: GatewayParts
  readonly store: Store
  readonly events: EventBook
  readonly relay: ChunkRelay
  /** Seqs of the chunks that were taken, as the runner is told. */
  readonly taken: number[]
  readonly hints: LocalHints
  readonly entries: GatewayLogEntry[]
  /** Resolves to the next record that is committed and fits. */
  readonly committed: (fits: (record: RequestRecord) => boolean) => Promise<RequestRecord>
  /** Resolves to the next entry of the log. */
  readonly nextEntry: () => Promise<GatewayLogEntry>
  readonly close: () => Promise<void>
  readonly #open = new Map<string, Claim>()

  constructor(
    made: Omit<
      TestGateway,
      "call" | "clear" | "submit" | "claim" | "claimNext" | "settle" | "say" | "emit"
    >,
  ) {
    this.url = made.url
    this.port = made.port
    this.parts = made.parts
    this.store = made.store
    this.events = made.events
    this.relay = made.relay
    this.taken = made.taken
    this.hints = made.hints
    this.entries = made.entries
    this.committed = made.committed
    this.nextEntry = made.nextEntry
    this.close = made.close
  }

  async call(method: string, path: string, call: HttpCall = {}): Promise<HttpAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>()
    const outgoing = httpRequest(
      {
        host: "127.0.0.1",
        port: this.port,
        method,
        path,
        headers: call.headers ?? {},
        agent: false,
      },
      (incoming) => {
        readAnswer(incoming).then(resolve, reject)
      },
    )
    outgoing.on("error", reject)
    outgoing.end(call.body)
    return await promise
  }

  /** Submits to the queue and answers the request's id. */
  async submit(body: string = "{}", endpoint = "fal-ai/flux/dev"): Promise<string> {
    const answer = await this.call("POST", `/queue/${endpoint}`, {
      headers: { "content-type": "application/json" },
      body,
    })
    if (answer.status !== 200) throw new Error(`submit: ${answer.status} ${String(answer.body)}`)
    return String(answer.json["request_id"])
  }

  /** Starts an attempt on the head of the app's queue, as the dispatcher would. */
  async claim(app = "fal-ai/flux"): Promise<Claim> {
    const leases = [randomBytes(16).toString("hex")]
    const [claim] = await this.store.claim({ session, apps: [app], leases })
    if (claim === undefined) throw new Error("nothing to claim")
    const { id, attempt } = claim.request
    this.#open.set(attempt?.lease ?? "", claim)
    this.events.open(attempt?.lease ?? "", id, attempt?.number ?? 0, 0)
    this.relay.open(attempt?.lease ?? "", id)
    return claim
  }

  /** Claims in the tick in which the next request is submitted. */
  async claimNext(): Promise<Claim> {
    const { promise, resolve } = Promise.withResolvers<Claim>()
    let claimed = false
    this.hints.onWork((app) => {
      if (!claimed) resolve(this.claim(app))
      claimed = true
    })
    return await promise
  }

  async settle(
    { request }: Claim,
    result: Partial<Extract<AttemptResult, { kind: "answered" }>> | { failed: FailureReason } = {},
  ): Promise<void> {
    const lease = request.attempt?.lease ?? ""
    this.events.flush(lease)
    await this.store.settle({
      lease,
      session,
      result:
        "failed" in result
          ? { kind: "failed", reason: result.failed, detail: "boom", inferenceMs: 5 }
          : {
              kind: "answered",
              status: 200,
              headers: { "content-type": "application/json" },
              body: text('{"ok":true}'),
              inferenceMs: 1_250,
              ...result,
            },
    })
    this.events.close(lease)
    this.relay.close(lease)
    this.#open.delete(lease)
  }

  /** Ends everything that a test, perhaps a failed one, has left behind. */
  async clear(): Promise<void> {
    for (const claim of this.#open.values()) await this.settle(claim)
    for (const { id } of [fluxApp, echoApp]) {
      while ((await this.store.queueLength(id)) > 0) await this.settle(await this.claim(id))
    }
  }

  /** A chunk of a running attempt. */
  emit({ request }: Claim, seq: number, json: string): void {
    const lease = request.attempt?.lease ?? ""
    this.relay.add({ type: "chunk", lease, seq, data: Buffer.from(json) })
  }

  /** A log line of a running attempt. */
  say({ request }: Claim, seq: number, message: string): void {
    const lease = request.attempt?.lease ?? ""
    this.events.add(lease, {
      seq,
      at: 1_700_000_000_000 + seq,
      kind: "log",
      level: "INFO",
      message,
    })
  }
}

export function text(content: string): Body {
  return { inline: Buffer.from(content) }
}

async function readAnswer(incoming: IncomingMessage): Promise<HttpAnswer> {
  const body = await buffer(incoming)
  const { statusCode: status = 0, headers } = incoming
  return { status, headers, body, json: parse(body) }
}

function parse(body: Buffer): Record<string, unknown> {
  try {
    const parsed: unknown = JSON.parse(body.toString())
    return typeof parsed === "object" ? { ...parsed } : {}
  } catch {
    return {}
  }
}

/** The content as a stream of chunks, as a socket would bring it. */
export async function* chunked(
  content: Uint8Array,
  chunkBytes = 65_536,
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += chunkBytes) {
    yield content.subarray(at, at + chunkBytes)
    await setImmediate()
  }
}

export interface TestGatewayOptions {
  config?: Partial<Omit<Config, "timing" | "limits">>
  timing?: Partial<Config["timing"]>
  limits?: Partial<Config["limits"]>
  parts?: Partial<GatewayParts>
  store?: { pagesMax?: number }
  /** Epoch milliseconds, of the doors and of the store. */
  clock?: () => number
}

export async function openTestGateway(options: TestGatewayOptions = {}): Promise<TestGateway> {
  const folder = await mkdtemp(join(tmpdir(), "tintype-gateway-"))
  const config: Config = {
    ...defaultConfig,
    ...options.config,
    timing: { ...defaultConfig.timing, positionEveryMs: 5, ...options.timing },
    limits: { ...defaultConfig.limits, ...options.limits },
  }
  const listeners: ((changed: RequestRecord[]) => void)[] = []
  const store = await openSqliteStore({
    path: join(folder, "test.sqlite"),
    limits: config.limits,
    idempotency: config.idempotency,
    ...options.store,
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    onCommit: (changed) => {
      for (const listener of listeners) listener(changed)
    },
    onFatal: (error) => {
      throw error
    },
  })
  await store.recover()
  for (const app of [fluxApp, echoApp]) await store.putApp(app)
  const runner = { pid: process.pid, startedAt: "2026-01-01T00:00:00Z", build: "test" }
  const apps = [fluxApp.id, echoApp.id]
  await store.openSession({ session, runner, apps, held: [], unacked: [] })
  const blobs = await openDiskBlobs({ folder: join(folder, "blobs") })
  const snapshots = new SnapshotCache(store, config.limits.snapshotBytesMax)
  listeners.push((changed) => snapshots.commit(changed))
  const events = new EventBook({ store, flushEveryMs: 20, onStored: () => {} })
  const taken: number[] = []
  const relay = new ChunkRelay({ onTaken: (_, seq) => taken.push(seq) })
  const hints = new LocalHints()
  const entries: GatewayLogEntry[] = []
  let logged = Promise.withResolvers<GatewayLogEntry>()
  const parts: GatewayParts = {
    config,
    store,
    blobs,
    snapshots,
    events,
    relay,
    hints,
    webhookKeys: [],
    localSecret,
    tokenSecret: "70ce2".repeat(12),
    runners: null,
    channels: null,
    newId: randomUUID,
    now: options.clock ?? Date.now,
    health: () => ({ ready: true, detail: { apps: {} } }),
    log: (entry) => {
      entries.push(entry)
      logged.resolve(entry)
      logged = Promise.withResolvers()
    },
    ...options.parts,
  }
  const server = createGateway(parts)
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening))
  const { port } = server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  const close = async () => {
    server.closeAllConnections()
    await new Promise((closed) => server.close(closed))
    await blobs.close()
    await store.close()
    await rm(folder, { recursive: true })
  }
  return new TestGateway({
    url,
    port,
    parts,
    store,
    events,
    relay,
    taken,
    hints,
    entries,
    committed: async (fits) => {
      const { promise, resolve } = Promise.withResolvers<RequestRecord>()
      listeners.push((changed) => {
        const found = changed.find(fits)
        if (found !== undefined) resolve(found)
      })
      return await promise
    },
    nextEntry: () => logged.promise,
    close,
  })
}
