import type { Canvas } from "./canvas/canvas.ts"
import { paintField } from "./canvas/field.ts"
import { finishPicture, paintWeather } from "./canvas/finish.ts"
import { paintLandscape } from "./scene/landscape.ts"
import type { Scene } from "./scene/scene.ts"
import { pasteSprite, type Stamp } from "./scene/stamp.ts"
import { paintStrokes } from "./canvas/strokes.ts"

/** Paints a scene, and yields the share that is done after every few rows or strokes. */
export function* paintScene(
  scene: Scene,
  canvas: Canvas,
  stamps: Stamp[],
  roughness: number,
): Generator<number> {
  if (scene.mode === "landscape") yield* within(paintLandscape(scene, canvas, stamps), 0, 0.55)
  else {
    yield* within(paintField(scene, canvas), 0, 0.55)
    for (const stamp of stamps) pasteSprite(canvas, scene, stamp)
  }
  yield* within(paintStrokes(canvas, scene.seed, scene.finish.strokes), 0.55, 0.9)
  yield* within(paintWeather(scene, canvas), 0.9, 0.95)
  yield* within(finishPicture(scene, canvas, roughness), 0.95, 1)
}

export function* within(part: Generator<number>, from: number, to: number): Generator<number> {
  for (const share of part) yield from + (to - from) * share
}
