import * as client from "@fal-ai/client"
import { trialsOf } from "./trials.mjs"

/** The client in Node, with no more configuration than COMPATIBILITY_PLACE says; runs the trials that the arguments name, else all. */

const place = JSON.parse(process.env.COMPATIBILITY_PLACE)
if (place.config !== undefined) client.fal.config(place.config)

async function tokenProvider(app) {
  const response = await fetch(`${place.restUrl}/tokens/realtime`, {
    method: "POST",
    headers: { authorization: `Key ${process.env.FAL_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ allowed_apps: [app], duration: 60 }),
  })
  return (await response.json()).token
}

const trials = trialsOf(client, { ...place, tokenProvider })
const names = process.argv.slice(2)
for (const trial of names.length > 0 ? names : Object.keys(trials)) {
  const said = await trials[trial]().then(
    (saw) => ({ saw }),
    (error) => ({ raised: String(error) }),
  )
  console.log(JSON.stringify({ trial, ...said }))
}
// The client keeps timers of its own for tokens that nobody needs any more.
process.exit(0)
