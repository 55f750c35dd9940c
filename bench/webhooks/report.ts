/** What the receiver's process is told, and what it answers. */

export type ReceiverOrder =
  | { kind: "expect"; count: number }
  /** Are the signatures of the first ones right? */
  | { kind: "verify"; jwksUrl: string }

export type ReceiverReport =
  | { kind: "listening"; urls: string[] }
  /** From the first to the last one expected, each counted once. */
  | { kind: "received"; perSecond: number; repeats: number }
  | { kind: "verified"; count: number }
