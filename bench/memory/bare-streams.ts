import { once } from "node:events"
import { createServer } from "node:http"

/** What a status stream costs at least: a node:http server that sends one event on each and never another one. */
const server = createServer((_, response) => {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" })
  response.write('data: {"status":"IN_QUEUE","queue_position":0}\n\n')
}).listen(0, "127.0.0.1")
server.keepAliveTimeout = 72_000
await once(server, "listening")
const address = server.address()
console.log(`listening ${typeof address === "object" ? address?.port : address}`)
