import { SharedBytes } from "./shared-bytes.ts"

export interface AccountPlacesLimits {
  /** Of one account. */
  countMax: number
  bytesMax: number
  /** What all accounts hold. */
  shared: SharedBytes
}

/** What one channel has of its account's share. */
export interface Place {
  bytes: SharedBytes
  /** To be called once. */
  leave(): void
}

interface Share {
  count: number
  bytes: SharedBytes
}

/** How many channels each account has, and what they hold: no account takes the places or the memory of all. */
export class AccountPlaces {
  readonly #limits: AccountPlacesLimits
  readonly #shares = new Map<string, Share>()

  constructor(limits: AccountPlacesLimits) {
    this.#limits = limits
  }

  /** Null when the account has as many channels as it may. */
  take(account: string): Place | null {
    const { countMax, bytesMax, shared } = this.#limits
    const share = this.#shares.get(account) ?? {
      count: 0,
      bytes: new SharedBytes(bytesMax, shared),
    }
    if (share.count >= countMax) return null
    share.count += 1
    this.#shares.set(account, share)
    const leave = () => {
      share.count -= 1
      if (share.count === 0) this.#shares.delete(account)
    }
    return { bytes: share.bytes, leave }
  }
}
