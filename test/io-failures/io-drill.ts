import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"
import { until } from "../crash/probe-calls.ts"
import { killProcessesOf } from "../crash/processes.ts"
import { compileShim } from "../durability/tools.ts"
import {
  type ServerProcess,
  spawnServerProcess,
  type SpawnedServer,
  untilReady,
} from "../server-process.ts"
import { type Fault, FaultControl } from "./fault.ts"
import { answerMsMax, Promises } from "./promises.ts"
import { work } from "./work.ts"

/**
 * When the fault comes:
 *
 * - `first start`: in a folder that is not there yet
 * - `start`: in a folder that a killed server has left, its log not folded in
 * - `work`: while a round of work is done
 * - `checkpoint`: while the log is folded into the database
 * - `stop`: after SIGTERM
 */
export const phases = ["first start", "start", "work", "checkpoint", "stop"] as const

export type Phase = (typeof phases)[number]

export interface Round {
  phase: Phase
  fault: Fault
  /** The path whose call failed; null: the phase passed untouched. */
  hit: string | null
  /** What became of the server: it went on, or the code that it exited with. */
  ended: "lived" | number | null
  breaches: string[]
}

const exitRestart = 70
const exitUsage = 2
const endingMsMax = 3_000
const settings = {
  timing: { resumeMs: 3_000, drainMs: 5_000 },
  webhooks: { retryBaseMs: 50, retryDelayMaxMs: 200, pollEveryMs: 100 },
}

/** One server after another on one data folder, each life with a disk that may fail once. */
export class IoDrill {
  readonly promises = new Promises()
  readonly #folder: string
  readonly #control: FaultControl
  readonly #receiver: Server
  #server: ServerProcess | null = null
  #rounds = 0
  /** Folders of first starts, numbered. */
  #others = 0

  private constructor(folder: string, control: FaultControl, receiver: Server) {
    this.#folder = folder
    this.#control = control
    this.#receiver = receiver
  }

  static async open(): Promise<IoDrill> {
    const folder = await mkdtemp(join(tmpdir(), "io-"))
    const shim = join(folder, "fail-nth.so")
    compileShim(join(import.meta.dirname, "fail-nth.c"), shim)
    const config = `export default ${JSON.stringify(settings)}\n`
    await writeFile(join(folder, "tintype.config.ts"), config)
    const receiver = createServer()
    const drill = new IoDrill(folder, new FaultControl(join(folder, "control"), shim), receiver)
    receiver.on("request", (call, answer) => {
      void text(call).then((body) => {
        const { request_id: id } = JSON.parse(body) as { request_id: string }
        drill.promises.told.set(id, body)
        answer.end("{}")
      })
    })
    await once(receiver.listen(0, "127.0.0.1"), "listening")
    return drill
  }

  async close(): Promise<void> {
    await killProcessesOf(this.#folder)
    this.#receiver.closeAllConnections()
    this.#receiver.close()
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }

  /** One fault in one phase; afterwards everything that was promised in the round is looked for, on a disk that is well. */
  async round(phase: Phase, fault: Fault): Promise<Round> {
    this.#rounds += 1
    const made =
      phase === "first start"
        ? await this.#firstStart(fault)
        : phase === "start"
          ? await this.#start(fault)
          : await this.#inLife(phase, fault)
    return { phase, fault, ...made }
  }

  /** All promises of all rounds, asked of a new life after a kill. */
  async audit(): Promise<string[]> {
    await this.#server?.kill("SIGKILL")
    this.#server = null
    return await this.promises.breaches((await this.#living()).url)
  }

  async #firstStart(fault: Fault) {
    this.#others += 1
    const data = join(this.#folder, `other-${this.#others}`)
    const started = await this.#startArmed(data, fault)
    started.server?.child.kill("SIGKILL")
    const again = await this.#spawn(data).listening
    const promises = new Promises()
    const { objections } = await work(again.url, this.#rounds, promises, this.#receiverUrl())
    const breaches = [...started.breaches, ...objections]
    // Without the webhooks, which come to the other book.
    const plain = promises.submitted.map((one) => ({ ...one, webhook: false }))
    breaches.push(...(await promises.breaches(again.url, plain)))
    await again.kill("SIGKILL")
    await killProcessesOf(data)
    await rm(data, { recursive: true, force: true, maxRetries: 5 })
    return { hit: started.hit, ended: started.ended, breaches }
  }

  async #start(fault: Fault) {
    const living = await this.#living()
    const before = await work(living.url, this.#rounds, this.promises, this.#receiverUrl())
    await living.kill("SIGKILL")
    this.#server = null
    const started = await this.#startArmed(this.#data(), fault)
    this.#server = started.server
    const { url } = await this.#living()
    const breaches = [...before.objections, ...started.breaches]
    breaches.push(...(await this.promises.breaches(url, before.submitted)))
    return { hit: started.hit, ended: started.ended, breaches }
  }

  async #startArmed(data: string, fault: Fault) {
    this.#control.arm(fault)
    const spawned = this.#spawn(data)
    const ended = await Promise.race([
      spawned.listening.then(
        () => "lived" as const,
        () => spawned.closed,
      ),
      sleep(answerMsMax, "hangs" as const, { ref: false }),
    ])
    if (ended === "lived") {
      const server = await spawned.listening
      const code = await Promise.race([untilReady(server.url).then(() => null), spawned.closed])
      const hit = this.#control.disarm()
      const breaches = code === null ? [] : this.#exitBreaches(spawned, code, [exitRestart])
      return { server: code === null ? server : null, hit, ended: code ?? ended, breaches }
    }
    const hit = this.#control.disarm()
    if (ended === "hangs") {
      spawned.child.kill("SIGKILL")
      return { server: null, hit, ended: null, breaches: ["it neither listens nor exits"] }
    }
    const breaches = this.#exitBreaches(spawned, ended, [exitUsage, exitRestart])
    return { server: null, hit, ended, breaches }
  }

  async #inLife(phase: "work" | "checkpoint" | "stop", fault: Fault) {
    const server = await this.#living()
    const url = this.#receiverUrl()
    const isWork = phase === "work"
    if (isWork) this.#control.arm(fault)
    const done = await work(server.url, this.#rounds, this.promises, url)
    const { objections, submitted } = done
    if (!isWork) this.#control.arm(fault)
    const breaches = [...objections]
    if (phase === "checkpoint") await this.#checkpoint(server)
    if (phase === "stop") breaches.push(...(await this.#stop(server)))
    const hit = this.#control.disarm()
    const ended = await endOf(server, done.unanswered > 0)
    if (ended === "lived" && done.unanswered > 0) breaches.push("a call got no answer")
    if (ended !== "lived") {
      this.#server = null
      if (phase !== "stop") breaches.push(...this.#exitBreaches(server, ended, [exitRestart]))
    }
    const next = await this.#living()
    breaches.push(...(await this.promises.breaches(next.url, submitted)))
    return { hit, ended, breaches }
  }

  /** Entries with an error go to stderr. */
  async #checkpoint({ child, log, stderr }: ServerProcess): Promise<void> {
    const asked = log.length
    child.kill("SIGUSR2")
    await until("the checkpoint is over", async () => {
      const ended = log.slice(asked).some((entry) => entry["event"] === "checkpoint_ended")
      const failed = stderr.some((line) => line.includes("checkpoint_failed"))
      return ended || failed || child.exitCode !== null
    })
  }

  /** A stop that cannot write its last may say so by its code, but it comes to an end. */
  async #stop(server: ServerProcess): Promise<string[]> {
    const code = await Promise.race([
      server.kill("SIGTERM"),
      sleep(answerMsMax, "hangs" as const, { ref: false }),
    ])
    if (code === "hangs") {
      await server.kill("SIGKILL")
      return ["it does not stop"]
    }
    return code === 0 ? [] : this.#exitBreaches(server, code, [exitRestart])
  }

  #exitBreaches(
    { stderr, log }: Pick<SpawnedServer, "stderr" | "log">,
    code: number | null,
    allowed: number[],
  ): string[] {
    const said = [...stderr, ...log.slice(-2).map((entry) => JSON.stringify(entry))].join(" | ")
    if (code === null || !allowed.includes(code)) return [`it exited with ${code}: ${said}`]
    return said === "" ? [`it exited with ${code} and did not say why`] : []
  }

  async #living(): Promise<ServerProcess> {
    if (this.#server === null) {
      this.#server = await this.#spawn(this.#data()).listening
      await untilReady(this.#server.url)
    }
    return this.#server
  }

  #spawn(data: string): SpawnedServer {
    const env = {
      ...this.#control.env(data),
      TINTYPE_APPS: join(import.meta.dirname, "../apps/remote.ts"),
    }
    const cwd = this.#folder
    return spawnServerProcess({ data, env, cwd })
  }

  #data(): string {
    return join(this.#folder, "data")
  }

  #receiverUrl(): string {
    return `http://127.0.0.1:${(this.#receiver.address() as AddressInfo).port}/`
  }
}

/** A fatal failure ends the process a moment after it ended its connections. */
async function endOf(
  { child, stderr }: ServerProcess,
  isExpected: boolean,
): Promise<"lived" | number | null> {
  const isOver = () => child.exitCode !== null || child.signalCode !== null
  if (!isOver()) {
    if (!isExpected && !stderr.some((line) => line.includes("commit_failed"))) return "lived"
    await Promise.race([once(child, "exit"), sleep(endingMsMax, undefined, { ref: false })])
  }
  return isOver() ? child.exitCode : "lived"
}
