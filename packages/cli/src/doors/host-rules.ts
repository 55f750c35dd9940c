import { isIP } from "node:net"
import { findForeignSurface, foreignHosts } from "@tintype/protocol"
import { isLoopback } from "../server-contact.ts"
import { UsageError } from "../terminal.ts"

/** Where a program's connection to a host goes: to Tintype in its place, to the host itself, or nowhere. */
export type Way = "tintype" | "direct" | "refused"

export interface HostRules {
  /** Exact names, addresses, or `*.suffix`; as `parseAllowed` gives them back. */
  allowed: readonly string[]
  /** Of the server itself. */
  serverHost: string
  /** Does loopback mean the same to the program as to us? In a namespace of its own it does not. */
  allowsLoopback: boolean
}

/** Finds the way of a host name or address, in any case, with or without brackets and a dot at its end. */
export function findWay(host: string, rules: HostRules): Way {
  const name = normalized(host)
  if (Object.hasOwn(foreignHosts, name)) return "tintype"
  if (isLoopbackHost(name)) return rules.allowsLoopback ? "direct" : allowedWay(name, rules)
  return name === rules.serverHost ? "direct" : allowedWay(name, rules)
}

function allowedWay(name: string, { allowed }: HostRules): Way {
  const fits = (pattern: string): boolean =>
    pattern.startsWith("*.") ? name.endsWith(pattern.slice(1)) : name === pattern
  return allowed.some(fits) ? "direct" : "refused"
}

/** Checks a value of `--allow`; `UsageError` when it is no host, or one that Tintype stands in for. */
export function parseAllowed(given: string): string {
  const name = normalized(given)
  const isName = /^(\*\.)?[a-z\d_]([a-z\d_.-]*[a-z\d_])?$/.test(name)
  if (!isName && isIP(name) === 0) {
    throw new UsageError(`--allow takes a host such as example.com or *.example.com, not ${given}`)
  }
  if (Object.hasOwn(foreignHosts, name)) {
    throw new UsageError(`--allow ${given}: calls of this host always go to Tintype`)
  }
  return name
}

/** What is said to the program, and to whoever started it. */
export function describeRefusal(host: string): string {
  const name = normalized(host)
  const why = findForeignSurface(name) === "unknown" ? ", which Tintype does not stand in for" : ""
  return `${name}${why}: --allow ${name} would let it through`
}

function isLoopbackHost(name: string): boolean {
  return name === "::1" || isLoopback(name)
}

function normalized(host: string): string {
  return host
    .toLowerCase()
    .replace(/^\[|\]$/g, "")
    .replace(/\.$/, "")
}
