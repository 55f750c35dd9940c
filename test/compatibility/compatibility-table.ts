import { readFileSync, writeFileSync } from "node:fs"
import { resolve } from "node:path"

/**
 * What one unmodified client could do, trial by trial and door by door: one section of docs/reference/compatibility.md. The suite of
 * each client owns its section, so that one that cannot run here (no Python, no browser) leaves what is committed as it is.
 */

const document = resolve(import.meta.dirname, "../../docs/reference/compatibility.md")

/** `untried`: the package can do something that no trial knows of. */
export type Outcome = "passed" | "failed" | "untried"

export class CompatibilityTable {
  readonly #section: string
  readonly #doors: string[]
  readonly #rows = new Map<string, Map<string, Outcome>>()
  #title = ""

  /** The doors are columns; the trials are rows, in the order in which they are first recorded. */
  constructor(section: string, doors: string[]) {
    this.#section = section
    this.#doors = doors
  }

  /** The client and its version, as installed. */
  set title(title: string) {
    this.#title = title
  }

  record(trial: string, door: string, outcome: Outcome): void {
    const row = this.#rows.get(trial) ?? new Map<string, Outcome>()
    this.#rows.set(trial, row.set(door, outcome))
  }

  /** Public names of the package that no trial has tried; each gets a row that says so. */
  recordUntried(names: string[]): string[] {
    const tried = new Set([...this.#rows.keys()].flatMap(methodsOf))
    const untried = names.filter((name) => !tried.has(name))
    for (const name of untried) for (const door of this.#doors) this.record(name, door, "untried")
    return untried
  }

  get markdown(): string {
    const rows = [...this.#rows].map(([trial, outcomes]) => {
      const [methods = "", scenario] = trial.split(": ")
      const names = methods
        .split(", ")
        .map((name) => `\`${name}\``)
        .join(", ")
      return [
        scenario === undefined ? names : `${names}: ${scenario}`,
        ...this.#doors.map((door) => outcomes.get(door) ?? "–"),
      ]
    })
    const table = [["", ...this.#doors], ["---", ...this.#doors.map(() => "---")], ...rows]
    const lines = table.map((cells) => `| ${cells.join(" | ")} |`)
    return `## ${this.#title}\n\n${lines.join("\n")}\n`
  }

  get committed(): string {
    return this.#split().inside
  }

  /** Puts the section into the document. */
  write(): void {
    const { before, after } = this.#split()
    writeFileSync(document, `${before}${this.markdown}${after}`)
  }

  #split(): { before: string; inside: string; after: string } {
    const text = readFileSync(document, "utf8")
    const begin = `<!-- begin: ${this.#section} -->\n`
    const start = text.indexOf(begin) + begin.length
    const end = text.indexOf(`<!-- end: ${this.#section} -->`)
    if (start < begin.length || end < 0) throw new Error(`${document} has no ${this.#section}`)
    return { before: text.slice(0, start), inside: text.slice(start, end), after: text.slice(end) }
  }
}

/** The methods that a trial tries: `run, submit: with a hint` tries two. */
function methodsOf(trial: string): string[] {
  return (trial.split(": ")[0] ?? "").split(", ")
}
