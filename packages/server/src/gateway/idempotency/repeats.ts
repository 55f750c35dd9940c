import type { GatewayParts } from "../parts.ts"
import { AnswerWatch } from "./answer-watch.ts"
import { KeyedRuns } from "./keyed-runs.ts"
import { NamedRequests } from "./named-requests.ts"

/** What the doors know of calls that come again, beside what the store keeps. */
export interface Repeats {
  named: NamedRequests
  answers: AnswerWatch
  keyedRuns: KeyedRuns
  close(): void
}

export function watchRepeats(parts: GatewayParts): Repeats {
  const { config, store } = parts
  const { idempotency: settings, limits } = config
  const now = () => parts.now()
  const onError = (error: unknown) => {
    parts.log({ event: "error", requestId: parts.newId(), error })
  }
  const { resendWindowMs, nameEveryMs, namedMax, absenceMs } = settings
  const times = { resendWindowMs, nameEveryMs, namedMax }
  const named = new NamedRequests({ store, now, onError, ...times })
  const keyedRuns = new KeyedRuns(absenceMs, limits.waitersMax)
  const answers = new AnswerWatch({
    store,
    settings,
    now,
    isStopping: () => parts.draining === true,
    isNamed: (id) => named.has(id),
    log: (entry) => parts.log(entry),
    onError,
  })
  const close = () => {
    named.close()
    keyedRuns.close()
  }
  return { named, answers, keyedRuns, close }
}
