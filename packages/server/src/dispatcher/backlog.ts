/**
 * How much there may be to claim, per app: raised by hints, corrected by every claim. An estimate that is too high
 * costs one empty claim; one that is too low is corrected by whoever looks into the store from time to time.
 */
export class Backlog {
  readonly #counts = new Map<string, number>()
  /** What was ever added, per app: tells what was hinted while a claim was under way. */
  readonly #hints = new Map<string, number>()
  readonly #underWay = new Set<{ apps: ReadonlySet<string>; asked: number }>()

  /** `count` requests were or are being queued. */
  add(app: string, count = 1): void {
    this.#set(app, this.estimate(app) + count)
    this.#hints.set(app, (this.#hints.get(app) ?? 0) + count)
  }

  estimate(app: string): number {
    return this.#counts.get(app) ?? 0
  }

  /** Apps with something to claim among those given, the one that waited longest for its turn first. */
  among(apps: ReadonlySet<string>): string[] {
    return [...this.#counts.keys()].filter((app) => apps.has(app))
  }

  /** How many are worth asking for: what claims under way may bring is not asked for twice. */
  sum(apps: string[]): number {
    let sum = 0
    for (const app of apps) sum += this.estimate(app)
    for (const claim of this.#underWay) {
      if (apps.some((app) => claim.apps.has(app))) sum -= claim.asked
    }
    return Math.max(0, sum)
  }

  /**
   * A claim of these apps starts; the returned function takes what it brought. `isAnswer`: the store looked into the
   * queues, so that fewer than were asked for means that there were no more.
   */
  claiming(apps: string[], asked: number): (claimed: string[], isAnswer: boolean) => void {
    const hintsBefore = new Map(apps.map((app) => [app, this.#hints.get(app) ?? 0]))
    const claim = { apps: new Set(apps), asked }
    this.#underWay.add(claim)
    // At once: another claim of this tick would begin with the same app.
    for (const app of apps.slice(0, asked)) this.#moveToEnd(app)
    return (claimed, isAnswer) => {
      this.#underWay.delete(claim)
      for (const app of claimed) this.#set(app, this.estimate(app) - 1)
      if (!isAnswer || claimed.length === asked) return
      for (const app of apps) {
        this.#set(app, (this.#hints.get(app) ?? 0) - (hintsBefore.get(app) ?? 0))
      }
    }
  }

  #moveToEnd(app: string): void {
    const count = this.#counts.get(app)
    if (count === undefined) return
    this.#counts.delete(app)
    this.#counts.set(app, count)
  }

  #set(app: string, count: number): void {
    if (count > 0) this.#counts.set(app, count)
    else this.#counts.delete(app)
  }
}
