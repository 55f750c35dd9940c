import type { CloseFrame, InputFrame, OpenFrame } from "@tintype/protocol"
import type { HostedApp } from "../attempt/app-host.ts"
import { Channel, type ChannelParts } from "./channel.ts"

export interface ChannelsParts extends Omit<ChannelParts, "app" | "onClosed" | "onStuck"> {
  apps: ReadonlyMap<string, HostedApp>
  onStuck(app: string): void
}

/** The channels of one link, which end with it. */
export class Channels {
  readonly #parts: ChannelsParts
  readonly #open = new Map<string, Channel>()

  constructor(parts: ChannelsParts) {
    this.#parts = parts
  }

  open(frame: OpenFrame): void {
    const { apps, ...parts } = this.#parts
    const channel: Channel = new Channel(frame, {
      ...parts,
      app: apps.get(frame.app),
      onClosed: () => this.#open.delete(frame.channel),
      onStuck: () => this.#parts.onStuck(frame.app),
    })
    this.#open.set(frame.channel, channel)
  }

  input(frame: InputFrame): void {
    const channel = this.#open.get(frame.channel)
    if (channel !== undefined) return channel.input(frame)
    // It has ended while this was on its way; the credit is given back.
    this.#parts.takeSlot()
    this.#parts.freeSlot()
  }

  close({ channel }: CloseFrame): void {
    this.#open.get(channel)?.close()
  }

  /** The link is gone, and every caller with it. */
  endAll(): void {
    for (const channel of this.#open.values()) channel.close()
    this.#open.clear()
  }
}
