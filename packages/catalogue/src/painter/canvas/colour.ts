/** Red, green, blue from 0 to 1, as they are shown (sRGB). */
export type Colour = readonly [number, number, number]

export function fromHex(hex: string): Colour {
  const value = Number.parseInt(hex, 16)
  return [((value >> 16) & 255) / 255, ((value >> 8) & 255) / 255, (value & 255) / 255]
}

export function toHex(colour: Colour): string {
  return `#${colour
    .map((part) =>
      Math.round(clamp(part) * 255)
        .toString(16)
        .padStart(2, "0"),
    )
    .join("")}`
}

export function clamp(value: number, low = 0, high = 1): number {
  return value < low ? low : value > high ? high : value
}

/** 0 below `from`, 1 above `to`, smooth between. */
export function ramp(from: number, to: number, value: number): number {
  const share = clamp((value - from) / (to - from))
  return share * share * (3 - 2 * share)
}

export function mix(a: Colour, b: Colour, share: number): Colour {
  return [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share]
}

export function luminance(colour: Colour): number {
  return colour[0] * 0.2126 + colour[1] * 0.7152 + colour[2] * 0.0722
}

export function scale(colour: Colour, factor: number): Colour {
  return [clamp(colour[0] * factor), clamp(colour[1] * factor), clamp(colour[2] * factor)]
}

/** The colour drawn towards `tint`, its lightness kept as far as the tint allows. */
export function tinted(colour: Colour, tint: Colour, share: number): Colour {
  const light = luminance(colour)
  const own = Math.max(0.04, luminance(tint))
  const factor = light / own
  const target: Colour =
    factor <= 1
      ? [tint[0] * factor, tint[1] * factor, tint[2] * factor]
      : mix(tint, [1, 1, 1], clamp((light - own) / Math.max(0.01, 1 - own)))
  return mix(colour, target, share)
}

/** `factor` 0 is grey, 1 unchanged, above 1 more vivid. */
export function saturated(colour: Colour, factor: number): Colour {
  const light = luminance(colour)
  return [
    clamp(light + (colour[0] - light) * factor),
    clamp(light + (colour[1] - light) * factor),
    clamp(light + (colour[2] - light) * factor),
  ]
}
