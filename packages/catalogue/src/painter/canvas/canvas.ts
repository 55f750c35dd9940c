/** A picture being painted: three bytes a pixel, rows from the top. */
export interface Canvas {
  width: number
  height: number
  rgb: Uint8ClampedArray
}

export function createCanvas(width: number, height: number): Canvas {
  return { width, height, rgb: new Uint8ClampedArray(width * height * 3) }
}
