import { expect, test } from "vitest"
import { isTerminal, requestStates, toWireStatus } from "./request-state.ts"

test("success, failure and cancellation are all COMPLETED, and only they are terminal", () => {
  expect(requestStates.map((state) => [state, toWireStatus(state), isTerminal(state)])).toEqual([
    ["queued", "IN_QUEUE", false],
    ["running", "IN_PROGRESS", false],
    ["succeeded", "COMPLETED", true],
    ["failed", "COMPLETED", true],
    ["cancelled", "COMPLETED", true],
  ])
})
