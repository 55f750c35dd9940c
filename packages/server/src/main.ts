import type { Server } from "node:http"
import type { WebhookKey } from "@tintype/protocol"
import type { BlobStore } from "./blob.ts"
import { dropStartupGarbage } from "@tintype/runner/supervision"
import { appModules, appVariables, readAppRows } from "./apps/served-apps.ts"
import { systemClock, systemNow } from "./clock.ts"
import type { Config } from "./config.ts"
import { asUnusable, openDataFolder, type DataFolder } from "./start/data-folder.ts"
import { openStorage } from "./start/storage.ts"
import { Dispatcher } from "./dispatcher/dispatcher.ts"
import { LinkServer } from "./dispatcher/link/link-server.ts"
import type { LocalRunner } from "./dispatcher/local-runner.ts"
import { Transfers } from "./dispatcher/link/transfers.ts"
import type { RequestRecord } from "./domain/request.ts"
import { createGateway } from "./gateway/gateway.ts"
import type { GatewayParts } from "./gateway/parts.ts"
import { type Hints, LocalHints } from "./hints.ts"
import { newLease, newRequestId } from "./start/ids.ts"
import { checkExposure, closeGateway, isLoopbackHost, listen } from "./start/listen.ts"
import { makeLocalRunner, startLocalRunner } from "./start/local-runner-setting.ts"
import { Pruner } from "./maintenance/pruner.ts"
import type { SpaceWatch } from "./maintenance/space-watch.ts"
import { Sweeper } from "./maintenance/sweeper.ts"
import { ServerLog, type LogStreams } from "./log/server-log.ts"
import { Deliverer, type DelivererParts } from "./webhooks/deliverer.ts"
import { openSigningKey, publicHalf } from "./webhooks/signing-key.ts"
import { TlsListener } from "./start/tls/tls-listener.ts"
import { SnapshotCache } from "./snapshot-cache.ts"
import { type AppRow, type Store, StoreError } from "./store.ts"

export interface TintypeServer {
  /** Base address, without a slash at the end. */
  url: string
  /** Where it ends TLS; null: nowhere. */
  tlsUrl: string | null
  /** No key is needed, as of its start. */
  open: boolean
  /** Drains, then ends; `now` skips the wait, also that of a stop under way. */
  stop(options?: { now?: boolean }): Promise<void>
  /** Folds the store's write-ahead log into its file; logged when it starts and ends. */
  checkpoint(): void
  /** Resolves to the exit code when everything has ended. */
  closed: Promise<number>
}

/**
 * Puts a whole server together and resolves when it listens. Rejects with a `StartError`, whose message is for a person,
 * when the port is taken, the data folder is in use or unusable, or a key is missing.
 */
export async function startServer(
  config: Config,
  streams: LogStreams = { out: process.stdout, err: process.stderr },
): Promise<TintypeServer> {
  const log = new ServerLog(config.log, streams)
  await using undo = new AsyncDisposableStack()
  const folder = await openDataFolder(config.data)
  undo.defer(() => folder.release())
  const server = await compose(config, folder, log, undo).catch((cause: unknown) => {
    throw isOfDisk(cause) ? asUnusable(folder.path, cause) : cause
  })
  dropStartupGarbage()
  // From here on it is `stop` that takes the parts down.
  const parts = undo.move()
  const checkpoint = () => void runCheckpoint(server.gatewayParts.store, log)
  const { url, open, tls } = server
  return {
    url,
    tlsUrl: tls?.url ?? null,
    open,
    checkpoint,
    ...stoppable(config, server, parts, log),
  }
}

interface Composition {
  url: string
  open: boolean
  gatewayParts: GatewayParts
  gateway: Server
  tls: TlsListener | null
  links: LinkServer
  dispatcher: Dispatcher
  runner: LocalRunner | null
}

async function compose(
  config: Config,
  folder: DataFolder,
  log: ServerLog,
  undo: AsyncDisposableStack,
): Promise<Composition> {
  const commits: ((changed: RequestRecord[]) => void)[] = []
  const reading = awaitedLater(readAppRows(appModules(config.apps), appVariables(config)))
  const openingTls = awaitedLater(openTls(config, folder, log))
  const hints = new LocalHints()
  const { store, blobs, space } = await openStorage(config, folder, log, { commits, hints, undo })
  const anyKey = await store.anyKey()
  checkExposure(config, anyKey)
  const { ended } = await store.recover()
  if (ended > 0) log.write({ event: "recovered", ended })
  const apps = await reading
  for (const app of apps) await store.putApp(app)

  const snapshots = new SnapshotCache(store, config.limits.snapshotBytesMax)
  const write = (entry: object) => log.write({ ...entry })
  const onRunner = (pid: number) => runner?.onHello(pid)
  const endRunner = (pid: number) => runner?.kill(pid)
  const dispatcher = new Dispatcher({
    store,
    blobs,
    hints,
    timing: config.timing,
    limits: config.limits,
    newLease,
    onRunner,
    endRunner,
    log: write,
  })
  commits.push((changed) => snapshots.commit(changed))
  commits.push((changed) => dispatcher.commit(changed))
  await dispatcher.start()
  undo.defer(() => dispatcher.close())

  startMaintenance(config, { store, blobs, dispatcher, commits, undo, log: write })

  const delivering = { config, folder, store, blobs, hints, commits, undo, log: write }
  const webhookKeys = await startDeliverer(delivering)
  const links = makeLinks(config, folder, { store, blobs, dispatcher, log: write })
  const gatewayParts: GatewayParts = {
    config,
    store,
    blobs,
    snapshots,
    events: dispatcher.events,
    relay: dispatcher.relay,
    hints,
    webhookKeys,
    localSecret: folder.secret,
    tokenSecret: folder.tokenSecret,
    runners: links,
    channels: dispatcher.channels,
    newId: newRequestId,
    now: systemNow,
    health: () => healthOf(dispatcher, apps, space),
    log: write,
  }
  const gateway = createGateway(gatewayParts)
  undo.defer(() => closeGateway(gateway))
  // Before the gateway, which waits for the last of its connections.
  undo.defer(() => links.close())
  const { tls, url } = await listenOnBoth(await openingTls, { gateway, gatewayParts, undo })
  const runner = config.runner.local
    ? await makeLocalRunner({ config, folder, dispatcher, url, log: write })
    : null

  // Last, as an orphan says hello at once and must find someone who can adopt it.
  await links.listen(folder.socketPath)
  if (runner !== null) startLocalRunner(runner, dispatcher, write)
  const open = config.key === null && !anyKey
  return { url, open, gatewayParts, gateway, tls, links, dispatcher, runner }
}

/** Should something else fail first, this failure is not the one to tell of. */
function awaitedLater<Value>(promise: Promise<Value>): Promise<Value> {
  promise.catch(() => {})
  return promise
}

function openTls(config: Config, folder: DataFolder, log: ServerLog): Promise<TlsListener | null> {
  const write = (entry: object) => log.write({ ...entry })
  return TlsListener.open({ config, folder, now: Date.now, log: write })
}

/** TLS first, so that whoever finds the gateway's own port can ask for the other. */
async function listenOnBoth(
  tls: TlsListener | null,
  {
    gateway,
    gatewayParts,
    undo,
  }: { gateway: Server; gatewayParts: GatewayParts; undo: AsyncDisposableStack },
): Promise<{ tls: TlsListener | null; url: string }> {
  const isServed = (await tls?.listen(gateway)) ?? false
  if (tls !== null && isServed) {
    gatewayParts.tls = tls
    undo.defer(() => {
      tls.closeAllConnections()
      return tls.close()
    })
  }
  return { tls: isServed ? tls : null, url: await listen(gateway, gatewayParts.config) }
}

/** Where runners come in; it does not listen yet. */
function makeLinks(
  { limits, retention }: Config,
  { secret }: DataFolder,
  parts: { store: Store; blobs: BlobStore; dispatcher: Dispatcher; log: (entry: object) => void },
): LinkServer {
  const files = { fileMs: retention.fileMs, now: systemNow }
  const transfers = new Transfers({ ...parts, ...files, limits })
  return new LinkServer({ ...parts, transfers, secret, limits })
}

const diskErrors = new Set(["EIO", "ENOSPC", "EDQUOT", "EROFS", "ERR_SQLITE_ERROR"])

/** What a start can be told by the disk, in a line; anything else is a bug and keeps its stack. */
function isOfDisk(error: unknown): boolean {
  if (error instanceof StoreError) return true
  return error instanceof Error && "code" in error && diskErrors.has(String(error.code))
}

/** Tries of webhooks under way at a stop may take so long; others are made again after the next start. */
const deliveryGraceMs = 2_000

/** Resolves to the keys that receivers verify by. */
async function startDeliverer({
  config: { webhooks: settings, allowPrivateTargets, host },
  folder,
  hints,
  commits,
  undo,
  ...parts
}: Pick<DelivererParts, "store" | "blobs" | "log"> & {
  config: Config
  folder: DataFolder
  hints: Hints
  commits: ((changed: RequestRecord[]) => void)[]
  undo: AsyncDisposableStack
}): Promise<WebhookKey[]> {
  const key = await openSigningKey(folder.path)
  const deliverer = new Deliverer({
    ...parts,
    key,
    settings,
    allowPrivate: allowPrivateTargets ?? isLoopbackHost(host),
    clock: systemClock,
    wall: Date.now,
    random: Math.random,
  })
  commits.push((changed) => deliverer.commit(changed))
  hints.onDelivery(() => deliverer.wake())
  deliverer.start()
  undo.defer(() => deliverer.close(deliveryGraceMs))
  return [publicHalf(key)]
}

/** What removes what is not needed any more: rows that are past their retention, blobs that no row names. */
function startMaintenance(
  { timing, retention }: Config,
  {
    dispatcher,
    commits,
    undo,
    ...parts
  }: {
    store: Store
    blobs: BlobStore
    dispatcher: Dispatcher
    commits: ((changed: RequestRecord[]) => void)[]
    undo: AsyncDisposableStack
    log: (entry: object) => void
  },
): void {
  const sweeper = new Sweeper({
    ...parts,
    held: () => dispatcher.heldBlobs(),
    everyMs: timing.sweepEveryMs,
    olderThanMs: timing.orphanBlobMs,
  })
  sweeper.start()
  undo.defer(() => sweeper.stop())
  const pruner = new Pruner({ ...parts, settings: retention, clock: systemClock })
  commits.push((changed) => pruner.commit(changed))
  pruner.start()
  undo.defer(() => pruner.stop())
}

async function runCheckpoint(store: Store, log: ServerLog): Promise<void> {
  log.write({ event: "checkpoint_started" })
  try {
    await store.checkpoint()
    log.write({ event: "checkpoint_ended" })
  } catch (error) {
    log.write({ event: "checkpoint_failed", error })
  }
}

function healthOf(
  dispatcher: Dispatcher,
  apps: AppRow[],
  space: SpaceWatch,
): { ready: boolean; detail: object } {
  const hosted = apps.map(({ id }) => [id, dispatcher.isHosted(id)] as const)
  return {
    ready: hosted.every(([, isHosted]) => isHosted),
    detail: { storage: space.isFull ? "full" : "ok", apps: Object.fromEntries(hosted) },
  }
}

/** After its `exit`, before it is killed. */
const runnerGraceMs = 2_000

/** How a stop goes: listener closed, attempts drained, runner ended, parts taken down in reverse order. */
function stoppable(
  config: Config,
  { gatewayParts, gateway, tls, links, dispatcher, runner }: Composition,
  parts: AsyncDisposableStack,
  log: ServerLog,
): Pick<TintypeServer, "stop" | "closed"> {
  const { promise: closed, resolve } = Promise.withResolvers<number>()
  const hurry = new AbortController()
  let stopping: Promise<void> | null = null
  const run = async () => {
    gatewayParts.draining = true
    log.write({ event: "stopping", attempts: dispatcher.attemptCount })
    const answered = Promise.all([closeGateway(gateway), tls?.close()])
    await dispatcher.drain(config.timing.drainMs, hurry.signal)
    links.dismiss()
    // Whoever still waits or streams has been told all there is; their connections would hold the close for ever.
    gateway.closeAllConnections()
    tls?.closeAllConnections()
    await answered
    await runner?.stop(runnerGraceMs)
    await parts.disposeAsync()
    resolve(0)
  }
  return {
    closed,
    stop: async ({ now = false } = {}) => {
      if (now) hurry.abort()
      await (stopping ??= run())
    },
  }
}
