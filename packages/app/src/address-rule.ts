import { lookup as lookupName, type LookupAddress, type LookupOptions } from "node:dns"
import type { RequestOptions } from "node:http"
import { isIP } from "node:net"
import ipaddr from "ipaddr.js"

/**
 * Which addresses a URL that a caller gave may lead to: global unicast, and with `allowPrivate` those of this machine and
 * of private networks, for development.
 */
export interface AddressRule {
  allowPrivate: boolean
}

/** The host is, or resolves to nothing but, what may not be connected to. */
export class ForbiddenAddressError extends Error {
  constructor(host: string) {
    super(`${host} is not a public address`)
    this.name = "ForbiddenAddressError"
  }
}

type Lookup = NonNullable<RequestOptions["lookup"]>

/**
 * The `lookup` of a `node:http` request to `url`: it resolves as usual and drops every address that may not be connected
 * to, so that a name cannot resolve to one address for the check and another for the call. Throws `ForbiddenAddressError`
 * when the host is such an address itself, as that is connected to without a lookup. An agent that pools
 * connections serves one rule alone: they were judged when they were made.
 */
export function guardedLookup(url: URL, rule: AddressRule): Lookup {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
  if (isIP(host) !== 0 && !isAllowed(host, rule)) throw new ForbiddenAddressError(host)
  return (name, lookupOptions: LookupOptions, done) => {
    lookupName(name, { ...lookupOptions, all: true }, (error, found: LookupAddress[]) => {
      if (error !== null) return done(error, "", 0)
      const allowed = found.filter(({ address }) => isAllowed(address, rule))
      const [first] = allowed
      if (first === undefined) return done(new ForbiddenAddressError(name), "", 0)
      if (lookupOptions.all === true) return done(null, allowed)
      return done(null, first.address, first.family)
    })
  }
}

function isAllowed(address: string, { allowPrivate }: AddressRule): boolean {
  const range = rangeOf(address)
  if (range === "unicast") return true
  return allowPrivate && developmentRanges.has(range)
}

const developmentRanges = new Set(["loopback", "private", "uniqueLocal", "carrierGradeNat"])

/**
 * The range that an address is in; `unicast` is the global one. An IPv4 address mapped into IPv6 is in the range of what
 * it carries.
 */
export function rangeOf(address: string): string {
  const bare = address.replace(/%.*$/, "")
  if (!ipaddr.isValid(bare)) return "invalid"
  const parsed = ipaddr.process(bare)
  const range = parsed.range()
  // Of IPv6 only 2000::/3 has been given out as global unicast.
  const isGlobal = parsed instanceof ipaddr.IPv4 || parsed.match(ipaddr.parseCIDR("2000::/3"))
  return range === "unicast" && !isGlobal ? "unassigned" : range
}
