import { readFile } from "node:fs/promises"
import { connect } from "node:net"
import { join } from "node:path"
import { WebSocket } from "ws"
import { killProcessesOf } from "../crash/processes.ts"
import {
  makeDataFolder,
  removeDataFolder,
  type ServerProcess,
  startServerProcess,
  untilReady,
} from "../server-process.ts"

/** Nothing that is sent may keep a connection that long without an answer. */
const quietMsMax = 10_000
/** A connection that says nothing for so long is left: what it was sent need not be whole. */
const lingerMs = 60
const residentBytesMax = 700 * 1024 * 1024

/** A real server, and what must be true of it whatever it was sent. */
export class FuzzTarget {
  readonly #server: ServerProcess
  readonly #secret: string
  #goodCalls = 0

  private constructor(server: ServerProcess, secret: string) {
    this.#server = server
    this.#secret = secret
  }

  static async open(): Promise<FuzzTarget> {
    const data = await makeDataFolder()
    const config = {
      limits: { bodyBytesMax: 1024 * 1024, fileBytesMax: 4 * 1024 * 1024 },
      timing: { waitMaxMs: 1_000, bodyGraceMs: 1_000, startupTimeoutMs: 2_000 },
    }
    const server = await startServerProcess({ data, config })
    await untilReady(server.url, 30_000)
    return new FuzzTarget(server, await readFile(join(data, "secret"), "utf8"))
  }

  get url(): string {
    return this.#server.url
  }

  async close(): Promise<void> {
    await this.#server.kill("SIGKILL")
    await killProcessesOf(this.#server.data)
    await removeDataFolder(this.#server.data)
  }

  /**
   * Sends bytes as they are and returns all that came back: until the connection ends, or unless `waits`, until it is quiet.
   * Who ends its half has gone away, for Node's server.
   */
  async send(bytes: Uint8Array, { ends = false, waits = false }): Promise<string> {
    const socket = connect({ port: Number(new URL(this.url).port), host: "127.0.0.1" })
    socket.on("error", () => {})
    const { promise, resolve } = Promise.withResolvers<void>()
    let answer = ""
    let timer = setTimeout(resolve, waits ? quietMsMax : lingerMs)
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString("latin1")
      clearTimeout(timer)
      timer = setTimeout(resolve, waits ? quietMsMax : lingerMs)
    })
    socket.once("close", () => resolve())
    if (ends) socket.end(bytes)
    else socket.write(bytes)
    await promise
    clearTimeout(timer)
    socket.destroy()
    return answer
  }

  /** One link of a runner who says these messages; resolves when all of them were taken or it was thrown out. */
  async link(messages: Uint8Array[], { asText }: { asText: boolean }): Promise<void> {
    const socket = new WebSocket(`ws+unix://${this.#server.data}/link.sock:/_/link`, {
      headers: { authorization: `Bearer ${this.#secret}` },
    })
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, quietMsMax)
    socket.on("error", () => resolve())
    socket.on("close", () => resolve())
    socket.on("open", () => {
      for (const message of messages) socket.send(message, { binary: !asText })
      // Answered after everything before it was read.
      socket.on("pong", () => resolve())
      socket.ping()
    })
    await promise
    clearTimeout(timer)
    socket.terminate()
  }

  /** Sentences about what is wrong with the server now. */
  async objections(): Promise<string[]> {
    const found: string[] = []
    const { child, stderr } = this.#server
    if (child.exitCode !== null || child.signalCode !== null) {
      return [`it ended with ${child.exitCode ?? child.signalCode}: ${stderr.join("\n")}`]
    }
    const errors = stderr.filter((line) => line.includes(`"event":"error"`))
    if (errors.length > 0) found.push(`it logged an error of its own: ${errors[0]}`)
    this.#goodCalls += 1
    const body = JSON.stringify({ good: this.#goodCalls })
    const init = { method: "POST", headers: { "content-type": "application/json" }, body }
    const signal = AbortSignal.timeout(quietMsMax)
    const reply = await fetch(`${this.url}/run/tintype/echo`, { ...init, signal }).catch(String)
    if (typeof reply === "string") found.push(`a good call failed: ${reply}`)
    else if ((await reply.text()) !== body) found.push(`a good call answered ${reply.status}`)
    const resident = await this.#residentBytes()
    if (resident > residentBytesMax) found.push(`it takes ${resident} bytes of memory`)
    return found
  }

  async #residentBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.#server.child.pid}/status`, "utf8").catch(() => "")
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1_024
  }
}

/** A 500 says that something was not thought of; the other 5xx are answers. */
export function brokenAnswer(answer: string): string | null {
  const found = /(?:^|\r\n)HTTP\/1\.1 500[^\r]*\r\n[\s\S]{0,600}/.exec(answer)
  return found === null ? null : found[0]
}
