// Paints one picture with a built-in app, without a server, and writes it to a file.
//
//     node --conditions=tintype-source scripts/paint.mjs PATH APP_ID ENDPOINT_PATH 'JSON'
import { writeFileSync } from "node:fs"
import { respond } from "@tintype/app"
import { builtinApps } from "../src/index.ts"

const [target, id, path, json] = process.argv.slice(2)
const app = builtinApps.find((one) => one.id === id)
if (target === undefined || app === undefined || path === undefined || json === undefined) {
  throw new Error("usage: paint.mjs PATH APP_ID ENDPOINT_PATH JSON")
}
const context = {
  requestId: "local",
  endpoint: path === "/" ? app.id : app.id + path,
  attempt: 1,
  headers: {},
  signal: new AbortController().signal,
  log: (message) => console.log(message),
  progress: () => undefined,
  emit: () => undefined,
  file: async (bytes, contentType) => {
    writeFileSync(target, bytes)
    return { url: target, content_type: contentType, file_name: target, file_size: bytes.length }
  },
  billableUnits: () => undefined,
  header: () => undefined,
  fetchMedia: async (url) => ({
    bytes: new Uint8Array(await (await fetch(url)).arrayBuffer()),
    contentType: "",
  }),
}
const answer = await respond(app, { path, input: new TextEncoder().encode(json) }, context)
console.log(answer.status, new TextDecoder().decode(answer.body))
