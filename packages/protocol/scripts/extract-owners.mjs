// Extracts facts from a dump of the hosted service's catalogue (one JSON object a line, gzipped) into fixtures:
// which endpoint ids exist and who owns them.
//
//     node packages/protocol/scripts/extract-owners.mjs path/to/fal-models.jsonl.gz
import { readFileSync, writeFileSync } from "node:fs"
import { gunzipSync } from "node:zlib"

const [source] = process.argv.slice(2)
if (source === undefined) {
  console.error("usage: extract-owners.mjs path/to/fal-models.jsonl.gz")
  process.exit(2)
}

const lines = gunzipSync(readFileSync(source)).toString("utf8").split("\n")
const ids = lines.filter((line) => line !== "").map((line) => JSON.parse(line).endpoint_id)
const endpointIds = sortUnique(ids)
// In `workflows/owner/name` and `comfy/owner/name` the owner is the second segment.
const owners = endpointIds.map((id) => /^(?:workflows\/|comfy\/)?([^/]+)/.exec(id)[1])

const folder = new URL("../fixtures/", import.meta.url)
const write = (name, value) => {
  writeFileSync(new URL(name, folder), `${JSON.stringify(value, null, 2)}\n`)
}
write("endpoint-ids.json", endpointIds)
write("owners.json", { idCount: endpointIds.length, owners: sortUnique(owners) })

/** By code unit, so that the order does not depend on the machine's language. */
function sortUnique(texts) {
  return [...new Set(texts)].toSorted((a, b) => (a < b ? -1 : 1))
}
