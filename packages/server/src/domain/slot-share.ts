/** Who waits for the free slots of a runner. */
export interface SlotDemand {
  /** Free slots. */
  room: number
  /** Channels with an input that waits. */
  inputs: number
  /** Queued requests, as far as is known. */
  requests: number
  /** Whose turn it is while both wait. */
  isInputsTurn: boolean
}

export interface SlotShare {
  /** Slots for inputs; the rest is for requests. */
  inputs: number
  isInputsTurn: boolean
}

/**
 * Shares free slots between inputs of channels and queued requests: each in turn while both wait, so that neither starves
 * however many the others are.
 */
export function shareSlots({ room, inputs, requests, isInputsTurn }: SlotDemand): SlotShare {
  if (inputs + requests <= room) return { inputs, isInputsTurn }
  let given = 0
  let isNext = isInputsTurn
  for (let left = room; left > 0; left -= 1) {
    const isTaken = given < inputs && (isNext || room - left - given >= requests)
    if (isTaken) given += 1
    isNext = !isTaken
  }
  return { inputs: given, isInputsTurn: isNext }
}
