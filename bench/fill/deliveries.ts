import { parkedApp } from "./figures.ts"
import { newLease, newRequest, openFilled, session } from "./filled-store.ts"

/**
 * `deliveries.ts <database> <count> <url> …`: leaves so many requests that have succeeded and owe a webhook, to the URLs by
 * turns.
 */

const lot = 500

const [, , path = "", count = "", ...urls] = process.argv
const store = await openFilled(path)
const body = { inline: Buffer.from('{"images":[{"url":"http://127.0.0.1:3250/files/a.png"}]}') }
const result = {
  kind: "answered",
  status: 200,
  headers: { "content-type": "application/json" },
  body,
  inferenceMs: 1,
} as const
for (let made = 0; made < Number(count);) {
  const size = Math.min(lot, Number(count) - made)
  const requests = Array.from({ length: size }, (_, index) =>
    newRequest({ webhook: urls[(made + index) % urls.length]! }),
  )
  const leases = requests.map(newLease)
  await Promise.all(requests.map((request) => store.submit(request)))
  const claims = await store.claim({ session, apps: [parkedApp], leases })
  await Promise.all(
    claims.map(({ request }) =>
      store.settle({ lease: request.attempt?.lease ?? "", session, result }),
    ),
  )
  made += size
}
await store.close()
console.log("filled")
