import { type Colour, fromHex, mix, saturated, tinted } from "../canvas/colour.ts"

/** The colours of one picture. */
export interface Palette {
  zenith: Colour
  upper: Colour
  lower: Colour
  horizon: Colour
  sun: Colour
  /** Land in shadow. */
  shade: Colour
  /** Land in light. */
  lit: Colour
  water: Colour
}

function build(colourOf: (name: keyof Palette, place: number) => Colour): Palette {
  return {
    zenith: colourOf("zenith", 0),
    upper: colourOf("upper", 1),
    lower: colourOf("lower", 2),
    horizon: colourOf("horizon", 3),
    sun: colourOf("sun", 4),
    shade: colourOf("shade", 5),
    lit: colourOf("lit", 6),
    water: colourOf("water", 7),
  }
}

function palette(hexes: string): Palette {
  const colours = hexes.split(" ").map((hex) => fromHex(hex))
  return build((_, place) => colours[place]!)
}

/** Zenith, upper sky, lower sky, horizon, sun, land in shadow, land in light, water. */
const palettes: Readonly<Record<string, Palette>> = {
  dusk: palette("1d2c5e 5f4a8c d8707a ffbe78 ffe9b8 14142c 9c5a72 2a3568"),
  dawn: palette("6a98c8 b3bcd9 f3c3bd ffe4bd fff4da 36405f d3a198 7a9fb8"),
  day: palette("2b6fbe 5c9fde a3d0f0 e6f2f2 fffbe8 24433c 86ab68 1f6f96"),
  night: palette("040818 0b1838 1b335f 3a5c8a eef3ff 04070f 2c4469 0a1733"),
  storm: palette("1c2229 38434c 687479 b5b7a8 eceedd 10151a 56645f 28363d"),
  fog: palette("8d9ba6 a9b5bc c6cecf e4e5df fbf7ea 3f4a50 93a097 8a9aa0"),
  neon: palette("09031c 2c0b58 8d1d98 ff4fa8 7df4ff 06020e 43208a 150a44"),
  forest: palette("2c564d 64926c b4cb8c f4f0bc fffcd6 0a1d14 4d7c38 1d4a40"),
  ocean: palette("0d4a80 2a87bb 7cc9d9 dcf4ef fffdf0 0a2236 3d8ea0 084e74"),
  gold: palette("54351a a4662a e5a03c ffe08e fff6d0 241305 c88a38 74501f"),
  desert: palette("3f77a8 86a9bd e6c7a0 f8e2bd fff6dc 5a2c18 d99a5c 4f7f8c"),
  fire: palette("12060a 4c0f13 b9331b ff9c3e ffe592 0e0405 7f2518 3a0c0d"),
  winter: palette("6f95bc a5c1d9 d3e1ec f6f1ec fff9f0 2c4158 eaf1f7 688fae"),
  autumn: palette("42688a 90a3a3 e4c08a f9dfac fff2cc 2a170d c9682a 55584a"),
  spring: palette("5b9bd5 9cc8e6 d3e6ec fbeef0 fffaf0 2d5a35 93c060 4b95a5"),
  pastel: palette("8fb2dc b9bfe6 e8c6de fde0d4 fff6e6 6a6890 d6a9c4 93b9d3"),
  space: palette("03030c 0a0a24 1d1440 4a2a6e fff2e0 020206 3a2a60 0a0a24"),
  tropical: palette("1277b8 3fb0d6 98e0de fff0c8 fffbe0 0f3a30 4aa658 0aa0a8"),
  lavender: palette("3d3f7c 776cae bfa0cf f6d6d2 fff0dc 251f47 8f70b5 4a4d86"),
}

const tints: Readonly<Record<string, Colour>> = {
  red: fromHex("d2232a"),
  orange: fromHex("f08020"),
  yellow: fromHex("f2cf2e"),
  green: fromHex("3f9e4d"),
  teal: fromHex("1fa39a"),
  blue: fromHex("2864d8"),
  purple: fromHex("7d3cc4"),
  pink: fromHex("ee6fa6"),
  brown: fromHex("8a5a34"),
  white: fromHex("f0f0ee"),
  black: fromHex("1a1b1e"),
  gold: fromHex("e0a020"),
  sepia: fromHex("a8845a"),
}

export const paletteTags: readonly string[] = Object.keys(palettes)
export const tintTags: readonly string[] = Object.keys(tints)

function mapPalette(from: Palette, change: (colour: Colour) => Colour): Palette {
  return build((name) => change(from[name]))
}

function blended(a: Palette, b: Palette, share: number): Palette {
  return build((name) => mix(a[name], b[name], share))
}

/** The first colour that is named: what the subject wears. */
export function namedColour(tags: ReadonlySet<string>): Colour | null {
  const name = tintTags.find((tag) => tags.has(tag))
  return name === undefined ? null : tints[name]!
}

const landColours = new Set(["green", "brown"])
const landTags = ["hill", "trees", "mountain", "dunes"]
const wearers = ["cat", "dog", "flower"]
const landParts = new Set<keyof Palette>(["lit", "shade", "water"])

/** Hours and weathers decide the light; places only colour it. */
const hours = new Set(["dusk", "dawn", "day", "night", "storm", "fog", "neon", "fire", "space"])

/**
 * The palette that the words ask for: hours first, places mixed in, colour words drawn over all of it.
 * `adherence` (0 to 1) is how strongly the colour words weigh.
 */
export function choosePalette(
  tags: ReadonlySet<string>,
  unwanted: ReadonlySet<string>,
  fallback: string,
  adherence: number,
): Palette {
  const named = paletteTags.filter((tag) => tags.has(tag))
  named.sort((a, b) => Number(hours.has(b)) - Number(hours.has(a)))
  let chosen = palettes[named[0] ?? fallback] ?? palettes["dusk"]!
  for (const name of named.slice(1)) {
    chosen = blended(chosen, palettes[name]!, hours.has(name) ? 0.4 : 0.22)
  }
  const colours = tintTags.filter((tag) => tags.has(tag))
  for (const name of colours) {
    const share = (0.6 + 0.35 * adherence) * (name === "gold" ? 0.5 : 1)
    const turn = colours.indexOf(name)
    // "Green hills" are a green land, not a green sky.
    // And a white cat does not sit in white air.
    const worn = wearers.some((tag) => tags.has(tag))
    const ofLand = landColours.has(name) && landTags.some((tag) => tags.has(tag))
    const before = chosen
    chosen = build((part, place) => {
      if (!ofLand && place % colours.length !== turn) return before[part]
      const elsewhere = worn || (ofLand && !landParts.has(part))
      const weight = elsewhere ? 0.15 : 1
      return tinted(before[part], tints[name]!, share * weight)
    })
  }
  for (const name of tintTags.filter((tag) => unwanted.has(tag))) {
    chosen = mapPalette(chosen, (colour) => without(colour, tints[name]!))
  }
  if (tags.has("monochrome")) chosen = mapPalette(chosen, (colour) => saturated(colour, 0))
  return chosen
}

/** Takes the part of the colour that points the way of `tint` out of it. */
function without(colour: Colour, tint: Colour): Colour {
  const grey = (colour[0] + colour[1] + colour[2]) / 3
  const tintGrey = (tint[0] + tint[1] + tint[2]) / 3
  const own: Colour = [colour[0] - grey, colour[1] - grey, colour[2] - grey]
  const way: Colour = [tint[0] - tintGrey, tint[1] - tintGrey, tint[2] - tintGrey]
  const size = way[0] ** 2 + way[1] ** 2 + way[2] ** 2
  if (size < 1e-6) return colour
  const along = Math.max(0, (own[0] * way[0] + own[1] * way[1] + own[2] * way[2]) / size)
  return [colour[0] - along * way[0], colour[1] - along * way[1], colour[2] - along * way[2]]
}
