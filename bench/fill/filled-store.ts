import { randomBytes, randomUUID } from "node:crypto"
import { defaultConfig } from "../../packages/server/src/config.ts"
import type { NewRequest } from "../../packages/server/src/domain/request.ts"
import type { Store } from "../../packages/server/src/store.ts"
import { parkedApp } from "./figures.ts"
import { openSqliteStore } from "../../packages/server/src/stores/sqlite/sqlite-store.ts"

/**
 * Fills the product's store by the product's own port to it, faster than HTTP could. Its programs run before the server
 * that is measured, on the data folder that it will open.
 */

export const session = "bench-session"

export async function openFilled(path: string): Promise<Store> {
  const store = await openSqliteStore({
    path,
    limits: defaultConfig.limits,
    onCommit: () => {},
    onFatal: (error) => {
      throw error
    },
  })
  await store.putApp({
    id: parkedApp,
    endpoints: [parkedApp],
    openapi: {},
    metadata: {},
    revision: 0,
  })
  await store.openSession({
    session,
    runner: { pid: process.pid, startedAt: "now", build: "bench" },
    apps: [parkedApp],
    held: [],
    unacked: [],
  })
  return store
}

export function newRequest(fields: Partial<NewRequest> = {}): NewRequest {
  return {
    id: randomUUID(),
    account: "local",
    door: "queue",
    app: parkedApp,
    endpoint: parkedApp,
    path: "/",
    priority: "normal",
    input: { inline: Buffer.from('{"prompt":"a lighthouse at dusk, oil on canvas"}') },
    headers: { "content-type": "application/json" },
    fileBase: "http://127.0.0.1:3250/files",
    ...fields,
  }
}

export function newLease(): string {
  return randomBytes(16).toString("hex")
}
