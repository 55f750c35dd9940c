import { DiffusionError, messageOf } from "../diffusion-error.ts"
import { hubSilenceMs } from "../limits.ts"

/** Where models come from: the address of the hub, and what opens its private models. */
export interface HubAddress {
  url: string
  token?: string
}

/** `owner/name`, and the branch, tag or commit that is wanted of it. */
export interface HubId {
  /** As it was written. */
  text: string
  model: string
  revision: string
}

/** The connection broke or went silent: worth another try, which goes on where this one stopped. */
export class Interrupted extends Error {}

export function unavailable(id: HubId, cause: string, options?: ErrorOptions): DiffusionError {
  return new DiffusionError({ type: "model_unavailable", message: `${id.text}: ${cause}` }, options)
}

export function refused(id: HubId, cause: string): DiffusionError {
  return new DiffusionError({ type: "model_fault", message: `${id.text}: ${cause}` })
}

/**
 * Asks the hub and hands the answer to `read`, as long as something comes. Throws `Interrupted`, a `DiffusionError` for an answer
 * that says no, or the signal's reason. Credentials stay with the hub: fetch drops them on the way to another host.
 */
export async function callHub<Result>(
  { url, token }: HubAddress,
  id: HubId,
  call: { path: string; headers?: Record<string, string>; signal: AbortSignal },
  read: (answer: Response, alive: () => void) => Promise<Result>,
): Promise<Result> {
  const silence = new AbortController()
  const timer = setTimeout(() => silence.abort(new Error("nothing came")), hubSilenceMs)
  const headers = { ...call.headers, ...(token === undefined ? {} : authorization(token)) }
  const signal = AbortSignal.any([call.signal, silence.signal])
  const target = call.path.startsWith("http") ? call.path : `${url}${call.path}`
  try {
    const answer = await fetch(target, { headers, signal })
    if (!answer.ok) {
      await answer.body?.cancel()
      throw answerError(id, url, answer.status)
    }
    return await read(answer, () => timer.refresh())
  } catch (error) {
    call.signal.throwIfAborted()
    if (error instanceof DiffusionError) throw error
    throw new Interrupted(reasonOf(error), { cause: error })
  } finally {
    clearTimeout(timer)
    silence.abort()
  }
}

function authorization(token: string) {
  return { authorization: `Bearer ${token}` }
}

function answerError(id: HubId, url: string, status: number): Error {
  if (status === 401 || status === 403) {
    return refused(
      id,
      `${url} answers ${status}: it is private, or there is none; HF_TOKEN opens it`,
    )
  }
  if (status === 404) return refused(id, `${url} has no such model or revision`)
  if (status === 429 || status >= 500) return new Interrupted(`it answers ${status}`)
  return refused(id, `${url} answers ${status}`)
}

/** fetch says "fetch failed" and keeps the reason below. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof Error && cause.message !== "" ? cause.message : messageOf(error)
}
