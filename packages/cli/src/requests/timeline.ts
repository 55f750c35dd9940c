import type { Attempt, RequestHistory, Webhook } from "./history.ts"
import { formatSpan } from "./span.ts"

/** A thing that happened; null: it is so now. */
interface Entry {
  at: number | null
  text: string
}

/**
 * A request's life for someone who has to find out what happened: one line a thing, in the order of time, each with the time
 * (UTC) and how long after the submit it was. What has not ended stands at the end, under `now`.
 */
export function formatTimeline(history: RequestHistory, now: number): string {
  const happened = [
    ...describeWay(history),
    ...describeEnd(history),
    ...(history.webhook === null ? [] : describeWebhook(history.webhook)),
  ]
  const inOrder = happened.toSorted((one, other) => (one.at ?? 0) - (other.at ?? 0))
  const entries = [...inOrder, ...describeNow(history, now)]
  const lines = entries.map(({ at, text }) => {
    const stamp = at === null ? "now" : new Date(at).toISOString().replace("T", " ").slice(0, -1)
    const after = `+${formatSpan((at ?? now) - history.submittedAt)}`
    return `${stamp.padEnd(23)}  ${after.padStart(12)}  ${text}`
  })
  return [...describeHead(history, now), "", ...lines, ""].join("\n")
}

function describeHead(history: RequestHistory, now: number): string[] {
  const { id, state, endpoint, door, priority, inputBytes, outputBytes, webhook } = history
  const span = formatSpan((history.finishedAt ?? now) - history.submittedAt)
  const isOpen = history.finishedAt === null
  const facts = [
    `${door} door`,
    `${priority} priority`,
    ...(inputBytes === null ? [] : [`input ${formatBytes(inputBytes)}`]),
    ...(outputBytes === null ? [] : [`output ${formatBytes(outputBytes)}`]),
  ]
  const unknown = history.attemptsMade - history.attempts.length
  return [
    `${id}  ${state} ${isOpen ? "for" : "after"} ${isOpen ? spanOfState(history, now) : span}`,
    `${endpoint}  ${facts.join(", ")}`,
    ...(webhook === null ? [] : [`webhook ${webhook.url}`]),
    ...(unknown > 0 ? [`${plural(unknown, "attempt")} of an older build left no record`] : []),
  ]
}

function spanOfState({ attempts, submittedAt }: RequestHistory, now: number): string {
  const last = attempts.at(-1)
  return formatSpan(now - (last?.endedAt ?? last?.startedAt ?? submittedAt))
}

function describeWay(history: RequestHistory): Entry[] {
  const entries: Entry[] = [{ at: history.submittedAt, text: "queued" }]
  let waitsSince = history.submittedAt
  for (const attempt of history.attempts) {
    const { number, startedAt, endedAt } = attempt
    const waited = formatSpan(startedAt - waitsSince)
    const why = number === 1 ? `after ${waited} in the queue` : `retried after ${waited}`
    entries.push({ at: startedAt, text: `attempt ${number} on ${nameRunner(attempt)}, ${why}` })
    if (endedAt === null) continue
    if (attempt.outcome === "requeued") {
      entries.push({ at: endedAt, text: describeRequeue(attempt, endedAt) })
    }
    waitsSince = endedAt
  }
  const { cancelRequest } = history
  if (cancelRequest !== null) {
    entries.push({
      at: cancelRequest.at,
      text: `cancel asked for ${causeOf(cancelRequest.cause)}`,
    })
  }
  return entries
}

function nameRunner({ runner, session, startedAt }: Attempt): string {
  if (runner === null) return `a runner no longer known (session ${session})`
  const { pid, build, startedAt: since } = runner
  const up = since === null ? "" : `up ${formatSpan(startedAt - since)}, `
  return `runner ${pid} (${up}build ${build.slice(0, 8)})`
}

function describeRequeue(attempt: Attempt, endedAt: number): string {
  const after = formatSpan(endedAt - attempt.startedAt)
  const what = `attempt ${attempt.number}`
  switch (attempt.reason) {
    case "lost":
      return `${what} lost after ${after}: its runner died or was cut off`
    case "stopped":
      return `${what} stopped after ${after}: its runner or the server shut down; it does not count`
    case "timed_out":
      return `${what} timed out after ${after}`
    case "unhosted":
      return `${what} given back after ${after}: its runner does not host the app`
    case "transient":
      return `${what} answered ${attempt.status} in ${after} (${attempt.errorType}): tried again`
    default:
      return `${what} ended after ${after}: ${attempt.reason}`
  }
}

/** How the request ended: by its last attempt, or before another one. */
function describeEnd({ attempts, state, outcome, finishedAt }: RequestHistory): Entry[] {
  if (finishedAt === null || outcome === null) return []
  const last = attempts.at(-1)
  const ended = last !== undefined && last.outcome !== "requeued" ? last : null
  const who = ended === null ? "" : `attempt ${ended.number} `
  const took = ended === null ? null : formatSpan(finishedAt - ended.startedAt)
  if (state === "succeeded") {
    const span = took === null ? "" : ` in ${took}`
    return [{ at: finishedAt, text: `${who}answered ${outcome.status}${span}` }]
  }
  const after = took === null ? " in the queue" : ` after ${took}`
  if (state === "cancelled") {
    return [{ at: finishedAt, text: `${who}cancelled${after} ${causeOf(outcome.errorType)}` }]
  }
  const error = outcome.error.replaceAll(/\s+/g, " ").slice(0, errorTextMax)
  const what = `failed with ${outcome.status ?? ""} ${outcome.errorType}${after}`
  return [{ at: finishedAt, text: `${who}${what}${error === "" ? "" : `: ${error}`}` }]
}

const errorTextMax = 300

function causeOf(type: string): string {
  if (type === "client_cancelled") return "by its caller"
  return type === "client_disconnected" ? "because its caller went away" : `(${type})`
}

function describeWebhook({ tries, state, finishedAt }: Webhook): Entry[] {
  const entries = tries.map(({ number, at, durationMs, status, error, detail }): Entry => {
    const took = formatSpan(durationMs)
    const result =
      error === "" ? `answered ${status} in ${took}` : `failed after ${took}: ${error}, ${detail}`
    return { at: at + durationMs, text: `webhook try ${number} ${result}` }
  })
  const end = webhookEnds[state]
  return end === undefined ? entries : [...entries, { at: finishedAt, text: `webhook ${end}` }]
}

const webhookEnds: Record<string, string> = {
  delivered: "delivered",
  failed: "refused for good: it is not tried again",
  exhausted: "given up: no retry is left",
}

function describeNow(history: RequestHistory, now: number): Entry[] {
  const { state, position, notBefore, startDeadline, webhook, attempts } = history
  const entries: string[] = []
  const last = attempts.at(-1)
  if (state === "running" && last !== undefined) {
    entries.push(`attempt ${last.number} runs, for ${formatSpan(now - last.startedAt)} by now`)
  }
  if (state === "queued") {
    if (notBefore !== null && notBefore > now) {
      entries.push(`waits ${formatSpan(notBefore - now)} before it is tried again`)
    }
    if (position !== null)
      entries.push(position === 0 ? "next in its queue" : `${position} before it`)
    if (startDeadline !== null) {
      entries.push(`fails unless it starts within ${formatSpan(startDeadline - now)}`)
    }
  }
  if (webhook?.state === "pending") {
    const wait = webhook.nextTryAt === null ? 0 : webhook.nextTryAt - now
    entries.push(
      wait > 0 ? `webhook tried again in ${formatSpan(wait)}` : "webhook about to be sent",
    )
  }
  return entries.map((text) => ({ at: null, text }))
}

function formatBytes(bytes: number): string {
  if (bytes < 1_024) return `${bytes} B`
  const [size, unit] = bytes < 1_048_576 ? [bytes / 1_024, "KiB"] : [bytes / 1_048_576, "MiB"]
  return `${size.toFixed(1)} ${unit}`
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`
}
