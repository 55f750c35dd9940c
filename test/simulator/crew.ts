import { once } from "node:events"
import { Worker } from "node:worker_threads"

/** What the threads of a crew share: the next seed to run, then the one that each is at. */
export interface CrewTask {
  progress: Int32Array
  thread: number
  /** The first seed that is not run. */
  end: number
  plant: string | null
}

export interface Finding {
  seed: number
  message: string
}

export interface CrewReport {
  schedules: number
  /** Of simulated time, all schedules together. */
  simulatedMs: number
  findings: Finding[]
}

export interface CrewOptions {
  /** The first seed; the others follow it. */
  seed: number
  schedules: number
  threads: number
  /** A defect by its name in `plants`. */
  plant?: string
  /** Stops after so many findings. */
  findingsMax?: number
}

/** Runs a range of seeds in several threads. Each thread takes the next seed when it is done with one. */
export async function runSchedules(options: CrewOptions): Promise<CrewReport> {
  const { seed, schedules, threads, plant = null, findingsMax = 10 } = options
  const progress = new Int32Array(new SharedArrayBuffer(4 * (threads + 1)))
  progress[0] = seed
  const report: CrewReport = { schedules: 0, simulatedMs: 0, findings: [] }
  const run = async (thread: number) => {
    const task: CrewTask = { progress, thread, end: seed + schedules, plant }
    const worker = new Worker(new URL("./crew-thread.ts", import.meta.url), {
      workerData: task,
      execArgv: ["--conditions=tintype-source"],
    })
    worker.on("message", ({ elapsedMs, finding }: ThreadWord) => {
      report.schedules += 1
      report.simulatedMs += elapsedMs
      if (finding === null) return
      report.findings.push(finding)
      // The others find that nothing is left to run.
      if (report.findings.length >= findingsMax) Atomics.store(progress, 0, task.end)
    })
    worker.on("error", (error) => {
      const message = `The simulation broke: ${String(error)}`
      report.findings.push({ seed: progress[thread + 1] ?? 0, message })
    })
    await once(worker, "exit")
  }
  await Promise.all(Array.from({ length: threads }, (_, thread) => run(thread)))
  report.findings.sort((a, b) => a.seed - b.seed)
  return report
}

/** A schedule is over. */
export interface ThreadWord {
  elapsedMs: number
  finding: Finding | null
}
