import { randomBytes, randomUUID } from "node:crypto"
import { once } from "node:events"
import { openSync, writeSync } from "node:fs"
import type { BlobStore } from "../../packages/server/src/blob.ts"
import { defaultConfig } from "../../packages/server/src/config.ts"
import type { Body, NewRequest, RequestRecord } from "../../packages/server/src/domain/request.ts"
import { ChunkRelay } from "../../packages/server/src/dispatcher/relay/chunk-relay.ts"
import { createGateway } from "../../packages/server/src/gateway/gateway.ts"
import type { GatewayParts } from "../../packages/server/src/gateway/parts.ts"
import { LocalHints } from "../../packages/server/src/hints.ts"
import { ServerLog } from "../../packages/server/src/log/server-log.ts"
import type { AppRow, Store, StoredEvent } from "../../packages/server/src/store.ts"
import { logLineCount, logLineText } from "../load/log-line.ts"

/**
 * The product's gateway in front of a Map: a request has ended when it is submitted, with its input for an outcome and
 * some log lines. So an exchange crosses all of the HTTP side, and nothing else.
 */

const app: AppRow = {
  id: "tintype/echo",
  endpoints: ["tintype/echo"],
  openapi: {},
  metadata: {},
  revision: 1,
}
const outcome = {
  status: 200,
  headers: { "content-type": "application/json" },
  error: null,
  errorType: null,
  inferenceMs: 1,
}
const logLines = Array.from({ length: logLineCount }, (_, line): StoredEvent => ({
  attempt: 1,
  source: "app",
  event: { kind: "log", seq: line + 1, at: Date.now(), level: "INFO", message: logLineText(line) },
}))
const records = new Map<string, RequestRecord>()
const bodies = new Map<number, Body>()

function submit({ id, account, app: called, door, input }: NewRequest): Promise<RequestRecord> {
  const sequence = records.size + 1
  // What the gateway reads of a record whose request has succeeded.
  const record: Partial<RequestRecord> = {
    id,
    sequence,
    account,
    app: called,
    door,
    state: "succeeded",
    attempts: 1,
    outcome,
    version: 3,
  }
  records.set(id, record as RequestRecord)
  bodies.set(sequence, input)
  return Promise.resolve(record as RequestRecord)
}

function find(id: string): Promise<RequestRecord | null> {
  return Promise.resolve(records.get(id) ?? null)
}

type BareStore = Pick<
  Store,
  "app" | "apps" | "anyKey" | "submit" | "markNamed" | "markLost" | "body" | "positions"
>

const store: BareStore = {
  app: () => Promise.resolve(app),
  apps: () => Promise.resolve([app]),
  anyKey: () => Promise.resolve(false),
  submit,
  markNamed: () => Promise.resolve(),
  markLost: () => Promise.resolve([]),
  body: (sequence) => Promise.resolve(bodies.get(sequence) ?? null),
  positions: (ids) => Promise.resolve(ids.map(() => null)),
}

const [, , logPath = "/dev/null"] = process.argv
const logFile = openSync(logPath, "a")
const out = { write: (text: string) => writeSync(logFile, text) }
const log = new ServerLog("json", { out, err: process.stderr })
const parts: GatewayParts = {
  config: { ...defaultConfig, port: 0 },
  store: store as Store,
  // Only bodies of more than 32 KiB would be blobs.
  blobs: {} as BlobStore,
  snapshots: { get: find, watch: () => () => {}, untilTerminal: find },
  events: { read: () => Promise.resolve(logLines), watch: () => () => {}, progress: () => null },
  hints: new LocalHints(),
  relay: new ChunkRelay({ onTaken: () => {} }),
  webhookKeys: [],
  localSecret: randomBytes(16).toString("hex"),
  tokenSecret: randomBytes(16).toString("hex"),
  runners: null,
  channels: null,
  newId: randomUUID,
  now: Date.now,
  health: () => ({ ready: true, detail: {} }),
  log: (entry) => log.write({ ...entry }),
}

const gateway = createGateway(parts).listen(0, "127.0.0.1")
await once(gateway, "listening")
const address = gateway.address()
console.log(`listening ${typeof address === "object" ? address?.port : address}`)
