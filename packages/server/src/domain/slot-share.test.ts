import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { type SlotDemand, shareSlots } from "./slot-share.ts"

describe("free slots", () => {
  test.each<[string, SlotDemand, { inputs: number; isInputsTurn: boolean }]>([
    [
      "there is room for all",
      { room: 3, inputs: 1, requests: 2, isInputsTurn: false },
      { inputs: 1, isInputsTurn: false },
    ],
    [
      "one slot, the inputs' turn",
      { room: 1, inputs: 5, requests: 5, isInputsTurn: true },
      { inputs: 1, isInputsTurn: false },
    ],
    [
      "one slot, the requests' turn",
      { room: 1, inputs: 5, requests: 5, isInputsTurn: false },
      { inputs: 0, isInputsTurn: true },
    ],
    [
      "three slots, in turn",
      { room: 3, inputs: 5, requests: 5, isInputsTurn: true },
      { inputs: 2, isInputsTurn: false },
    ],
    [
      "few requests leave the rest to inputs",
      { room: 4, inputs: 9, requests: 1, isInputsTurn: true },
      { inputs: 3, isInputsTurn: false },
    ],
    [
      "few inputs leave the rest to requests",
      { room: 4, inputs: 1, requests: 9, isInputsTurn: true },
      { inputs: 1, isInputsTurn: true },
    ],
    [
      "no room",
      { room: 0, inputs: 2, requests: 2, isInputsTurn: true },
      { inputs: 0, isInputsTurn: true },
    ],
  ])("are shared in turn [%s]", (_, demand, share) => {
    expect(shareSlots(demand)).toEqual(share)
  })

  test("are all used, and given to nobody who does not wait", () => {
    const count = fc.nat({ max: 20 })
    fc.assert(
      fc.property(count, count, count, fc.boolean(), (room, inputs, requests, isInputsTurn) => {
        const share = shareSlots({ room, inputs, requests, isInputsTurn })
        expect(share.inputs).toBeLessThanOrEqual(inputs)
        const used = share.inputs + Math.min(requests, room - share.inputs)
        expect(used).toBe(Math.min(room, inputs + requests))
      }),
    )
  })

  test("come one by one to both, however many the others are", () => {
    let isInputsTurn = true
    const turns = Array.from({ length: 6 }, () => {
      const share = shareSlots({ room: 1, inputs: 900, requests: 2, isInputsTurn })
      isInputsTurn = share.isInputsTurn
      return share.inputs
    })
    expect(turns).toEqual([1, 0, 1, 0, 1, 0])
  })
})
