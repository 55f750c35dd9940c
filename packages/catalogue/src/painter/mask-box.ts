export interface Box {
  left: number
  top: number
  width: number
  height: number
}

/** The smallest box around what the mask opens; null when it opens nothing. */
export function maskBox(mask: Uint8Array, size: { width: number; height: number }): Box | null {
  let [left, top, right, bottom] = [size.width, size.height, -1, -1]
  for (let row = 0; row < size.height; row++) {
    for (let column = 0; column < size.width; column++) {
      if (mask[row * size.width + column] === 0) continue
      left = Math.min(left, column)
      right = Math.max(right, column)
      top = Math.min(top, row)
      bottom = row
    }
  }
  return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 }
}
