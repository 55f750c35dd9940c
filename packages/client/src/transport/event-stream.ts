/** An event of a client that nobody stops may be larger than this; a server's that is, is none of ours. */
const eventCharactersMax = 64 * 1024 * 1024

/**
 * The data of server-sent events, as JSON, one after the other. Reads on only when the next one is asked for, so that a slow
 * reader holds the server back. Comments are passed over.
 */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  const lines = new LineBuffer()
  let data: string[] = []
  try {
    for (;;) {
      const { done, value } = await reader.read()
      for (const line of lines.push(
        done ? decoder.decode() : decoder.decode(value, { stream: true }),
      )) {
        if (line === "") {
          if (data.length > 0) yield JSON.parse(data.join("\n"))
          data = []
        } else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""))
      }
      if (done) return
    }
  } finally {
    // Of a reader that stops half-way: the connection is not held for what nobody wants.
    await reader.cancel().catch(() => {})
  }
}

/** Cuts text into lines, at any of the three line ends; an unfinished line waits for its rest. */
class LineBuffer {
  #rest: string[] = []
  #characters = 0
  #endsInReturn = false

  push(text: string): string[] {
    // A carriage return at the end of a chunk may be half of a line end.
    const whole = this.#endsInReturn && text.startsWith("\n") ? text.slice(1) : text
    if (text !== "") this.#endsInReturn = text.endsWith("\r")
    const [first = "", ...others] = whole.split(/\r\n|\n|\r/)
    this.#rest.push(first)
    this.#characters += first.length
    if (this.#characters > eventCharactersMax) throw new Error("an event is too large")
    const last = others.pop()
    if (last === undefined) return []
    const lines = [this.#rest.join(""), ...others]
    this.#rest = [last]
    this.#characters = last.length
    return lines
  }
}
