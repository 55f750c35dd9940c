import { afterAll, beforeAll } from "vitest"
import {
  removeDataFolder,
  startServerProcess,
  untilReady,
  type ServerProcess,
} from "../server-process.ts"

/** So many requests run at a time; the trials that want to see one wait fill them up. */
export const slots = 4

/** A server of the built output for the suite that calls this, with the probe and the streams among its apps. */
export function useServer(): { readonly url: string } {
  let server: ServerProcess | undefined

  beforeAll(async () => {
    server = await startServerProcess({
      tls: true,
      args: ["--apps", "./test/apps/probe.ts,./test/apps/streams.ts"],
      env: { TINTYPE_RUNNER_SLOTS: String(slots) },
    })
    await untilReady(server.url)
  }, 30_000)

  afterAll(async () => {
    if (server === undefined) return
    await server.kill("SIGTERM")
    await removeDataFolder(server.data)
  }, 30_000)

  return {
    get url() {
      return server?.url ?? ""
    },
  }
}
