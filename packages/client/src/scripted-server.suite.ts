import { once } from "node:events"
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { text } from "node:stream/consumers"

/** A server that answers what a test says, call by call: for what a real one answers too rarely to wait for. */

export interface SeenCall {
  method: string
  path: string
  headers: IncomingHttpHeaders
  body: string
}

/** Writes the answer, or ends the connection without one. */
export type Step = (response: ServerResponse, call: SeenCall) => void

export function answer(status: number, body: unknown, headers: Record<string, string> = {}): Step {
  return (response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers })
    response.end(JSON.stringify(body))
  }
}

/** The call was read, and perhaps done; its answer is lost. */
export const lose: Step = (response) => response.destroy()

/** Nothing ever comes. */
export const hang: Step = () => {}

export class ScriptedServer {
  readonly url: string
  readonly calls: SeenCall[] = []
  readonly close: () => Promise<void>
  #steps: Step[] = []

  private constructor(url: string, close: () => Promise<void>) {
    this.url = url
    this.close = close
  }

  static async open(): Promise<ScriptedServer> {
    const server = createServer((request, response) => {
      const { method = "", url: path = "", headers } = request
      void text(request)
        .then((body) => opened.#take({ method, path, headers, body }, response))
        .catch(() => response.destroy())
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    const { port } = server.address() as AddressInfo
    const opened = new ScriptedServer(`http://127.0.0.1:${port}`, async () => {
      const closed = once(server, "close")
      server.close()
      server.closeAllConnections()
      await closed
    })
    return opened
  }

  /** In this order, from now on; a call beyond them is answered 500. */
  script(...steps: Step[]): void {
    this.calls.length = 0
    this.#steps = steps
  }

  #take(call: SeenCall, response: ServerResponse): void {
    this.calls.push(call)
    const step = this.#steps.shift() ?? answer(500, { detail: "the script is over" })
    step(response, call)
  }
}
