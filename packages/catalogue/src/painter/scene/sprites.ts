import { type Colour, mix, scale, tinted, toHex } from "../canvas/colour.ts"
import { Dice } from "../canvas/noise.ts"
import type { Scene, Sprite } from "./scene.ts"

/** A subject as vector shapes: 100 units tall, `width` wide, its feet in the middle of the lower edge. */
interface Drawing {
  width: number
  body: string
}

/** Colours of one drawing, lit from one side. */
interface Tones {
  dark: string
  mid: string
  light: string
  accent: string
  skin: string
  lamp: string
  dice: Dice
}

const drawings: Readonly<Record<string, (tones: Tones) => Drawing>> = {
  lighthouse: drawLighthouse,
  castle: drawCastle,
  house: drawHouse,
  boat: drawBoat,
  tree: drawTree,
  palm: drawPalm,
  balloon: drawBalloon,
  birds: drawBirds,
  person: drawPerson,
  bust: drawBust,
  cat: drawCat,
  dog: drawDog,
  flower: drawFlower,
}

const furs: readonly [Colour, ...Colour[]] = [
  [0.82, 0.5, 0.24],
  [0.5, 0.48, 0.5],
  [0.86, 0.72, 0.52],
  [0.6, 0.38, 0.24],
]

/** The SVG of a sprite at a size in pixels; made of our own shapes only, never of the caller's text. */
export function drawSprite(
  scene: Scene,
  sprite: Sprite,
  pixels: number,
): { svg: string; width: number } {
  const draw = drawings[sprite.name]
  if (draw === undefined) throw new Error(`no drawing is called ${sprite.name}`)
  const { palette } = scene
  const usual: Colour = sprite.name === "flower" ? [0.86, 0.26, 0.4] : [0.74, 0.2, 0.18]
  const accentBase = scene.accent ?? usual
  const dice = new Dice(scene.seed ^ Math.round(sprite.x * 1000))
  const furry = sprite.name === "cat" || sprite.name === "dog"
  const fur = scene.accent ?? dice.pick(furs)
  const lit = furry ? mix(fur, palette.sun, 0.2) : mix(palette.sun, palette.lit, 0.45)
  const drawing = draw({
    dark: toHex(mix(palette.shade, palette.upper, 0.14)),
    mid: toHex(mix(palette.shade, lit, 0.45)),
    light: toHex(mix(lit, [1, 1, 1], 0.18)),
    accent: toHex(tinted(accentBase, palette.lower, 0.3)),
    skin: toHex(scale(mix([0.86, 0.64, 0.52], palette.sun, 0.25), 0.95)),
    lamp: "#ffefb8",
    dice,
  })
  const mirrored = scene.light.x < sprite.x
  const turn = mirrored ? `<g transform="translate(${drawing.width} 0) scale(-1 1)">` : "<g>"
  const width = Math.max(1, Math.round((pixels * drawing.width) / 100))
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${pixels}" ` +
    `viewBox="0 0 ${drawing.width} 100" preserveAspectRatio="none">${turn}${drawing.body}</g></svg>`
  return { svg, width }
}

/** Lit from the right: the drawings are turned when the light is on the left. */
function sideLight(id: string, tones: Tones): string {
  return (
    `<linearGradient id="${id}" x1="0" x2="1" y1="0" y2="0"><stop offset="0" stop-color="${tones.dark}"/>` +
    `<stop offset=".45" stop-color="${tones.mid}"/><stop offset=".85" stop-color="${tones.light}"/>` +
    `<stop offset="1" stop-color="${tones.mid}"/></linearGradient>`
  )
}

/** Where the tower's wall is at a height: it tapers. */
function lighthouseInset(y: number): number {
  return 14.4 - ((y - 18) / 82) * 4.6
}

function drawLighthouse(tones: Tones): Drawing {
  const bands = [26, 46, 66]
    .map((y) => {
      const [a, b] = [lighthouseInset(y), lighthouseInset(y + 10)]
      return `<path d="M${a} ${y}L${40 - a} ${y}L${40 - b} ${y + 10}L${b} ${y + 10}Z" fill="${tones.accent}" opacity=".82"/>`
    })
    .join("")
  return {
    width: 40,
    body:
      `<defs>${sideLight("s", tones)}<linearGradient id="v"><stop offset="0" stop-color="#000" stop-opacity=".55"/>` +
      `<stop offset=".6" stop-color="#000" stop-opacity="0"/></linearGradient></defs>` +
      `<path d="M14.4 18L25.6 18L30.2 100L9.8 100Z" fill="url(#s)"/>${bands}` +
      `<path d="M14.4 18L25.6 18L30.2 100L9.8 100Z" fill="url(#v)"/>` +
      `<path d="M11.5 16.6H28.5V18.8H11.5Z" fill="${tones.dark}"/><path d="M12 13.4H28V14H12ZM12 13.4V17M16 13.4V17M20 13.4V17M24 13.4V17M28 13.4V17" stroke="${tones.dark}" stroke-width=".6" fill="none"/>` +
      `<path d="M15.4 9.5H24.6V16.8H15.4Z" fill="#fff3c4"/><path d="M17.4 9.5H18V16.8H17.4ZM21.9 9.5H22.5V16.8H21.9Z" fill="${tones.dark}"/>` +
      `<path d="M14.3 9.8Q20 1.8 25.7 9.8Z" fill="${tones.accent}"/><path d="M14.3 9.8Q20 1.8 25.7 9.8Z" fill="url(#v)"/><path d="M19.7 1H20.3V6H19.7Z" fill="${tones.dark}"/>` +
      `<path d="M19 36h2.2v4h-2.2zM19.2 56h2.4v4h-2.4z" fill="#ffdf98"/><path d="M18 90q2.2 -4 4.4 0V100H18Z" fill="${tones.dark}"/>` +
      `<path d="M30 91L35 86.5L40 91V100H30Z" fill="${tones.mid}"/><path d="M29.4 91.4L35 86L40 91.2V92.4L35 88L29.6 92.6Z" fill="${tones.accent}"/><path d="M34 94h2v2.6h-2z" fill="#ffdf98"/>`,
  }
}

function tower(x: number, wide: number, top: number, roof: number, tones: Tones): string {
  const teeth = Array.from({ length: 4 }, (_, index) => {
    const tooth = wide / 7
    return `<path d="M${x + index * tooth * 2} ${top - 2.4}h${tooth}v3h-${tooth}z" fill="${tones.mid}"/>`
  }).join("")
  const cone =
    roof > 0
      ? `<path d="M${x - 1} ${top}L${x + wide / 2} ${top - roof}L${x + wide + 1} ${top}Z" fill="${tones.accent}"/><path d="M${x - 1} ${top}L${x + wide / 2} ${top - roof}V${top}Z" fill="#000" opacity=".35"/>`
      : teeth
  return (
    `<path d="M${x} ${top}h${wide}V100h-${wide}z" fill="url(#s)"/>${cone}` +
    `<path d="M${x + wide * 0.42} ${top + 8}h${wide * 0.2}v5h-${wide * 0.2}z" fill="#ffd98a"/>`
  )
}

function drawCastle(tones: Tones): Drawing {
  return {
    width: 96,
    body:
      `<defs>${sideLight("s", tones)}</defs>` +
      tower(40, 16, 34, 28, tones) +
      tower(22, 12, 52, 20, tones) +
      tower(64, 13, 46, 24, tones) +
      `<path d="M12 72H84V100H12Z" fill="${tones.mid}"/><path d="M12 72H84V76H12Z" fill="${tones.dark}" opacity=".4"/>` +
      tower(8, 12, 62, 0, tones) +
      tower(77, 12, 60, 18, tones) +
      `<path d="M43 100V88q5 -8 10 0V100Z" fill="${tones.dark}"/>`,
  }
}

function drawHouse(tones: Tones): Drawing {
  return {
    width: 120,
    body:
      `<defs>${sideLight("s", tones)}</defs><path d="M78 14h10v30h-10z" fill="${tones.dark}"/>` +
      `<path d="M16 52H104V100H16Z" fill="url(#s)"/><path d="M6 56L34 18H86L114 56Z" fill="${tones.accent}"/><path d="M6 56L34 18H60L52 56Z" fill="#000" opacity=".22"/>` +
      `<path d="M28 66h16v16h-16zM76 66h16v16h-16z" fill="#ffdf98"/><path d="M35.3 66h1.4v16h-1.4zM28 73.3h16v1.4h-16zM83.3 66h1.4v16h-1.4zM76 73.3h16v1.4h-16z" fill="${tones.dark}"/>` +
      `<path d="M53 70h14v30h-14z" fill="${tones.dark}"/>`,
  }
}

function drawBoat(tones: Tones): Drawing {
  return {
    width: 84,
    body:
      `<defs>${sideLight("s", tones)}</defs><path d="M41.4 3h1.4v84h-1.4z" fill="${tones.dark}"/>` +
      `<path d="M44 8Q74 50 72 78L44 80Z" fill="${tones.light}"/><path d="M44 8Q58 50 56 79L44 80Z" fill="#000" opacity=".1"/>` +
      `<path d="M40 14Q20 54 14 78L40 80Z" fill="${tones.mid}"/><path d="M6 84H80Q75 98 64 100H22Q11 98 6 84Z" fill="${tones.dark}"/><path d="M6 84H80L79 87H7Z" fill="${tones.accent}"/>`,
  }
}

function drawTree(tones: Tones): Drawing {
  const leaves = Array.from({ length: 90 }, () => {
    const angle = tones.dice.next() * Math.PI * 2
    const reach = Math.sqrt(tones.dice.next())
    const x = 55 + Math.cos(angle) * reach * 40
    const y = 36 + Math.sin(angle) * reach * 27
    const tone = x + (60 - y) * 0.6 + tones.dice.between(-22, 22)
    const fill = tone > 78 ? tones.light : tone > 52 ? tones.mid : tones.dark
    return {
      y,
      tag: `<ellipse cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" rx="${tones.dice.between(4, 9).toFixed(1)}" ry="${tones.dice.between(3, 6).toFixed(1)}" fill="${fill}"/>`,
    }
  })
  leaves.sort((a, b) => b.y - a.y)
  return {
    width: 110,
    body:
      `<path d="M50 100Q54 78 52 58L36 40L39 39L54 52L56 30L59 30L59 52L74 38L76 40L60 60Q59 80 64 100Z" fill="${tones.dark}"/>` +
      leaves.map((leaf) => leaf.tag).join(""),
  }
}

function drawPalm(tones: Tones): Drawing {
  const fronds = Array.from({ length: 9 }, (_, index) => {
    const angle = -200 + index * 27 + tones.dice.between(-8, 8)
    const long = tones.dice.between(26, 34)
    const fill = angle > -90 && angle < 0 ? tones.mid : tones.dark
    return `<path transform="translate(44 24) rotate(${angle.toFixed(1)})" d="M0 0Q${long * 0.5} -9 ${long} 7Q${long * 0.5} -1 0 2Z" fill="${fill}"/>`
  })
  return {
    width: 90,
    body:
      `<path d="M50 100Q46 60 42.500 24L45.500 24Q51 60 56 100Z" fill="${tones.dark}"/>` +
      `<path d="M54 100Q49.500 60 44.800 24L45.500 24Q51 60 56 100Z" fill="${tones.mid}"/>${fronds.join("")}` +
      `<circle cx="43" cy="26" r="2.200" fill="${tones.dark}"/><circle cx="46.500" cy="27" r="2" fill="${tones.dark}"/>`,
  }
}

function drawBalloon(tones: Tones): Drawing {
  const stripes = [0, 1, 2]
    .map(
      (index) =>
        `<ellipse cx="35" cy="36" rx="${[34, 22, 8][index]}" ry="35" fill="${[tones.accent, tones.light, tones.accent][index]}"/>`,
    )
    .join("")
  return {
    width: 70,
    body:
      `<defs><linearGradient id="v"><stop offset="0" stop-color="#000" stop-opacity=".5"/><stop offset=".7" stop-color="#000" stop-opacity="0"/></linearGradient></defs>${stripes}` +
      `<path d="M4 50Q14 72 28 82H42Q56 72 66 50Z" fill="${tones.accent}"/><path d="M20 60Q26 76 31 82H39Q44 76 50 60Z" fill="${tones.light}"/>` +
      `<path d="M1 36a34 35 0 0 1 68 0Q66 66 42 82H28Q4 66 1 36Z" fill="url(#v)"/><path d="M29 82L31 90M41 82L39 90" stroke="${tones.dark}" stroke-width=".8"/><path d="M29.5 90h11v9h-11z" fill="${tones.dark}"/>`,
  }
}

function drawBirds(tones: Tones): Drawing {
  const birds = Array.from({ length: 6 }, (_, index) => {
    const x = 18 + index * 26 + tones.dice.between(-8, 8)
    const y = 30 + tones.dice.between(-22, 45)
    const wide = tones.dice.between(8, 13)
    const lift = tones.dice.between(3, 8)
    return `<path d="M${x - wide} ${y - lift}Q${x - wide / 2} ${y - lift - 2} ${x} ${y}Q${x + wide / 2} ${y - lift - 2} ${x + wide} ${y - lift}Q${x + wide / 2} ${y - lift + 1} ${x} ${y + 2.4}Q${x - wide / 2} ${y - lift + 1} ${x - wide} ${y - lift}Z" fill="${tones.dark}"/>`
  })
  return { width: 180, body: birds.join("") }
}

function drawPerson(tones: Tones): Drawing {
  return {
    width: 40,
    body:
      `<defs>${sideLight("s", tones)}</defs><ellipse cx="20" cy="9" rx="5.4" ry="6.6" fill="${tones.skin}"/>` +
      `<path d="M14 9Q13 1.6 20 1.6Q27 1.6 26 8Q23 4.6 18 5.4Q15 7 14 9Z" fill="${tones.dark}"/>` +
      `<path d="M17.6 14h5v4h-5z" fill="${tones.skin}"/><path d="M11 22Q12 17 18 16.6H22.4Q28 17 29 22L32 46L29.4 48L26.6 34L28 58H12L13.4 34L10.6 48L8 46Z" fill="url(#s)"/>` +
      `<path d="M12.6 57H27.6L26 97L29 100H22L20.4 68L18.4 100H11.4L14 97Z" fill="${tones.dark}"/><path d="M13 20L27 22L28 30Q20 26 12.4 29Z" fill="${tones.accent}"/><path d="M25 26L31 40L28 41L23.6 28Z" fill="${tones.accent}"/>`,
  }
}

function drawBust(tones: Tones): Drawing {
  return {
    width: 96,
    body:
      `<defs>${sideLight("s", tones)}<linearGradient id="f"><stop offset="0" stop-color="#20141c" stop-opacity=".72"/><stop offset=".55" stop-color="#20141c" stop-opacity=".12"/><stop offset="1" stop-color="#fff" stop-opacity=".22"/></linearGradient></defs>` +
      `<path d="M24 44Q18 10 48 8Q80 9 74 46Q78 66 68 74H30Q20 66 24 44Z" fill="${tones.dark}"/>` +
      `<path d="M41 60h15v18h-15z" fill="${tones.skin}"/><path d="M41 62Q49 72 56 62V74H41Z" fill="#000" opacity=".3"/>` +
      `<path d="M4 100Q8 80 34 76L41 73Q48.500 81 56 73L63 76Q88 80 92 100Z" fill="${tones.accent}"/><path d="M4 100Q8 80 34 76L41 73Q48.500 81 56 73L63 76Q88 80 92 100Z" fill="url(#f)"/>` +
      `<path d="M31 36Q31 18 48.500 18Q66 18 66 38Q65 54 58 61Q49 69 40 61Q32 53 31 36Z" fill="${tones.skin}"/><path d="M31 36Q31 18 48.500 18Q66 18 66 38Q65 54 58 61Q49 69 40 61Q32 53 31 36Z" fill="url(#f)"/>` +
      `<path d="M29 42Q26 16 48 14Q70 14 68 44Q66 28 56 24Q42 26 34 30Q31 34 29 42Z" fill="${tones.dark}"/>` +
      `<path d="M36 36q5 -3 9.500 0M53 36q4.500 -3 9 0" stroke="${tones.dark}" stroke-width="1.300" fill="none" stroke-linecap="round"/>` +
      `<path d="M37 41q4 -3 8 0q-4 2.600 -8 0ZM53.500 41q4 -3 8 0q-4 2.600 -8 0Z" fill="#f6efe6"/><circle cx="41.300" cy="40.800" r="1.700" fill="#241a1c"/><circle cx="57.500" cy="40.800" r="1.700" fill="#241a1c"/>` +
      `<path d="M50 41q1.500 6 2 8.500q-2 1.600 -4 .6" stroke="#4a2a26" stroke-opacity=".55" stroke-width=".9" fill="none"/><path d="M43.500 55q3 -1.600 5.500 -.6q2.500 -1 5.500 .6q-5.500 4 -11 0Z" fill="#a8464a"/>`,
  }
}

function catEye(x: number): string {
  return `<ellipse cx="${x}" cy="27" rx="3.600" ry="3.900" fill="#f4c64a"/><ellipse cx="${x}" cy="27" rx="1.100" ry="3.500" fill="#16110e"/><circle cx="${x + 0.9}" cy="25.500" r=".8" fill="#fff"/>`
}

function drawCat(tones: Tones): Drawing {
  return {
    width: 74,
    body:
      `<defs>${sideLight("s", tones)}</defs><path d="M52 92Q74 92 70 68Q68 58 64 60Q66 80 50 82Z" fill="${tones.mid}"/>` +
      `<path d="M18 98Q14 66 24 48Q36 38 46 48Q58 66 55 98Z" fill="url(#s)"/>` +
      `<path d="M17 26L15 5L28 13Q35.500 11 43 13L56 5L54 26Q56 42 46 46.500Q35.500 51 25 46.500Q15 42 17 26Z" fill="url(#s)"/>` +
      `<path d="M18.500 17L18 9L25 13.500ZM52.500 17L53 9L46 13.500Z" fill="${tones.skin}" opacity=".8"/>${catEye(28)}${catEye(43)}` +
      `<path d="M33.600 35h4l-2 2.600z" fill="#c0707a"/><path d="M35.600 37.600q-2.600 4 -5.600 2M35.600 37.600q2.600 4 5.600 2" stroke="${tones.dark}" stroke-width=".8" fill="none"/>` +
      `<path d="M26 37L9 33M26 39L9 41M45 37L62 33M45 39L62 41" stroke="#fff" stroke-opacity=".65" stroke-width=".4"/>` +
      `<path d="M30 14L31.600 21M35.600 13V21M41 14L39.600 21M20 60Q25 62 28 60M19 68Q25 71 29 69M52 60Q48 62 45 60M54 68Q48 71 44 69" stroke="${tones.dark}" stroke-width="1.600" stroke-opacity=".5" fill="none"/>` +
      `<path d="M35.600 62V96" stroke="${tones.dark}" stroke-opacity=".5"/><ellipse cx="28" cy="96.500" rx="8" ry="3.500" fill="${tones.light}"/><ellipse cx="43" cy="96.500" rx="8" ry="3.500" fill="${tones.light}"/>`,
  }
}

function drawDog(tones: Tones): Drawing {
  return {
    width: 80,
    body:
      `<defs>${sideLight("s", tones)}</defs><path d="M14 80Q0 76 4 58Q10 66 20 70Z" fill="${tones.mid}"/>` +
      `<path d="M12 98Q8 62 34 46L42 30L58 38Q60 60 54 98H44L43 76Q34 86 30 98Z" fill="url(#s)"/>` +
      `<path d="M36 28Q34 12 48 10L54 2L58 11Q62 14 64 19L77 24Q78 32 68 33L58 34Q54 44 46 42Q38 40 36 28Z" fill="url(#s)"/>` +
      `<path d="M40 12L34 4Q30 16 36 28Q42 24 46 12Z" fill="${tones.dark}"/><circle cx="59" cy="20" r="1.600" fill="#16110e"/><ellipse cx="75.500" cy="25" rx="2.400" ry="2" fill="#16110e"/>` +
      `<path d="M40 42Q48 48 57 42L56 47Q47 52 39 46Z" fill="${tones.accent}"/>`,
  }
}

function drawFlower(tones: Tones): Drawing {
  const turn = tones.dice.between(0, 30)
  const ring = (count: number, length: number, wide: number, shift: number, opacity: number) =>
    Array.from({ length: count }, (_, index) => {
      const angle = turn + shift + (index * 360) / count
      return `<path transform="translate(45 36) rotate(${angle.toFixed(1)})" d="M0 0Q${-wide} ${-length * 0.55} ${-wide * 0.35} ${-length * 0.93}Q0 ${-length * 1.06} ${wide * 0.35} ${-length * 0.93}Q${wide} ${-length * 0.55} 0 0Z" fill="url(#p)" stroke="${tones.dark}" stroke-opacity=".25" stroke-width=".4" opacity="${opacity}"/>`
    }).join("")
  const seeds = Array.from({ length: 60 }, (_, index) => {
    const angle = index * 2.39996
    const reach = Math.sqrt(index / 60) * 8
    return `<circle cx="${(45 + Math.cos(angle) * reach).toFixed(2)}" cy="${(36 + Math.sin(angle) * reach).toFixed(2)}" r=".75" fill="#3a2410"/>`
  }).join("")
  return {
    width: 90,
    body:
      `<defs><linearGradient id="p" x1="0" x2="0" y1="0" y2="1"><stop offset="0" stop-color="${tones.light}"/><stop offset=".45" stop-color="${tones.accent}"/><stop offset="1" stop-color="${tones.dark}"/></linearGradient></defs>` +
      `<path d="M44 40Q50 70 43 101H47Q53 70 46.500 40Z" fill="#3f6b32"/><path d="M47 76Q60 60 76 64Q66 80 47 82Z" fill="#4d7f3b"/><path d="M45 86Q30 72 16 78Q26 92 45 91Z" fill="#3a6230"/>` +
      ring(13, 34, 9, 0, 1) +
      ring(11, 27, 8, 14, 1) +
      ring(9, 19, 6.5, 5, 1) +
      `<circle cx="45" cy="36" r="9" fill="#e0a52e"/>${seeds}`,
  }
}
