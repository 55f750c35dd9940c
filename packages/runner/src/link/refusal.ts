import type { IncomingMessage } from "node:http"

/** What a server said instead of opening the link. */
export interface Refusal {
  /** For a person. */
  reason: string
  /** The same call would be refused again. */
  final: boolean
}

const bodyBytesMax = 4_096
const detailCharactersMax = 500

/** Reads why the link was not opened: `{"detail"}`, as the API says it, or else the status. */
export async function readRefusal(response: IncomingMessage): Promise<Refusal> {
  const { statusCode: status = 0, statusMessage = "" } = response
  const detail = detailOf(await readStart(response))
  // What 3xx, 4xx say holds for the next call as well; a server that is too busy or going down says something else.
  const final = status < 500 && status !== 408 && status !== 429
  const { location } = response.headers
  const said = detail ?? (location === undefined ? statusMessage : `it is at ${location}`)
  return { reason: `${status} ${said}`.trim(), final }
}

async function readStart(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > bodyBytesMax) break
    }
  } catch {
    // The status says enough.
  }
  return Buffer.concat(chunks).toString()
}

function detailOf(text: string): string | null {
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed !== "object" || parsed === null || !("detail" in parsed)) return null
    return String(parsed.detail).slice(0, detailCharactersMax)
  } catch {
    return null
  }
}
