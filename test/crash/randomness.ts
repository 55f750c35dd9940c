/** Numbers in [0, 1) that a seed repeats (mulberry32), so that a failed round can be told to start over. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** `TINTYPE_TEST_SEED`, or a new one, printed so that a failure can be repeated. */
export function chooseSeed(title: string): number {
  const given = process.env["TINTYPE_TEST_SEED"]
  const seed = given === undefined ? Math.floor(Math.random() * 4_294_967_296) : Number(given)
  console.log(`${title}: seed ${seed} (TINTYPE_TEST_SEED=${seed} repeats it)`)
  return seed
}
