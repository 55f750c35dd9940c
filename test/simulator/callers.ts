import { Violation } from "./violation.ts"

/**
 * What must be true of callers who send again what they got no answer to: each has several copies of one submit, and one
 * request. A copy has the id of the submit and a number.
 */
export class Callers {
  /** By caller: the request that was made for it. */
  readonly #requests = new Map<string, string>()
  /** Submits that were answered, with whatever. */
  readonly #answered = new Set<string>()

  /** A request was made. */
  made(id: string): void {
    const other = this.#requests.get(callerOf(id))
    if (other !== undefined) {
      throw new Violation("a lost answer does not double the work", `${other} and ${id}`)
    }
    this.#requests.set(callerOf(id), id)
  }

  /** A submit was answered: with a request, or it was refused. */
  answered(submit: string, request: string | null): void {
    this.#answered.add(submit)
    if (request !== null && callerOf(request) !== callerOf(submit)) {
      throw new Violation("a submit finds its own request", `${submit} got ${request}`)
    }
  }

  isAnswered(submit: string): boolean {
    return this.#answered.has(submit)
  }
}

export function copyOf(submit: string, number: number): string {
  return `${callerOf(submit)}+${number}`
}

function callerOf(submit: string): string {
  return submit.split("+", 1)[0]!
}
