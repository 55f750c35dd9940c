import { nearest } from "@tintype/protocol"
import type { AppRow, StoreReads } from "../store.ts"
import { type Caller, mayCall } from "./access/caller.ts"

/** A list this old is read again; an app that was added meanwhile is found by its key. */
const listMaxAgeMs = 1_000

/**
 * The apps, as every submit asks for them: the store's list, at most a second old. An app that the list lacks is
 * asked for by its key, so a new app is served at once.
 */
export class AppDirectory {
  readonly #store: Pick<StoreReads, "app" | "apps">
  #apps = new Map<string, AppRow>()
  #listedAt = -Infinity
  #listing: Promise<void> | null = null

  constructor(store: Pick<StoreReads, "app" | "apps">) {
    this.#store = store
  }

  /** The app of this id, `owner/alias`. */
  async find(id: string): Promise<AppRow | null> {
    if (this.#isStale()) await this.#list()
    return this.#apps.get(id) ?? (await this.#store.app(id))
  }

  async all(): Promise<AppRow[]> {
    if (this.#isStale()) await this.#list()
    return [...this.#apps.values()]
  }

  /** Of those that the caller may call, the endpoint whose id is most like the one asked for; null when none is alike. */
  async nearest(endpoint: string, caller: Caller): Promise<string | null> {
    const known = (await this.all()).filter((app) => mayCall(caller, app))
    const served = known.flatMap((app) => app.endpoints)
    return nearest(endpoint.slice(0, 200), served)
  }

  #isStale(): boolean {
    return performance.now() - this.#listedAt > listMaxAgeMs
  }

  async #list(): Promise<void> {
    this.#listing ??= this.#read()
    try {
      await this.#listing
    } finally {
      this.#listing = null
    }
  }

  async #read(): Promise<void> {
    const apps = await this.#store.apps()
    this.#apps = new Map(apps.map((app) => [app.id, app]))
    this.#listedAt = performance.now()
  }
}
