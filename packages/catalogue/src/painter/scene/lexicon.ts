/** What the painter understands: each tag and the words that mean it. */
const meanings: Readonly<Record<string, string>> = {
  dusk: "dusk sunset evening twilight nightfall",
  dawn: "dawn sunrise morning daybreak",
  day: "day noon midday sunny afternoon daylight bright",
  night: "night midnight moonlit moonlight nocturnal dark starry aurora borealis stargazing",
  storm: "storm stormy thunder thunderstorm tempest overcast gloomy dramatic",
  fog: "fog foggy mist misty haze hazy",
  neon: "neon cyberpunk synthwave vaporwave futuristic",
  forest: "forest wood woodland jungle pine grove rainforest",
  ocean: "ocean underwater aquatic marine",
  gold: "gold golden amber honey",
  desert: "desert dune sahara sand sandy canyon",
  fire: "fire fiery lava volcano volcanic inferno flame ember burning",
  winter: "winter snow snowy ice icy frozen frost arctic glacier",
  autumn: "autumn fall autumnal",
  spring: "spring blossom cherry sakura",
  pastel: "pastel dreamy soft candy",
  space: "space galaxy nebula cosmos cosmic universe planet alien mars",
  tropical: "tropical tropic island paradise palm beach caribbean",
  lavender: "lavender lilac violet",
  red: "red crimson scarlet ruby",
  orange: "orange tangerine copper",
  yellow: "yellow lemon",
  green: "green emerald lime moss",
  teal: "teal turquoise cyan aqua",
  blue: "blue azure navy cobalt indigo",
  purple: "purple magenta plum",
  pink: "pink rosy fuchsia",
  brown: "brown chocolate",
  white: "white pale",
  black: "black",
  sepia: "sepia vintage antique",
  monochrome: "monochrome noir grayscale greyscale",
  water:
    "sea ocean lake water river bay coast coastal shore seaside harbor harbour beach pond island reflection wave",
  mountain: "mountain mountainous alp alpine peak summit volcano himalaya fjord cliff",
  hill: "hill meadow field valley countryside grass pasture farm garden village rolling prairie",
  trees: "forest wood woodland jungle pine grove rainforest tree",
  city: "city skyline skyscraper downtown street urban tokyo york metropolis cityscape town building paris london",
  dunes: "desert dune sahara sand sandy",
  nebula: "space galaxy nebula cosmos cosmic universe",
  planet: "planet saturn jupiter",
  abstract:
    "abstract pattern fractal geometric swirl psychedelic texture fluid marble liquid gradient shape",
  portrait: "portrait face headshot selfie closeup bust",
  lighthouse: "lighthouse beacon",
  castle: "castle tower fortress palace citadel cathedral temple",
  house: "house cabin cottage barn hut home farmhouse",
  boat: "boat ship sailboat sail yacht sailing vessel",
  person:
    "person man woman girl boy human people traveler wanderer hiker monk knight astronaut hero samurai king queen child lady robot",
  cat: "cat kitten kitty feline tiger lion panther",
  dog: "dog puppy wolf fox",
  bird: "bird seagull gull eagle crow raven flock geese swallow",
  flower: "flower rose tulip daisy sunflower lily bouquet floral peony orchid lotus",
  loneTree: "oak willow bonsai",
  balloon: "balloon",
  stars: "star starry stargazing milky constellation",
  aurora: "aurora borealis northern",
  moon: "moon moonlit moonlight",
  sun: "sun sunny",
  clouds: "cloud cloudy overcast",
  rain: "rain rainy raining drizzle downpour",
  snowfall: "snowing snowfall blizzard snowstorm snowflake",
  watercolour: "watercolor watercolour aquarelle ink",
  impasto: "oil impasto impressionist impressionism gogh monet brushstroke painterly",
  photo: "photo photograph photorealistic realistic photography cinematic",
}

const tagsByWord = new Map<string, string[]>()
for (const [tag, words] of Object.entries(meanings)) {
  for (const word of words.split(" ")) {
    tagsByWord.set(word, [...(tagsByWord.get(word) ?? []), tag])
  }
}

/** What was read out of a prompt: the tags, and the words that are none, which vary the picture by their hash. */
export interface Reading {
  tags: Set<string>
  rest: string
}

/** Prompts are read up to here; nothing the painter can use comes later. */
const charactersMax = 4000

export function readPrompt(prompt: string): Reading {
  const tags = new Set<string>()
  const rest: string[] = []
  const words = prompt
    .slice(0, charactersMax)
    .toLowerCase()
    .replaceAll(/\b(?:golden|magic) hour\b/g, "dusk")
    .split(/[^\p{L}\p{N}]+/u)
  for (const word of words) {
    if (word === "") continue
    const found = tagsOf(word)
    for (const tag of found) tags.add(tag)
    if (found.length === 0) rest.push(word)
  }
  return { tags, rest: rest.join(" ") }
}

function tagsOf(word: string): readonly string[] {
  const forms = [word, word.replace(/s$/, ""), word.replace(/es$/, ""), word.replace(/y$/, "")]
  for (const form of forms) {
    const tags = tagsByWord.get(form)
    if (tags !== undefined) return tags
  }
  return []
}
