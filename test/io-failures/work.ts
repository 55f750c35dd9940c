import { ask, type Ending, type Promises, shapeObjection, type Submitted } from "./promises.ts"

/** Larger than what lives in a row: a blob. */
const largeBytes = 60_000

export interface WorkDone {
  /** Sentences about answers that no failing disk excuses. */
  objections: string[]
  submitted: Submitted[]
  /** Calls that ended without the head of an answer: only a server that exits may do that. */
  unanswered: number
}

/**
 * One round of all that writes to the data folder: submits, small and as a blob, with a webhook; a direct run; an app that
 * makes a file; their results; the file.
 */
export async function work(
  url: string,
  round: number,
  promises: Promises,
  receiver: string,
): Promise<WorkDone> {
  const objections: string[] = []
  let unanswered = 0
  const judged = (what: string, ending: Ending) => {
    if (ending.kind === "no answer") unanswered += 1
    const objection = ending.kind === "reply" ? shapeObjection(ending.reply) : null
    if (objection !== null) objections.push(`${what}: ${objection}`)
    return ending.kind === "reply" ? ending.reply : null
  }
  const submitted: Submitted[] = []
  const submit = async (endpoint: string, input: string, webhook: boolean) => {
    const query = webhook ? `?fal_webhook=${encodeURIComponent(receiver)}` : ""
    const target = `${url}/queue/${endpoint}${query}`
    const reply = judged(`submit ${endpoint}`, await ask(target, post(input)))
    if (reply?.status !== 200) return
    const { request_id: id } = JSON.parse(reply.body.toString()) as { request_id: string }
    const one = { id, endpoint, input, webhook }
    submitted.push(one)
    promises.submitted.push(one)
  }
  await submit("tintype/echo", JSON.stringify({ round, size: "small" }), true)
  const padding = "x".repeat(largeBytes)
  await Promise.all([
    submit("tintype/echo", JSON.stringify({ round, padding }), false),
    submit("local/remote/sizes", JSON.stringify({ text: `file of round ${round}` }), false),
  ])
  const input = JSON.stringify({ round, padding, door: "run" })
  const ran = judged("run", await ask(`${url}/run/tintype/echo`, post(input)))
  if (ran?.status === 200 && ran.body.toString() !== input) objections.push("run: another output")
  for (const { id, endpoint, input: own } of submitted) {
    const app = endpoint.split("/").slice(0, 2).join("/")
    const target = `${url}/queue/${app}/requests/${id}`
    const reply = judged("result", await ask(target, { headers: { prefer: "wait=15" } }))
    if (reply === null || reply.status !== 200) continue
    const outcome = { status: 200, body: reply.body.toString() }
    promises.outcomes.set(id, outcome)
    promises.noteFile(outcome, own)
  }
  const last = [...promises.files.keys()].at(-1)
  if (last !== undefined) judged("file", await ask(new URL(last, url).href))
  return { objections, submitted, unanswered }
}

function post(body: string): RequestInit {
  return { method: "POST", headers: { "content-type": "application/json" }, body }
}
