import { expect, test } from "vitest"
import { doorPolicies } from "./door.ts"

test("a stream is a run whose caller reads along", () => {
  expect(doorPolicies.stream).toEqual({ ...doorPolicies.run, streams: true })
  expect(doorPolicies.run).toEqual({
    attemptsMax: 1,
    survivesRestart: false,
    waitsItsTurn: false,
    endsWithCaller: true,
    streams: false,
  })
})

test("a request of the queue outlives its caller and its server, and waits its turn", () => {
  expect(doorPolicies.queue).toEqual({
    attemptsMax: 10,
    survivesRestart: true,
    waitsItsTurn: true,
    endsWithCaller: false,
    streams: false,
  })
})
