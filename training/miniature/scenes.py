"""Procedurally drawn scenes: what the miniature model learns from.

A `Scene` says what is in the picture; `sample(seed)` chooses one and `draw(scene)` paints it.
The same seed gives the same scene and the same bytes. Every length is in pixels of a picture of
`SIDE` x `SIDE`; shapes are told in units of the thing's radius, x to the right, y downwards.

The test split draws pairs of kind and colour (`HELD_OUT_PAIRS`) that the training split never
draws; half of its things are such pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIDE = 128

KINDS = (
    "circle", "square", "triangle", "star", "ring", "heart", "cross", "sun", "moon", "tree",
    "house", "mountain", "boat", "flower", "fish",
)

# Brown is no colour of things: trunks, roofs and masts are brown, and it lies close to orange.
COLOURS = {
    "red": (220, 38, 38),
    "orange": (245, 132, 24),
    "yellow": (250, 214, 40),
    "green": (40, 160, 72),
    "blue": (40, 90, 215),
    "purple": (132, 56, 178),
    "pink": (250, 138, 190),
    "white": (252, 252, 252),
    "black": (26, 26, 30),
}

BACKGROUNDS = (
    "plain", "sky", "sea", "grass", "night", "gradient", "stripes", "checks", "noise",
)

PLACES = {
    "centre": (0, 0),
    "left": (-1, 0),
    "right": (1, 0),
    "top": (0, -1),
    "bottom": (0, 1),
    "top left": (-1, -1),
    "top right": (1, -1),
    "bottom left": (-1, 1),
    "bottom right": (1, 1),
}

RELATIONS = ("left of", "right of", "above", "below")
SIZES = ("small", "medium", "large")

# One colour of each kind (and of star two), stepped so that every kind and every colour is still
# seen in other pairs, and pairs that everybody asks first (yellow sun, green tree) are trained.
HELD_OUT_PAIRS = frozenset(
    (kind, tuple(COLOURS)[(4 * index + 5) % len(COLOURS)]) for index, kind in enumerate(KINDS)
) | {("star", "orange")}

# Where a thing would vanish, or could not be told from what is behind it.
VANISHING = frozenset(
    {
        ("white", "plain"),
        ("blue", "sky"),
        ("blue", "sea"),
        ("green", "grass"),
        ("black", "night"),
        ("blue", "night"),
    }
)

# Calm tones, dark enough for white to stand out and grey enough for every colour to.
TONES = np.array(
    [
        (204, 194, 170),
        (174, 188, 200),
        (176, 194, 170),
        (194, 182, 206),
        (210, 188, 180),
        (188, 188, 188),
    ],
    dtype=np.float32,
)

BROWN = (112, 72, 46)
STEM = (30, 104, 52)
SNOW = (240, 244, 250)
OVERSAMPLING = 4
MARGIN = 3

ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
# 0 at the upper edge, 1 at the lower one.
DOWN = (ROWS / (SIDE - 1))[..., None]


@dataclass(frozen=True)
class Thing:
    kind: str
    colour: str
    size: str
    x: float
    y: float
    radius: float
    turn: float  # radians
    rgb: tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    layout: str  # "single" | "placed" | "pair" | "count"
    things: tuple[Thing, ...]
    background: str
    seed: int
    relation: str | None = None  # of the first thing to the second
    place: str | None = None


def compatible(colour: str, background: str) -> bool:
    return (colour, background) not in VANISHING


# --- choosing ---------------------------------------------------------------------------------


def pick(rng: np.random.Generator, options):
    """One of the options; much faster than `rng.choice`, which makes an array first."""
    return options[int(rng.random() * len(options))]


TRAINED_PAIRS = tuple(
    (kind, colour)
    for kind in KINDS
    for colour in COLOURS
    if (kind, colour) not in HELD_OUT_PAIRS
)
TESTED_PAIRS = tuple(sorted(HELD_OUT_PAIRS))


def pick_pair(rng: np.random.Generator, split: str) -> tuple[str, str]:
    held_out = split == "test" and rng.random() < 0.5
    return pick(rng, TESTED_PAIRS if held_out else TRAINED_PAIRS)


def pick_background(rng: np.random.Generator, colours) -> str:
    fitting = [b for b in BACKGROUNDS if all(compatible(c, b) for c in colours)]
    return pick(rng, fitting)


def make_thing(rng, kind, colour, size, x, y, radius) -> Thing:
    turn = (rng.random() - 0.5) * 0.16
    shade = (rng.random(3) - 0.5) * 14 + (rng.random() - 0.5) * 10
    rgb = tuple(int(c) for c in np.clip(np.array(COLOURS[colour]) + shade, 0, 255))
    room = SIDE - 1 - radius - MARGIN
    x = float(np.clip(x, radius + MARGIN, room))
    y = float(np.clip(y, radius + MARGIN, room))
    return Thing(kind, colour, size, x, y, float(radius), float(turn), rgb)


def between(rng, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def sample_single(rng, split, seed) -> Scene:
    kind, colour = pick_pair(rng, split)
    chance = rng.random()
    size = "small" if chance < 0.27 else "large" if chance < 0.55 else "medium"
    low, high = {"small": (14, 17), "medium": (25, 30), "large": (42, 48)}[size]
    middle = SIDE / 2
    x, y = middle + between(rng, -14, 14), middle + between(rng, -14, 14)
    thing = make_thing(rng, kind, colour, size, x, y, between(rng, low, high))
    return Scene("single", (thing,), pick_background(rng, [colour]), seed)


def sample_placed(rng, split, seed) -> Scene:
    kind, colour = pick_pair(rng, split)
    place = pick(rng, tuple(PLACES))
    right, down = PLACES[place]
    x = SIDE / 2 + 38 * right + between(rng, -4, 4)
    y = SIDE / 2 + 38 * down + between(rng, -4, 4)
    size = "small" if rng.random() < 0.3 else "medium"
    low, high = (14, 17) if size == "small" else (19, 23)
    thing = make_thing(rng, kind, colour, size, x, y, between(rng, low, high))
    return Scene("placed", (thing,), pick_background(rng, [colour]), seed, place=place)


def sample_pair(rng, split, seed) -> Scene:
    first, second = pick_pair(rng, split), pick_pair(rng, split)
    while first[1] == second[1]:
        second = pick_pair(rng, split)
    while not any(compatible(first[1], b) and compatible(second[1], b) for b in BACKGROUNDS):
        second = pick_pair(rng, split)
    relation = pick(rng, RELATIONS)
    sign = -1 if relation in ("left of", "above") else 1
    things = []
    for (kind, colour), side in ((first, sign), (second, -sign)):
        along = SIDE / 2 + side * 31 + between(rng, -4, 4)
        across = SIDE / 2 + between(rng, -12, 12)
        x, y = (along, across) if relation in ("left of", "right of") else (across, along)
        things.append(make_thing(rng, kind, colour, "medium", x, y, between(rng, 19, 25)))
    background = pick_background(rng, [first[1], second[1]])
    return Scene("pair", tuple(things), background, seed, relation=relation)


# Where the things of a group stand, in units of its spread.
GROUPS = {
    2: (((-1, 0), (1, 0)), ((0, -1), (0, 1)), ((-1, -0.8), (1, 0.8)), ((-1, 0.8), (1, -0.8))),
    3: (((-1, 0.85), (1, 0.85), (0, -0.9)), ((-1, -0.85), (1, -0.85), (0, 0.9))),
    4: (((-1, -1), (1, -1), (-1, 1), (1, 1)),),
}


def sample_count(rng, split, seed) -> Scene:
    kind, colour = pick_pair(rng, split)
    places = pick(rng, GROUPS[2 + int(rng.random() * 3)])
    size = "small" if rng.random() < 0.25 else "medium"
    low, high = (13.5, 16) if size == "small" else (19, 23)
    radius = between(rng, low, high)
    rgb_source = make_thing(rng, kind, colour, size, 64, 64, radius)
    things = []
    for x, y in places:
        x, y = SIDE / 2 + 30 * x + between(rng, -3, 3), SIDE / 2 + 30 * y + between(rng, -3, 3)
        thing = make_thing(rng, kind, colour, size, x, y, radius * between(rng, 0.95, 1.0))
        things.append(Thing(**{**thing.__dict__, "rgb": rgb_source.rgb}))
    return Scene("count", tuple(things), pick_background(rng, [colour]), seed)


def sample(seed: int, split: str = "train") -> Scene:
    """The scene of this seed. `sample(7)`; the test split has scenes of its own for each seed."""
    if split not in ("train", "test"):
        raise ValueError(f"no split {split!r}: train or test")
    rng = np.random.default_rng([seed, 0 if split == "train" else 1])
    chance = rng.random()
    if chance < 0.45:
        return sample_single(rng, split, seed)
    if chance < 0.75:
        return sample_pair(rng, split, seed)
    if chance < 0.90:
        return sample_count(rng, split, seed)
    return sample_placed(rng, split, seed)


# --- backgrounds ------------------------------------------------------------------------------


def blend(start, end, weight) -> np.ndarray:
    start, end = np.asarray(start, np.float32), np.asarray(end, np.float32)
    return start + (end - start) * weight


def paint_plain(rng) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), (240, 238, 232), np.float32) + (rng.random(3) - 0.5) * 6


def paint_sky(rng) -> np.ndarray:
    picture = blend((104, 178, 236), (160, 210, 246), DOWN)
    for _ in range(3):
        x, y, width = rng.random() * SIDE, rng.random() * SIDE, 14 + 12 * rng.random()
        far = ((COLUMNS - x) / width) ** 2 + ((ROWS - y) / (width * 0.36)) ** 2
        picture += (np.clip(1.25 - far, 0, 0.5) * np.float32(46))[..., None] * np.float32(
            (0.9, 0.6, 0.3)
        )
    return picture


def paint_sea(rng) -> np.ndarray:
    picture = blend((38, 136, 168), (14, 92, 132), DOWN)
    wave = np.sin(COLUMNS * 0.26 + rng.random() * 6) * 2.2
    crest = np.abs((ROWS + wave + rng.random() * 14) % 14 - 7)
    return picture + (np.clip(1.6 - crest, 0, 1) * 26)[..., None]


def paint_grass(rng) -> np.ndarray:
    picture = blend((150, 204, 108), (118, 180, 80), DOWN)
    tufts = np.zeros((SIDE, SIDE), np.float32)
    for x, y in (rng.random((26, 2)) * (SIDE - 8)).astype(int):
        tufts[y : y + 5, x] = tufts[y + 2 : y + 5, x + 2] = tufts[y + 1 : y + 5, x + 4] = 1
    return picture - tufts[..., None] * np.float32((30, 26, 30))


def paint_night(rng) -> np.ndarray:
    picture = blend((14, 16, 52), (40, 40, 92), DOWN)
    places = (rng.random((22, 2)) * (SIDE - 1)).astype(int)
    picture[places[:, 1], places[:, 0]] = (225, 222, 190)
    return picture


def paint_gradient(rng) -> np.ndarray:
    start, end = TONES[rng.permutation(len(TONES))[:2]]
    angle = rng.random() * 2 * math.pi
    along = (COLUMNS - 64) * math.cos(angle) + (ROWS - 64) * math.sin(angle)
    return blend(start + 12, end - 12, (along / 150 + 0.5)[..., None])


def two_tones(rng) -> tuple[np.ndarray, np.ndarray]:
    tone = pick(rng, TONES)
    return tone + 13, tone - 13


def paint_stripes(rng) -> np.ndarray:
    light, dark = two_tones(rng)
    way = pick(rng, ((1, 0), (0, 1), (0.7, 0.7)))
    along = COLUMNS * way[0] + ROWS * way[1] + rng.random() * 24
    return np.where((along % 24 < 12)[..., None], light, dark)


def paint_checks(rng) -> np.ndarray:
    light, dark = two_tones(rng)
    return np.where((((COLUMNS // 16) + (ROWS // 16)) % 2 < 1)[..., None], light, dark)


def paint_noise(rng) -> np.ndarray:
    grain = (rng.random((SIDE // 4, SIDE // 4, 1)) - 0.5) * 44
    return pick(rng, TONES) + grain.repeat(4, axis=0).repeat(4, axis=1)


PAINT_BACKGROUND = {
    "plain": paint_plain,
    "sky": paint_sky,
    "sea": paint_sea,
    "grass": paint_grass,
    "night": paint_night,
    "gradient": paint_gradient,
    "stripes": paint_stripes,
    "checks": paint_checks,
    "noise": paint_noise,
}


# --- things -----------------------------------------------------------------------------------


class Pen:
    """Draws in units of the thing's radius on its enlarged tile."""

    def __init__(self, tile: Image.Image, centre, radius: float, turn: float):
        self.draw = ImageDraw.Draw(tile)
        self.x, self.y = centre
        self.radius = radius
        self.cos, self.sin = math.cos(turn), math.sin(turn)

    def place(self, x: float, y: float) -> tuple[float, float]:
        across, down = x * self.cos - y * self.sin, x * self.sin + y * self.cos
        return self.x + across * self.radius, self.y + down * self.radius

    def polygon(self, points, colour) -> None:
        self.draw.polygon([self.place(x, y) for x, y in points], fill=colour)

    def oval(self, x, y, width, height, colour) -> None:
        x, y = self.place(x, y)
        width, height = width * self.radius, height * self.radius
        self.draw.ellipse((x - width, y - height, x + width, y + height), fill=colour)


def around(count: int, outer: float, inner: float) -> list[tuple[float, float]]:
    """The corners of a star of `count` points, the first one up."""
    corners = []
    for step in range(count * 2):
        far, angle = (outer, inner)[step % 2], math.pi * step / count
        corners.append((far * math.sin(angle), -far * math.cos(angle)))
    return corners


def heart_outline() -> list[tuple[float, float]]:
    points = []
    for step in range(48):
        t = 2 * math.pi * step / 48
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((math.sin(t) ** 3, -(y + 2.5) / 15.5))
    return points


def moon_outline() -> list[tuple[float, float]]:
    """A disc less another one: out along its rim, back along the other's, horn to horn."""
    shift, inner = 0.52, 0.80
    x = (1 - inner**2 + shift**2) / (2 * shift)
    outer_horn = math.atan2(math.sqrt(1 - x * x), x)
    inner_horn = math.atan2(math.sqrt(1 - x * x), x - shift)
    points = []
    for step in range(41):
        angle = outer_horn + (2 * math.pi - 2 * outer_horn) * step / 40
        points.append((math.cos(angle), math.sin(angle)))
    for step in range(41):
        angle = -inner_horn - (2 * math.pi - 2 * inner_horn) * step / 40
        points.append((shift + inner * math.cos(angle), inner * math.sin(angle)))
    return [(x + 0.12, y) for x, y in points]


HEART = heart_outline()
MOON = moon_outline()
STAR = [(x, y + 0.06) for x, y in around(5, 1.0, 0.42)]
PLUS = [
    (-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3), (0.3, 0.3),
    (0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3), (-0.3, -0.3),
]  # fmt: skip
PETALS = [(0.36 * math.sin(a), -0.32 - 0.36 * math.cos(a)) for a in np.arange(6) * math.pi / 3]


def draw_sun(pen: Pen, colour) -> None:
    pen.oval(0, 0, 0.64, 0.64, colour)
    for angle in np.arange(10) * math.pi / 5:
        along, aside = (math.sin(angle), -math.cos(angle)), (math.cos(angle), math.sin(angle))
        points = [(0.55, 0.18), (1.0, 0.0), (0.55, -0.18)]
        pen.polygon(
            [tuple(far * a + wide * b for a, b in zip(along, aside)) for far, wide in points],
            colour,
        )


def draw_tree(pen: Pen, colour) -> None:
    pen.polygon([(-0.15, 0.1), (0.15, 0.1), (0.2, 0.98), (-0.2, 0.98)], BROWN)
    for x, y, width in ((0, -0.5, 0.48), (-0.38, -0.08, 0.42), (0.38, -0.08, 0.42)):
        pen.oval(x, y, width, width, colour)


def draw_house(pen: Pen, colour) -> None:
    pen.polygon([(-0.74, -0.14), (0.74, -0.14), (0.74, 0.92), (-0.74, 0.92)], colour)
    pen.polygon([(-1, -0.1), (0, -0.95), (1, -0.1)], BROWN)
    pen.polygon([(-0.46, 0.36), (-0.12, 0.36), (-0.12, 0.92), (-0.46, 0.92)], BROWN)
    pen.polygon([(0.14, 0.16), (0.5, 0.16), (0.5, 0.5), (0.14, 0.5)], (255, 240, 176))


def draw_mountain(pen: Pen, colour) -> None:
    pen.polygon([(-1, 0.72), (-0.3, -0.78), (0.14, 0.06), (0.44, -0.38), (1, 0.72)], colour)
    pen.polygon(
        [(-0.3, -0.78), (-0.505, -0.34), (-0.36, -0.44), (-0.26, -0.3), (-0.07, -0.34)], SNOW
    )


def draw_boat(pen: Pen, colour) -> None:
    pen.polygon([(-0.06, -0.98), (0.05, -0.98), (0.05, 0.3), (-0.06, 0.3)], BROWN)
    pen.polygon([(0.05, -0.9), (0.78, 0.26), (0.05, 0.26)], colour)
    pen.polygon([(-0.06, -0.6), (-0.06, 0.26), (-0.6, 0.26)], colour)
    pen.polygon([(-1, 0.26), (1, 0.26), (0.62, 0.88), (-0.62, 0.88)], colour)


def draw_flower(pen: Pen, colour, name: str) -> None:
    pen.polygon([(-0.07, 0.1), (0.07, 0.1), (0.07, 1), (-0.07, 1)], STEM)
    pen.polygon([(0.04, 0.86), (0.2, 0.52), (0.56, 0.46), (0.4, 0.76)], STEM)
    for x, y in PETALS:
        pen.oval(x, y, 0.27, 0.27, colour)
    heart = BROWN if name in ("yellow", "orange", "white") else COLOURS["yellow"]
    pen.oval(0, -0.32, 0.22, 0.22, heart)


def draw_fish(pen: Pen, colour, name: str) -> None:
    pen.polygon([(-0.34, 0), (-0.98, -0.52), (-0.84, 0), (-0.98, 0.52)], colour)
    pen.polygon([(-0.2, -0.3), (0.12, -0.74), (0.42, -0.3)], colour)
    pen.oval(0.24, 0, 0.74, 0.46, colour)
    pen.oval(0.56, -0.1, 0.13, 0.13, COLOURS["yellow" if name == "white" else "white"])
    pen.oval(0.58, -0.1, 0.06, 0.06, COLOURS["black"])


def draw_ring(pen: Pen, colour, behind: Image.Image) -> None:
    """The hole shows what lies behind, so it is cut out of the disc and not painted over it."""
    mask = Image.new("L", behind.size, 0)
    cut = Pen(mask, (pen.x, pen.y), pen.radius, 0)
    cut.oval(0, 0, 0.95, 0.95, 255)
    cut.oval(0, 0, 0.56, 0.56, 0)
    behind.paste(colour, (0, 0), mask)


def draw_thing(canvas: Image.Image, thing: Thing) -> None:
    reach = math.ceil(thing.radius * 1.08) + 2
    left, top = int(thing.x) - reach, int(thing.y) - reach
    box = (left, top, left + 2 * reach + 1, top + 2 * reach + 1)
    tile = canvas.crop(box)
    scale = OVERSAMPLING
    tile = tile.resize((tile.width * scale, tile.height * scale), Image.Resampling.NEAREST)
    centre = ((thing.x - left + 0.5) * scale, (thing.y - top + 0.5) * scale)
    pen = Pen(tile, centre, thing.radius * scale, thing.turn)
    kind, colour = thing.kind, thing.rgb
    if kind == "circle":
        pen.oval(0, 0, 0.93, 0.93, colour)
    elif kind == "square":
        pen.polygon([(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)], colour)
    elif kind == "triangle":
        pen.polygon([(0, -0.95), (0.98, 0.78), (-0.98, 0.78)], colour)
    elif kind in OUTLINES:
        pen.polygon(OUTLINES[kind], colour)
    elif kind == "ring":
        draw_ring(pen, colour, tile)
    elif kind in ("flower", "fish"):
        (draw_flower if kind == "flower" else draw_fish)(pen, colour, thing.colour)
    else:
        DRAW_BUILT[kind](pen, colour)
    canvas.paste(tile.reduce(scale), box[:2])


OUTLINES = {"star": STAR, "heart": HEART, "cross": PLUS, "moon": MOON}
DRAW_BUILT = {
    "sun": draw_sun,
    "tree": draw_tree,
    "house": draw_house,
    "mountain": draw_mountain,
    "boat": draw_boat,
}


def draw(scene: Scene) -> np.ndarray:
    """The picture, uint8[SIDE, SIDE, 3]: `draw(sample(7))`."""
    rng = np.random.default_rng([scene.seed, 2])
    background = PAINT_BACKGROUND[scene.background](rng)
    canvas = Image.fromarray(np.clip(background, 0, 255).astype(np.uint8))
    for thing in scene.things:
        draw_thing(canvas, thing)
    return np.asarray(canvas).copy()
