import type { Agent, IncomingMessage } from "node:http"
import { setTimeout as delay } from "node:timers/promises"
import type { RunnerTiming } from "../limits.ts"
import { Backoff } from "./backoff.ts"
import { type DialTarget, openCall } from "./dial.ts"

export type TransferErrorCode = "lease_lost" | "too_large" | "not_found" | "refused" | "unreachable"

/** A transfer that cannot succeed any more. */
export class TransferError extends Error {
  readonly code: TransferErrorCode

  constructor(code: TransferErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "TransferError"
    this.code = code
  }
}

export interface TransferOptions {
  target: DialTarget
  agent: Agent
  lease: string
  /** The attempt's: when it is aborted, transfers are. */
  signal: AbortSignal
  timing: Pick<RunnerTiming, "transferRetryMinMs" | "transferRetryMaxMs" | "transferIdleMs">
  /** A gateway that was not reached for so long is given up. */
  orphanMs(): number
  random: () => number
  /** The gateway does not know the lease. */
  onLeaseLost(): void
}

/** What the answer to a PUT may hold; nothing is made of it. */
const answerBytesMax = 64 * 1024

interface Call {
  method: "GET" | "PUT"
  path: string
  body?: Uint8Array
  contentType?: string
  /** Of the answer. */
  bytesMax: number
}

interface Answer {
  status: number
  contentType: string
  bytes: Buffer
}

/**
 * Bodies that do not fit on the link, by HTTP with the lease as the capability. Each call is repeated until it
 * succeeds, is refused, the attempt ends or the gateway is given up: it may just be restarting. A repeat is
 * harmless, as both sides name the same object.
 *
 * Errors of every call: `TransferError`, or the signal's reason once it is aborted.
 */
export class Transfer {
  readonly #options: TransferOptions

  constructor(options: TransferOptions) {
    this.#options = options
  }

  /** The request's input, which has `bytes` bytes. */
  async input(bytes: number): Promise<Uint8Array> {
    const answer = await this.#repeat({ method: "GET", path: "input", bytesMax: bytes }, bytes)
    return answer.bytes
  }

  async putOutput(body: Uint8Array): Promise<void> {
    await this.#repeat({ method: "PUT", path: "output", body, bytesMax: answerBytesMax })
  }

  /** Stores a file under a name that was never used. */
  async putFile(name: string, contentType: string, body: Uint8Array): Promise<void> {
    const path = `files/${encodeName(name)}?type=${encodeURIComponent(contentType)}`
    await this.#repeat({ method: "PUT", path, body, contentType, bytesMax: answerBytesMax })
  }

  /** One of the gateway's own files, read under the account of the request. */
  async readFile(
    name: string,
    bytesMax: number,
  ): Promise<{ bytes: Uint8Array; contentType: string }> {
    const path = `files/${encodeName(name)}`
    const { bytes, contentType } = await this.#repeat({ method: "GET", path, bytesMax })
    return { bytes, contentType }
  }

  async #repeat(call: Call, bytesExpected?: number): Promise<Answer> {
    const { signal, timing, random } = this.#options
    const backoff = new Backoff(timing.transferRetryMinMs, timing.transferRetryMaxMs, random)
    const startedAt = performance.now()
    for (;;) {
      signal.throwIfAborted()
      const problem = await this.#try(call, bytesExpected)
      if (!(problem instanceof Error)) return problem
      if (performance.now() - startedAt > this.#options.orphanMs()) {
        throw new TransferError("unreachable", `${call.path}: the gateway could not be reached`, {
          cause: problem,
        })
      }
      await delay(backoff.nextMs(), undefined, { signal }).catch(() => {})
    }
  }

  /** An error that is returned is worth another try; one that is thrown is not. */
  async #try(call: Call, bytesExpected?: number): Promise<Answer | Error> {
    let answer: Answer
    try {
      answer = await this.#call(call)
    } catch (error) {
      if (error instanceof TransferError || this.#options.signal.aborted) throw error
      return error instanceof Error ? error : new Error(String(error))
    }
    const { status, bytes } = answer
    if (status >= 500 || status === 429) return new Error(`status ${status}`)
    if (status === 401) {
      this.#options.onLeaseLost()
      throw new TransferError("lease_lost", `${call.path}: the lease is not held any more`)
    }
    if (status === 404) throw new TransferError("not_found", `${call.path}: there is no such file`)
    if (status === 413) throw new TransferError("too_large", `${call.path}: it is too large`)
    if (status >= 300) throw new TransferError("refused", `${call.path}: status ${status}`)
    if (bytesExpected !== undefined && bytes.length !== bytesExpected) {
      return new Error(`${bytes.length} of ${bytesExpected} bytes came`)
    }
    return answer
  }

  async #call({ method, path, body, contentType, bytesMax }: Call): Promise<Answer> {
    const { target, agent, lease, signal, timing } = this.#options
    const headers: Record<string, string | number> = {}
    if (body !== undefined) {
      headers["content-length"] = body.byteLength
      headers["content-type"] = contentType ?? "application/octet-stream"
    }
    const whole = `/_/transfer/${lease}/${path}`
    const request = openCall(target, whole, { agent, method, headers, signal })
    request.setTimeout(timing.transferIdleMs, () => request.destroy(new Error("idle")))
    // An answer may come before the body is out, a refusal for one; the write error behind it is then no news.
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      request.once("response", resolve)
      request.on("error", reject)
    })
    request.end(body)
    const response = await answered
    return {
      status: response.statusCode ?? 0,
      contentType: response.headers["content-type"] ?? "application/octet-stream",
      bytes: await readBody(response, bytesMax),
    }
  }
}

async function readBody(response: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    // What a refusal says is not for us.
    if ((response.statusCode ?? 0) >= 300) continue
    bytes += chunk.length
    if (bytes > bytesMax) {
      response.destroy()
      throw new TransferError("too_large", `the answer is larger than ${bytesMax} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes)
}

function encodeName(name: string): string {
  return name.split("/").map(encodeURIComponent).join("/")
}
