import type { ServerResponse } from "node:http"
import { Readable } from "node:stream"
import { type EndpointId, responseHeaders } from "@tintype/protocol"
import type { ChunkReader } from "../../snapshots.ts"
import { type Answer, answerError, overloaded } from "../answer.ts"
import { isJsonType, takeRequest, type TakenRequest } from "../intake.ts"
import type { Call, Gateway } from "../parts.ts"
import { Bell, eventStreamHeaders, eventText, ping, sseEvent, writeAll } from "./event-stream.ts"
import { callerGone } from "./outcome.ts"
import { answerTaken } from "./waiting.ts"

/**
 * `POST /run/{endpoint}/stream`: makes a request as a run does, and answers the chunks of its app as server-sent events, its result
 * as the last. The head waits until there is something to say, so that an error before it is answered as a run's would be.
 */
export async function answerStream(
  gateway: Gateway,
  call: Call,
  endpoint: EndpointId,
): Promise<Answer> {
  const leave = gateway.waiters.enter()
  if (leave === null) return overloaded("Too many calls wait; try again")
  using held = new DisposableStack()
  held.defer(leave)
  const gone = callerGone(call)
  const taken = await takeRequest(gateway, call, endpoint, "stream")
  const stream = new Stream(gateway, call, taken, gone)
  held.defer(() => stream.close())
  const plain = await stream.open()
  if (plain !== null) return plain
  const headers = eventStreamHeaders(taken.record.id)
  if (taken.resubmission) headers[responseHeaders.resubmission] = "1"
  const open = held.move()
  return {
    status: 200,
    headers,
    body: async (response) => {
      using _ = open
      await stream.write(response)
    },
  }
}

/**
 * One caller who reads along. It owns the reader of the request's chunks; the answer that a run would get ends it. A chunk counts as
 * taken when the connection has accepted it, which is what holds the app back.
 */
class Stream {
  readonly #bell = new Bell()
  readonly #reader: ChunkReader
  readonly #pingMs: number
  readonly #stallMs: number
  #saidAt = performance.now()
  /** Read and not written yet. */
  #chunk: Uint8Array | null = null
  /** What a run would be answered, once it is known. */
  #end: Answer | null = null
  #closed = false

  constructor(gateway: Gateway, call: Call, taken: TakenRequest, gone: AbortSignal) {
    const { relay, config } = gateway.parts
    this.#pingMs = config.timing.streamPingMs
    this.#stallMs = config.timing.streamStallMs
    // No chunk can have come before: its attempt was assigned in this very tick.
    this.#reader = relay.read(taken.record.id, () => this.#bell.ring())
    void answerTaken(gateway, call, taken, gone)
      .catch((error: unknown) => answerError(error, gateway.parts))
      .then((answer) => {
        this.#end = answer
        if (this.#closed) this.close()
        else this.#bell.ring()
      })
  }

  /** Waits for something to say. What is no stream, an error above all, is the whole answer; null: it is one. */
  async open(): Promise<Answer | null> {
    await this.#bell.wait(this.#pingMs)
    this.#chunk = this.#reader.next()
    const end = this.#end
    if (this.#chunk !== null || end === null || isResult(end)) return null
    this.#end = null
    return end
  }

  async write(response: ServerResponse): Promise<void> {
    const write = async (text: string) => {
      await writeAll(response, text, this.#stallMs)
      this.#saidAt = performance.now()
    }
    while (!response.destroyed) {
      // Looked at before the chunks: all of them came before it.
      const end = this.#end
      await this.#writeChunks(response, write)
      if (end !== null) {
        await writeEnd(end, write, response)
        break
      }
      if (this.#untilPingMs() <= 0) await write(ping)
      await this.#bell.wait(this.#untilPingMs())
    }
    response.end()
  }

  close(): void {
    this.#closed = true
    this.#reader.close()
    if (this.#end?.body instanceof Readable) this.#end.body.destroy()
  }

  #untilPingMs(): number {
    return this.#saidAt + this.#pingMs - performance.now()
  }

  async #writeChunks(response: ServerResponse, write: Write): Promise<void> {
    let chunk = this.#chunk ?? this.#reader.next()
    this.#chunk = null
    for (; chunk !== null; chunk = this.#reader.next()) {
      await write(sseEvent(decode(chunk)))
      if (response.destroyed) return
      this.#reader.taken()
    }
  }
}

type Write = (text: string) => Promise<void>

function isResult({ status, headers }: Answer): boolean {
  return status >= 200 && status < 300 && isJsonType(headers["content-type"])
}

/** The last event: the result, or what went wrong after the stream had begun. */
async function writeEnd(end: Answer, write: Write, response: ServerResponse): Promise<void> {
  const { status, headers, body } = end
  if (status >= 400) return await write(sseEvent(errorEvent(end)))
  if (body === null || typeof body === "function") return
  const isJson = isJsonType(headers["content-type"])
  const quoted = (text: string) => eventText(isJson ? text : JSON.stringify(text).slice(1, -1))
  const [before, after] = isJson ? ["data: ", "\n\n"] : [`data: "`, `"\n\n`]
  if (!(body instanceof Readable)) return await write(before + quoted(decode(body)) + after)
  const decoder = new TextDecoder()
  await write(before)
  for await (const piece of body as AsyncIterable<Uint8Array>) {
    // Leaving the loop closes the file.
    if (response.destroyed) return
    await write(quoted(decoder.decode(piece, { stream: true })))
  }
  await write(after)
}

/** `{"error": {"status", …}}`, with what the body of the answer would have said. */
function errorEvent({ status, headers, body }: Answer): string {
  if (body instanceof Readable || typeof body === "function") {
    return JSON.stringify({
      error: { status, detail: "The app's answer is too large for an event" },
    })
  }
  const text = decode(body ?? "").trim()
  if (!isJsonType(headers["content-type"]) || !text.startsWith("{")) {
    return JSON.stringify({ error: { status, detail: text } })
  }
  // Spliced, not parsed: numbers stay as they are.
  const fields = text.slice(1).trimStart()
  return `{"error":{"status":${status}${fields.startsWith("}") ? "" : ","}${fields}}`
}

function decode(body: Uint8Array | string): string {
  return typeof body === "string" ? body : new TextDecoder().decode(body)
}
