import { once } from "node:events"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { afterEach, describe, expect, test } from "vitest"
import { Connection, parseResponse } from "./connection.ts"
import { findId, formatGet, formatPost } from "./target.ts"

describe("an answer", () => {
  const answer = "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\nx-a: b\r\n\r\nhello"

  test("is read in full", () => {
    const response = { status: 202, body: "hello" }
    expect(parseResponse(answer)).toEqual({ response, excess: 0 })
  })

  test("is none until its last byte is there", () => {
    for (let length = 0; length < answer.length; length += 1) {
      expect(parseResponse(answer.slice(0, length))).toBeNull()
    }
  })

  test("is told from what follows it", () => {
    expect(parseResponse(`${answer}HTTP`)?.excess).toBe(4)
  })

  test("without a length is an error", () => {
    expect(() => parseResponse("HTTP/1.1 200 OK\r\n\r\n")).toThrow("without a length")
  })
})

describe("a connection to a server of Node", () => {
  let server: Server

  afterEach(() => server.close())

  async function listen(): Promise<number> {
    server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on("data", (chunk: Buffer) => chunks.push(chunk))
      request.on("end", () => {
        const body = Buffer.concat(chunks).toString()
        response.end(
          `${request.method} ${request.url} ${String(request.headers["prefer"])} ${body}`,
        )
      })
    }).listen(0, "127.0.0.1")
    await once(server, "listening")
    return (server.address() as AddressInfo).port
  }

  test("is kept from one exchange to the next", async () => {
    const port = await listen()
    let connections = 0
    server.on("connection", () => (connections += 1))
    const connection = await Connection.open(port)
    const posted = await connection.exchange(formatPost(port, "/jobs", '{"a":1}'))
    expect(posted).toEqual({ status: 200, body: 'POST /jobs undefined {"a":1}' })
    const got = await connection.exchange(formatGet(port, "/jobs/1", "prefer: wait=60\r\n"))
    expect(got.body).toBe("GET /jobs/1 wait=60 ")
    expect(connections).toBe(1)
    connection.close()
  })

  test("that the server ends fails the exchange under way", async () => {
    const port = await listen()
    const connection = await Connection.open(port)
    server.removeAllListeners("request").on("request", (request) => request.socket.destroy())
    await expect(connection.exchange(formatGet(port, "/"))).rejects.toThrow("closed")
  })
})

test("the id is what stands between its key and the next quote", () => {
  const target = {
    port: 1,
    submit: "/",
    idAfter: '"id":"',
    result: { before: "", after: "" },
    resultHeaders: "",
  }
  expect(findId('{"id":"17","a":"b"}', target)).toBe("17")
  expect(() => findId('{"detail":"no"}', target)).toThrow("no id")
})
