import type { Model, ModelFacts, Text } from "../model.ts"
import type { Tensor } from "../tensor.ts"

/** Thrown in the thread where nobody wants the pictures any more. */
export class Stopped extends Error {}

/**
 * A model that stops where nobody wants its pictures: the flag is shared memory, as a message would be read only after the call
 * that it is to prevent.
 */
export class StoppableModel implements Model {
  readonly #model: Model
  readonly #stopped: Int32Array

  constructor(model: Model, stop: SharedArrayBuffer) {
    this.#model = model
    this.#stopped = new Int32Array(stop)
  }

  get facts(): ModelFacts {
    return this.#model.facts
  }

  /** Throws `Stopped` where it is. */
  check(): void {
    if (Atomics.load(this.#stopped, 0) !== 0) throw new Stopped("the pictures are not wanted")
  }

  async encodeText(prompts: readonly string[]): Promise<Text> {
    this.check()
    return await this.#model.encodeText(prompts)
  }

  async denoise(latents: Tensor, timestep: number, text: Text, guidance?: number): Promise<Tensor> {
    this.check()
    return await this.#model.denoise(latents, timestep, text, guidance)
  }

  async decode(latents: Tensor): Promise<Tensor> {
    this.check()
    return await this.#model.decode(latents)
  }

  async encode(pictures: Tensor): Promise<Tensor> {
    this.check()
    return await this.#model.encode(pictures)
  }
}
