import { clamp, type Colour, luminance } from "../canvas/colour.ts"
import { readPrompt } from "./lexicon.ts"
import { Dice, hashText } from "../canvas/noise.ts"
import { choosePalette, namedColour, type Palette } from "./palette.ts"

export type LandKind = "mountain" | "hill" | "forest" | "city" | "dune" | "headland"

/** One range of land, far to near. Lengths are shares of the picture's height. */
export interface Land {
  kind: LandKind
  /** Where its feet are, from the top. */
  base: number
  height: number
  /** Bumps a picture height. */
  grain: number
  /** 0 near, 1 far: how much air lies before it. */
  air: number
  seed: number
  /** The middle of a headland. */
  at: number
}

export interface Sprite {
  name: string
  /** From the middle of the picture, in picture heights. */
  x: number
  /** Its feet, from the top. */
  y: number
  height: number
  /** Stands at the water's far edge, so that the water mirrors it. */
  mirrored: boolean
  /** How little of its own colour is seen: 1 is a silhouette. */
  dark: number
}

/** Everything that decides a picture, resolved from the words and the seed before a pixel is made. */
export interface Scene {
  seed: number
  mode: "landscape" | "abstract" | "space" | "studio"
  palette: Palette
  /** What the subject wears, where the words say it. */
  accent: Colour | null
  aspect: number
  horizon: number
  light: { x: number; y: number; radius: number; kind: "sun" | "moon"; strength: number }
  /** 0 (light) to 1 (dark). */
  darkness: number
  clouds: number
  stars: number
  aurora: number
  fog: number
  water: boolean
  lands: Land[]
  sprites: Sprite[]
  /** The lamp of a lighthouse: where its beams start. */
  lamp: { x: number; y: number } | null
  rain: number
  snowfall: number
  snowy: boolean
  finish: { contrast: number; saturation: number; strokes: number }
}

export interface Wish {
  endpoint: string
  prompt: string
  negativePrompt: string
  guidanceScale: number
  /** In digits: seeds of 64 bits count in full. */
  seed: string
  width: number
  height: number
}

interface Draft {
  tags: Set<string>
  unwanted: Set<string>
  dice: Dice
  scene: Scene
}

const hourTags = ["dusk", "dawn", "day", "night", "gold", "pastel"] as const

export function composeScene(wish: Wish): Scene {
  const { tags, rest } = readPrompt(wish.prompt)
  const unwanted = readPrompt(wish.negativePrompt).tags
  for (const tag of unwanted) tags.delete(tag)
  const seed = hashText(`${wish.endpoint}\n${[...tags].join(" ")}\n${rest}\n${wish.seed}`)
  const dice = new Dice(seed)
  const adherence = clamp(wish.guidanceScale / 10)
  const palette = choosePalette(tags, unwanted, dice.pick(hourTags), adherence)
  const darkness = clamp(1 - luminance(palette.upper) * 2.2)
  const scene: Scene = {
    seed,
    mode: chooseMode(tags),
    palette,
    accent: namedColour(tags),
    aspect: wish.width / wish.height,
    horizon: dice.between(0.56, 0.66),
    light: placeLight(tags, dice, wish.width / wish.height),
    darkness,
    clouds: tags.has("storm") ? 0.85 : tags.has("clouds") ? 0.65 : dice.between(0.35, 0.6),
    stars: tags.has("stars") ? 1 : clamp((darkness - 0.45) * 1.4),
    aurora: tags.has("aurora") ? 1 : 0,
    fog: tags.has("fog") ? 0.85 : dice.between(0.12, 0.35),
    water: false,
    lands: [],
    sprites: [],
    lamp: null,
    rain: tags.has("rain") ? 1 : tags.has("storm") ? 0.45 : 0,
    snowfall: tags.has("snowfall") ? 1 : 0,
    snowy: tags.has("winter") || tags.has("snowfall"),
    finish: {
      contrast: 0.94 + 0.026 * Math.min(wish.guidanceScale, 14),
      saturation: 0.9 + 0.035 * Math.min(wish.guidanceScale, 14),
      strokes: tags.has("impasto") ? 1.5 : tags.has("photo") ? 0.5 : 1,
    },
  }
  if (unwanted.has("clouds")) scene.clouds = 0
  if (unwanted.has("stars")) scene.stars = 0
  if (unwanted.has("fog")) scene.fog = 0.05
  const draft = { tags, unwanted, dice, scene }
  if (scene.mode === "landscape") composeLand(draft)
  composeSubjects(draft)
  return scene
}

const placeTags = ["water", "mountain", "hill", "trees", "city", "dunes", "lighthouse", "house"]
const studioTags = ["portrait", "person", "cat", "dog", "flower"]

function chooseMode(tags: ReadonlySet<string>): Scene["mode"] {
  if (tags.has("abstract")) return "abstract"
  const inPlace = placeTags.some((tag) => tags.has(tag))
  if ((tags.has("nebula") || tags.has("planet")) && !inPlace) return "space"
  if (tags.has("portrait")) return "studio"
  if (!inPlace && studioTags.some((tag) => tags.has(tag))) return "studio"
  return "landscape"
}

function placeLight(tags: ReadonlySet<string>, dice: Dice, aspect: number): Scene["light"] {
  const low = tags.has("dusk") || tags.has("dawn") || tags.has("neon") || tags.has("gold")
  const nightly = ["night", "moon", "aurora", "stars"].some((tag) => tags.has(tag))
  const moon = nightly && !tags.has("sun") && !low
  const side = dice.next() < 0.5 ? -1 : 1
  return {
    x: side * aspect * dice.between(0.06, 0.24),
    y: tags.has("neon")
      ? 0.4
      : moon
        ? dice.between(0.14, 0.26)
        : low
          ? dice.between(0.45, 0.53)
          : dice.between(0.16, 0.36),
    radius: tags.has("neon") ? 0.12 : moon ? dice.between(0.035, 0.05) : low ? 0.042 : 0.03,
    kind: moon ? "moon" : "sun",
    strength: tags.has("fog") || tags.has("storm") ? 0.45 : 1,
  }
}

function addLand(draft: Draft, kind: LandKind, base: number, height: number, air: number): Land {
  const grain = { mountain: 1.5, hill: 0.9, forest: 1.1, city: 1, dune: 0.7, headland: 1.4 }[kind]
  const land: Land = {
    kind,
    base,
    height,
    grain: grain * draft.dice.between(0.8, 1.3),
    air,
    seed: Math.floor(draft.dice.next() * 1e6),
    at: 0,
  }
  draft.scene.lands.push(land)
  return land
}

/** What a landscape has of which the words name no place. */
const guesses: readonly [string[], ...string[][]] = [
  ["mountain", "water"],
  ["mountain", "trees"],
  ["hill"],
  ["water", "mountain"],
  ["trees", "hill"],
]

const wetTags = ["water", "lighthouse", "boat", "ocean", "tropical"]

function composeLand(draft: Draft): void {
  const { tags, unwanted, dice, scene } = draft
  const named = placeTags.some((tag) => tags.has(tag) && tag !== "house")
  const guess = named ? [] : dice.pick(guesses)
  const has = (tag: string) => !unwanted.has(tag) && (tags.has(tag) || guess.includes(tag))
  scene.water = !unwanted.has("water") && wetTags.some((tag) => has(tag))
  const h = scene.horizon
  if (has("mountain")) {
    addLand(draft, "mountain", h + 0.02, dice.between(0.24, 0.3), 0.75)
    addLand(draft, "mountain", h + 0.03, dice.between(0.26, 0.36), 0.45)
    addLand(draft, "mountain", h + 0.04, dice.between(0.11, 0.17), 0.2)
  } else if (!has("dunes")) {
    addLand(draft, "hill", h + 0.01, dice.between(0.03, 0.06), 0.85)
    if (!has("city")) addLand(draft, "hill", h + 0.012, dice.between(0.02, 0.05), 0.65)
  }
  if (has("city")) {
    addLand(draft, "city", h + 0.02, dice.between(0.26, 0.34), 0.7)
    addLand(draft, "city", h + 0.02, dice.between(0.2, 0.3), 0.42)
    addLand(draft, "city", h + 0.03, dice.between(0.1, 0.16), 0.12)
  }
  if (has("trees")) {
    addLand(draft, "forest", h + 0.02, 0.1, 0.6)
    addLand(draft, "forest", h + 0.04, 0.13, 0.38)
  }
  if (has("dunes")) {
    addLand(draft, "dune", h + 0.02, 0.08, 0.6)
    addLand(draft, "dune", h + 0.1, 0.13, 0.35)
  }
  if (!scene.water) composeNearLand(draft, has)
}

function composeNearLand(draft: Draft, has: (tag: string) => boolean): void {
  const h = draft.scene.horizon
  if (has("city")) {
    addLand(draft, "city", 1.0, 0.2, 0)
    draft.scene.water = true
    draft.scene.lands.pop()
    return
  }
  const kind: LandKind = has("dunes") ? "dune" : "hill"
  addLand(draft, kind, h + 0.16, 0.13, 0.32)
  if (has("trees")) addLand(draft, "forest", h + 0.2, 0.2, 0.2)
  addLand(draft, kind, h + 0.27, 0.14, 0.12)
  if (has("trees")) addLand(draft, "forest", 1.12, 0.34, 0)
  else addLand(draft, kind, 1.02, 0.16, 0)
}

function addSprite(draft: Draft, name: string, sprite: Omit<Sprite, "name" | "dark">): void {
  const { scene } = draft
  const backlit = scene.mode === "landscape" ? 0.45 + 0.5 * scene.darkness : 0.1
  scene.sprites.push({ name, dark: clamp(backlit, 0, 0.92), ...sprite })
}

/** The x where a subject stands: on a third, away from the sun or the moon. */
function third(draft: Draft): number {
  const { light, aspect } = draft.scene
  return -Math.sign(light.x) * aspect * draft.dice.between(0.16, 0.24)
}

function composeSubjects(draft: Draft): void {
  const { tags, scene, dice } = draft
  if (scene.mode === "abstract") return
  if (scene.mode === "space") {
    const name = ["person", "cat", "dog"].find((tag) => tags.has(tag))
    if (name !== undefined) addSprite(draft, name, { x: 0, y: 0.8, height: 0.5, mirrored: false })
    return
  }
  if (scene.mode === "studio") {
    composeStudio(draft)
    return
  }
  const h = scene.horizon
  if (tags.has("lighthouse")) {
    const x = third(draft)
    const land = addLand(draft, "headland", h + 0.012, 0.12, 0.08)
    land.at = x
    const height = dice.between(0.34, 0.4)
    const y = h - 0.074
    addSprite(draft, "lighthouse", { x, y, height, mirrored: true })
    scene.lamp = { x, y: y - height * 0.865 }
  }
  const ground = scene.water ? h + 0.004 : 0.86
  for (const name of ["castle", "house"]) {
    if (!tags.has(name) || tags.has("lighthouse")) continue
    const x = third(draft)
    if (scene.water) addLand(draft, "headland", h + 0.012, 0.07, 0.1).at = x
    const y = scene.water ? h - 0.03 : 0.85
    const height = name === "castle" ? 0.34 : 0.17
    addSprite(draft, name, { x, y, height, mirrored: scene.water })
  }
  if (tags.has("tropical") && scene.water && !tags.has("lighthouse")) {
    const x = third(draft)
    addLand(draft, "headland", h + 0.012, 0.075, 0.1).at = x
    for (const [aside, height] of [
      [-0.03, 0.3],
      [0.04, 0.22],
    ] as const) {
      addSprite(draft, "palm", { x: x + aside, y: h - 0.022, height, mirrored: true })
    }
  }
  if (tags.has("boat")) {
    const x = Math.sign(scene.light.x) * scene.aspect * dice.between(0.05, 0.22)
    addSprite(draft, "boat", { x, y: h + 0.03, height: 0.17, mirrored: true })
  }
  if (tags.has("loneTree")) {
    addSprite(draft, "tree", { x: third(draft), y: ground, height: 0.42, mirrored: false })
  }
  if (tags.has("balloon")) {
    for (const [x, y, height] of [
      [-0.18, 0.34, 0.2],
      [0.22, 0.26, 0.13],
      [0.05, 0.44, 0.09],
    ] as const) {
      addSprite(draft, "balloon", { x: x * scene.aspect, y, height, mirrored: false })
    }
  }
  composeCreatures(draft)
}

function composeCreatures(draft: Draft): void {
  const { tags, scene, dice } = draft
  for (const [name, height] of [
    ["person", 0.3],
    ["cat", 0.22],
    ["dog", 0.24],
    ["flower", 0.4],
  ] as const) {
    if (!tags.has(name)) continue
    const x = third(draft) + dice.between(-0.05, 0.05)
    if (scene.water && !scene.lands.some((land) => land.base > 0.95)) {
      addLand(draft, "hill", 1.02, 0.12, 0)
    }
    addSprite(draft, name, { x, y: 0.95, height, mirrored: false })
  }
  if (tags.has("bird") || (tags.has("lighthouse") && dice.next() < 0.7)) {
    const x = scene.light.x * 0.6
    addSprite(draft, "birds", { x, y: dice.between(0.3, 0.38), height: 0.11, mirrored: false })
  }
}

function composeStudio(draft: Draft): void {
  const { tags, scene } = draft
  const name = studioTags.find((tag) => tags.has(tag) && tag !== "portrait") ?? "person"
  const bust = name === "person" ? "bust" : name
  const height = name === "flower" ? 0.95 : name === "person" ? 0.86 : 0.8
  const fit = Math.min(1, scene.aspect * 1.15)
  addSprite(draft, bust, {
    x: 0,
    y: 1 - 0.03 * fit + (bust === "bust" ? 0.04 : 0),
    height: height * fit,
    mirrored: false,
  })
}
