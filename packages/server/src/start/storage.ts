import { join } from "node:path"
import type { BlobStore } from "../blob.ts"
import { openDiskBlobs } from "../blobs/disk/disk-blobs.ts"
import { systemNow } from "../clock.ts"
import type { Config } from "../config.ts"
import type { RequestRecord } from "../domain/request.ts"
import type { Hints } from "../hints.ts"
import type { ServerLog } from "../log/server-log.ts"
import { SpaceWatch } from "../maintenance/space-watch.ts"
import { StartError } from "../start-error.ts"
import type { Store } from "../store.ts"
import { openSqliteStore } from "../stores/sqlite/sqlite-store.ts"
import { asUnusable, type DataFolder } from "./data-folder.ts"

/** The exit code after a failed commit: start the process again, recovery decides what happened. */
export const exitRestart = 70

/** Rows and blobs, and what is known of the space that is left for them. */
export async function openStorage(
  config: Config,
  folder: DataFolder,
  log: ServerLog,
  {
    commits,
    hints,
    undo,
  }: {
    commits: ((changed: RequestRecord[]) => void)[]
    hints: Hints
    undo: AsyncDisposableStack
  },
): Promise<{ store: Store; blobs: BlobStore; space: SpaceWatch }> {
  const space = new SpaceWatch(performance.now.bind(performance), (entry) =>
    log.write({ ...entry }),
  )
  const store = await openStore(config, folder, log, { commits, hints, space })
  undo.defer(() => store.close())
  const onSpace = (isFull: boolean) => space.note("blobs", isFull)
  const blobs = await openDiskBlobs({ folder: join(folder.path, "blobs"), onSpace }).catch(
    (cause: unknown) => {
      throw asUnusable(folder.path, cause)
    },
  )
  undo.defer(() => blobs.close())
  return { store, blobs, space }
}

async function openStore(
  config: Config,
  folder: DataFolder,
  log: ServerLog,
  {
    commits,
    hints,
    space,
  }: { commits: ((changed: RequestRecord[]) => void)[]; hints: Hints; space: SpaceWatch },
): Promise<Store> {
  return await openSqliteStore({
    path: folder.database,
    clock: systemNow,
    limits: config.limits,
    retry: config.timing,
    idempotency: config.idempotency,
    onCommit: (changed) => {
      for (const commit of commits) commit(changed)
    },
    onFreed: (apps) => {
      for (const app of apps) hints.work(app)
    },
    onSpace: (isFull) => space.note("rows", isFull),
    onFatal: (error) => {
      // What the disk holds is unknown, so nothing more may be answered: recovery decides.
      log.write({ event: "commit_failed", error })
      process.exit(exitRestart)
    },
  }).catch((cause: unknown) => {
    // A file of another kind, of a newer build, or on a disk that fails: for a person to decide.
    throw new StartError("data_unusable", (cause as Error).message, { cause })
  })
}
