import { Agent, request } from "node:http"

export interface Reply {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Buffer
}

/** Calls over a fixed number of kept connections; what exceeds them waits in line. */
export class Connections {
  readonly #agent: Agent

  constructor(count: number) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: count, maxTotalSockets: count })
  }

  /** Rejects when the connection breaks before the whole answer was read. */
  call(
    method: string,
    url: string,
    body?: Buffer,
    own: Record<string, string> = {},
  ): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const headers =
        body === undefined
          ? own
          : { ...own, "content-type": "application/json", "content-length": body.byteLength }
      const call = request(url, { method, agent: this.#agent, headers }, (response) => {
        const chunks: Buffer[] = []
        response.on("data", (chunk: Buffer) => chunks.push(chunk))
        response.once("error", reject)
        response.once("end", () => {
          if (!response.complete) return
          const { statusCode = 0, headers: answered } = response
          resolve({ status: statusCode, headers: answered, body: Buffer.concat(chunks) })
        })
        response.once("close", () => {
          if (!response.complete) reject(new Error("the answer was cut off"))
        })
      })
      call.once("error", reject)
      call.end(body)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}
