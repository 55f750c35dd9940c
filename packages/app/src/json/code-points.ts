/** The length of a text as Python counts it. */
export function countCodePoints(text: string): number {
  let pairs = 0
  for (let index = 0; index < text.length - 1; index++) {
    if ((text.codePointAt(index) ?? 0) > 0xffff) pairs++
  }
  return text.length - pairs
}
