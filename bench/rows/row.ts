import type { Contender } from "../contenders/contender.ts"
import type { Load } from "../load/load.ts"
import type { Processes } from "../processes.ts"
import type { Verdict } from "../targets.ts"

/** What a row is given to measure with. */
export interface Bench {
  settings: BenchSettings
  /** Those who can run here. */
  contenders: Contender[]
  processes: Processes
  load: Load
  /** A folder of its own on the disk that is measured; whoever asked for it removes it. */
  makeFolder(name: string): Promise<string>
  /** Progress, for the person who waits. */
  say(line: string): void
}

export interface BenchSettings {
  rounds: number
  /** Of each measurement. */
  seconds: number
  /** Of load before it, so that programs are compiled and caches are warm. */
  warmupSeconds: number
  /** Requests in a queue that counts as long, and deliveries that wait to be sent. */
  queuedMany: number
  deliveries: number
}

/** One kind of measurement: a section of the report. */
export interface Row {
  name: string
  title: string
  /** What is measured and how, for the report. */
  about: string
  measure(bench: Bench): Promise<RowReport>
}

export interface RowReport {
  tables: Table[]
  verdicts: Verdict[]
  /** What a reader must know to judge the numbers. */
  notes: string[]
}

export interface Table {
  caption: string
  header: string[]
  rows: string[][]
}
