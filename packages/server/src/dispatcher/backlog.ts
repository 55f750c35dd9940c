/**
 * How much there may be to claim, per app: raised by hints, corrected by every claim. An estimate that is too high
 * costs one empty claim; it is never too low for long, as every requeue and every start-up raises it too.
 */
export class Backlog {
  readonly #counts = new Map<string, number>()
  readonly #hints = new Map<string, number>()

  /** `count` requests were or are being queued. */
  add(app: string, count = 1): void {
    this.#counts.set(app, (this.#counts.get(app) ?? 0) + count)
    this.#hints.set(app, (this.#hints.get(app) ?? 0) + 1)
  }

  /** Apps with something to claim among those given, the one that waited longest for its turn first. */
  among(apps: ReadonlySet<string>): string[] {
    return [...this.#counts.keys()].filter((app) => apps.has(app))
  }

  sum(apps: string[]): number {
    return apps.reduce((sum, app) => sum + (this.#counts.get(app) ?? 0), 0)
  }

  /** A claim of these apps starts; the returned function takes what it brought. */
  claiming(apps: string[], asked: number): (claimed: string[]) => void {
    const hintsBefore = new Map(apps.map((app) => [app, this.#hints.get(app) ?? 0]))
    return (claimed) => {
      for (const app of claimed) this.#subtract(app)
      for (const app of new Set(claimed)) this.#moveToEnd(app)
      if (claimed.length === asked) return
      // The store had fewer than were asked for: of these apps nothing is left but what was hinted since.
      for (const app of apps) {
        this.#set(app, (this.#hints.get(app) ?? 0) - (hintsBefore.get(app) ?? 0))
      }
    }
  }

  #subtract(app: string): void {
    this.#set(app, (this.#counts.get(app) ?? 0) - 1)
  }

  #moveToEnd(app: string): void {
    const count = this.#counts.get(app)
    if (count === undefined) return
    this.#counts.delete(app)
    this.#counts.set(app, count)
  }

  #set(app: string, count: number): void {
    if (count > 0) this.#counts.set(app, count)
    else {
      this.#counts.delete(app)
    }
  }
}
