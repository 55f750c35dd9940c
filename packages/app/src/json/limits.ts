/** Python's own limit for the digits of one integer. */
export const integerDigitsMax = 4300
/** Nested deeper, Python gives up too; beyond it our own recursion would. */
export const jsonDepthMax = 500

/** The bigint of an integer literal that a number would round; null for any other literal. */
export function exactInteger(source: string): bigint | null {
  if (!/^-?\d+$/.test(source) || Number.isSafeInteger(Number(source))) return null
  if (source.length > integerDigitsMax + 1) throw new RangeError("integer too long")
  return BigInt(source)
}
