import { getCACertificates } from "node:tls"
import type { QueueTarget } from "../queue/queue-calls.ts"
import { isRecord, parseJson } from "../queue/wire-reading.ts"
import { CommandError, reasonOf } from "../terminal.ts"

/** Where a server ends TLS for the hosts of the hosted service, and whom to trust there. */
export interface TlsDoor {
  host: string
  port: number
  /** PEM of the server's own authority. */
  ca: string
  /** What programs are given as FAL_KEY. */
  key: string
}

/** Nobody looks at it where no key is needed, but clients will not start without one. */
const keyOfOpenServer = "tintype:no-key-is-needed"

/** Asks the server for it; `CommandError` says what is missing. */
export async function findTlsDoor({ url, key }: QueueTarget): Promise<TlsDoor> {
  const response = await fetch(`${url}/_/tls`).catch((cause) => {
    throw new CommandError(`${url} does not answer: ${reasonOf(cause)}`, { cause })
  })
  const said = parseJson(await response.text())
  if (!response.ok || !isRecord(said)) {
    throw new CommandError(`${url} is not a Tintype server that programs can be sent to`)
  }
  const { port, ca, open } = said
  if (typeof port !== "number" || typeof ca !== "string") {
    throw new CommandError(
      `${url} ends no TLS: its TINTYPE_TLS_PORT is off, or another program has that port`,
    )
  }
  const host = new URL(url).hostname.replace(/^\[|\]$/g, "")
  return { host, port, ca, key: open === true ? keyOfOpenServer : await checkKey(url, key) }
}

/** The program would only learn of a bad key much later, and worded for another service. */
async function checkKey(url: string, key: string | null): Promise<string> {
  if (key === null) {
    throw new CommandError(
      `${url} needs a key: put one into TINTYPE_KEY (tintype keys create --scope api)`,
    )
  }
  const headers = { authorization: `Key ${key}` }
  const response = await fetch(`${url}/_/requests?limit=1`, { headers })
  await response.body?.cancel()
  if (response.status !== 401 && response.status !== 403) return key
  throw new CommandError(`${url} refuses the key in TINTYPE_KEY`)
}

/**
 * Whom a program may trust: all whom this machine trusts, those that NODE_EXTRA_CA_CERTS named, and the server's authority.
 * One file does for every runtime, as most take it in place of their own list.
 */
export function trustBundle(ca: string): string {
  const system = getCACertificates("system")
  // Where the system has no list, as in some containers, Node's own is better than none.
  const known = system.length > 0 ? system : getCACertificates("bundled")
  const all = [...known, ...getCACertificates("extra"), ca]
  return `${[...new Set(all.map((pem) => pem.trim()))].join("\n")}\n`
}
