import { encode } from "@msgpack/msgpack"
import * as fc from "fast-check"

/** What a runner that is broken, or none at all, may say on the link. */

const token = fc.oneof(fc.uuid(), fc.constantFrom("", "x", "0".repeat(1_000)))
const odd = fc.oneof(
  fc.constantFrom<unknown>(null, -1, 0, 1, 2 ** 53, 0.5, "", "x", [], {}, true),
  fc.uint8Array({ maxLength: 40 }),
  fc.string({ maxLength: 10 }),
)

const hello = fc.record({
  type: fc.constant("hello"),
  version: fc.constantFrom<unknown>(1, 0, 99),
  session: token,
  runner: fc.constant({ pid: 2 ** 22 + 1, startedAt: "2026-01-01T00:00:00.000Z", build: "fuzz" }),
  slots: fc.constantFrom(0, 1, 1_000_000),
  apps: fc.constantFrom<unknown[]>([], ["fuzz/none"], [3]),
  held: fc.constantFrom<unknown[]>([], [{ lease: "x", attempt: 1, nextSeq: 1 }]),
  unacked: fc.array(token, { maxLength: 2 }),
})

const frame = fc.oneof(
  hello,
  fc.record({ type: fc.constant("credit"), count: fc.oneof(fc.integer(), odd) }),
  fc.record({ type: fc.constantFrom("accepted", "settled", "nonsense"), lease: token }),
  fc.record({
    type: fc.constant("event"),
    lease: token,
    event: fc.oneof(
      odd,
      fc.record({ kind: fc.constantFrom("log", "progress", "x"), seq: odd, at: odd, message: odd }),
    ),
  }),
  fc.record({ type: fc.constant("chunk"), lease: token, seq: fc.nat(3), data: odd }),
  fc.record({
    type: fc.constant("done"),
    lease: token,
    status: fc.oneof(fc.integer(), fc.constant(200)),
    headers: fc.oneof(odd, fc.constant({ a: "b" })),
    body: odd,
    inferenceMs: odd,
  }),
  fc.record({ type: fc.constant("failed"), lease: token, reason: odd, detail: odd }),
  fc.record({ type: fc.constant("part"), bytes: odd, isLast: odd }),
  fc.record({ type: fc.constantFrom("output", "closed"), channel: token, code: odd, data: odd }),
  fc.record({ type: fc.constantFrom("retire", "pong"), why: odd, at: odd }),
)

/** Some have a field more, or less. */
const changed = fc
  .tuple(frame, fc.option(fc.nat(8)), fc.option(odd))
  .map(([one, dropped, added]) => {
    const fields = Object.entries(one).filter((_, index) => index !== dropped)
    return Object.fromEntries(added === null ? fields : [...fields, ["extra", added]])
  })

const message = fc.oneof(
  { weight: 4, arbitrary: fc.array(changed, { maxLength: 4 }).map((frames) => encode(frames)) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
  {
    weight: 1,
    arbitrary: fc
      .anything({ withNullPrototype: false, maxDepth: 3 })
      .filter((value) => value !== undefined && isPackable(value))
      .map((value) => encode(value)),
  },
)

const cut = fc
  .tuple(message, fc.option(fc.nat(100), { freq: 4 }))
  .map(([bytes, share]) =>
    share === null ? bytes : bytes.subarray(0, (bytes.length * share) / 100),
  )

export const linkMessages = fc.record({
  messages: fc.tuple(fc.boolean(), hello, fc.array(cut, { minLength: 1, maxLength: 5 })).map(
    // Most have said hello as they should.
    ([greets, greeting, rest]) => (greets ? [encode([greeting]), ...rest] : rest),
  ),
  asText: fc.boolean(),
})

function isPackable(value: unknown): boolean {
  try {
    encode(value)
    return true
  } catch {
    return false
  }
}

export { message as linkMessage }
