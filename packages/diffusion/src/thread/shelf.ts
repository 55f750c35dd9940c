import type { LoadedModel } from "./order.ts"

/** What the shelf holds: `OnnxModel`. */
export interface Shelved {
  readonly bytes: number
  close(): Promise<void>
}

interface Entry<Model> {
  /** As jobs name it. */
  model: string
  opened: Model
  timer: NodeJS.Timeout | undefined
}

export interface ShelfRules<Model> {
  open: (folder: string) => Promise<Model>
  modelsMax: number
  unloadAfterMs: number
  onChange: (models: LoadedModel[]) => void
}

/**
 * The models in memory, shared by the jobs of one thread, which come one after the other. A model is loaded by the first
 * job that names it, and goes when nobody has used it for `unloadAfterMs`, or when `modelsMax` others were used since. One that is
 * in use stays.
 */
export class ModelShelf<Model extends Shelved> {
  readonly #rules: ShelfRules<Model>
  /** By folder, the one that was used last at the end. */
  readonly #entries = new Map<string, Entry<Model>>()

  constructor(rules: ShelfRules<Model>) {
    this.#rules = rules
  }

  /** `onLoad` is told before a model is loaded. */
  async use<Result>(
    { folder, model, onLoad }: { folder: string; model: string; onLoad: () => void },
    work: (opened: Model) => Promise<Result>,
  ): Promise<Result> {
    const entry = await this.#take(folder, model, onLoad)
    const { bytes } = entry.opened
    try {
      return await work(entry.opened)
    } finally {
      entry.timer = setTimeout(() => void this.#unload(folder), this.#rules.unloadAfterMs)
      entry.timer.unref()
      if (entry.opened.bytes !== bytes) this.#tell()
    }
  }

  async #take(folder: string, model: string, onLoad: () => void): Promise<Entry<Model>> {
    const known = this.#entries.get(folder)
    if (known !== undefined) {
      clearTimeout(known.timer)
      this.#entries.delete(folder)
      this.#entries.set(folder, known)
      return known
    }
    onLoad()
    // Before the new one is loaded: both together may be more than there is memory for.
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size < this.#rules.modelsMax) break
      await this.#unload(oldest)
    }
    const opened = await this.#rules.open(folder)
    const entry: Entry<Model> = { model, opened, timer: undefined }
    this.#entries.set(folder, entry)
    this.#tell()
    return entry
  }

  async #unload(folder: string): Promise<void> {
    const entry = this.#entries.get(folder)
    if (entry === undefined) return
    clearTimeout(entry.timer)
    this.#entries.delete(folder)
    await entry.opened.close()
    this.#tell()
  }

  #tell(): void {
    const models = [...this.#entries.values()].map(({ model, opened }) => ({
      model,
      bytes: opened.bytes,
    }))
    this.#rules.onChange(models)
  }
}
