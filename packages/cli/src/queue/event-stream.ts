/** One event may hold a whole status with its logs; the server bounds those to 1 MiB. */
const eventCharactersMax = 8 * 1024 * 1024

/**
 * The data of each server-sent event; comments and other fields are skipped, an unfinished event at the end is dropped.
 *
 * ```ts
 * for await (const data of readEvents(response.body)) console.log(JSON.parse(data))
 * ```
 */
export async function* readEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  // A character may be split between two chunks: the decoder must stream.
  const decoder = new TextDecoder()
  let pending = ""
  let data: string[] = []
  for await (const chunk of body) {
    pending += decoder.decode(chunk, { stream: true })
    if (pending.length > eventCharactersMax) throw new Error("An event of the stream is too large")
    const lines = pending.split(/\r\n|\n|\r(?!$)/)
    pending = lines.pop()!
    for (const line of lines) {
      if (line === "" && data.length > 0) {
        yield data.join("\n")
        data = []
      }
      if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5))
    }
  }
}
