import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import { Readable } from "node:stream"
import { buffer } from "node:stream/consumers"
import { packedClient } from "./packed-client.mjs"

/**
 * A web app that uses the official client in its page and keeps the key to itself: it forwards what the page posts to its proxy route
 * as the documentation of such a route says, and fetches tokens for the page. It knows fal's hosts alone.
 */

const page = `<!doctype html><title>Compatibility</title><script type="module">
import client from "/client.mjs"
import { trialsOf } from "/trials.mjs"
const tokenProvider = async (app) => await (await fetch("/token?app=" + app)).text()
window.runTrials = async (names, place) => {
  if (place.config) client.fal.config(place.config)
  const trials = trialsOf(client, { ...place, tokenProvider })
  const said = []
  for (const trial of names) {
    said.push(await trials[trial]().then((saw) => ({ trial, saw }), (error) => ({ trial, raised: String(error) })))
  }
  return JSON.stringify(said)
}
</script>`

const authorization = `Key ${process.env.FAL_KEY}`
const javascript = { "content-type": "text/javascript" }
const trials = readFileSync(new URL("../javascript/trials.mjs", import.meta.url))

const server = createServer((request, response) => {
  void answer(request).then(({ status = 200, headers = {}, body }) => {
    response.writeHead(status, headers)
    Readable.from(body).pipe(response)
  })
})
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`))

async function answer(request) {
  const { pathname, searchParams } = new URL(request.url, "http://app")
  if (pathname === "/") return { headers: { "content-type": "text/html" }, body: [page] }
  if (pathname === "/client.mjs") return { headers: javascript, body: [packedClient()] }
  if (pathname === "/trials.mjs") return { headers: javascript, body: [trials] }
  if (pathname === "/token") return { body: [await token(searchParams.get("app"))] }
  if (pathname === "/api/fal/proxy") return await forward(request)
  return { status: 404, body: [] }
}

async function token(app) {
  const response = await fetch("https://rest.fal.ai/tokens/realtime", {
    method: "POST",
    headers: { authorization, "content-type": "application/json" },
    body: JSON.stringify({ allowed_apps: [app], duration: 60 }),
  })
  return (await response.json()).token
}

async function forward(request) {
  const passed = Object.entries(request.headers).filter(([name]) => name.startsWith("x-fal-"))
  const accept = request.headers.accept ?? "application/json"
  const hasBody = !["GET", "HEAD"].includes(request.method)
  const response = await fetch(request.headers["x-fal-target-url"], {
    method: request.method,
    headers: {
      ...Object.fromEntries(passed),
      authorization,
      accept,
      "content-type": "application/json",
    },
    ...(hasBody ? { body: await buffer(request) } : {}),
  })
  const headers = Object.fromEntries(response.headers)
  for (const name of ["content-length", "content-encoding", "transfer-encoding"])
    delete headers[name]
  return { status: response.status, headers, body: response.body ?? [] }
}
