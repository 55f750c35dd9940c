"""An independent eye: finds the things in a picture and says whether they are what was asked.

Knows nothing of the drawing code. Colours are told apart in CIELAB against a background that is
read off the picture's border; things are connected regions of one named colour; their kinds come
from shape features (moments, solidity, holes, radial profile, a coarse raster of the body and of
the whole outline, shares of brown and stem green) through a linear classifier, whose weights
`fit_checker.py` fitted once to drawings and stored in `checker_shapes.json`.

    find_things(picture)      what is in a uint8[height, width, 3] picture of 128 x 128
    check(picture, asked)     which of the asked facts hold; `asked` as in held_out.json
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import ndimage

SIDE = 128
SHAPES = Path(__file__).with_name("checker_shapes.json")

NAMED = {
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
# Parts that are no thing of their own: trunks and roofs, stems.
PARTS = {"brown": (112, 72, 46), "stem": (30, 104, 52)}

# Lightness counts less than hue: a shaded red is still red.
LIGHTNESS_WEIGHT = 0.7
COLOUR_DISTANCE_MAX = 34.0
BACKGROUND_DISTANCE_MIN = 13.0
BORDER = 3
# A border colour with a smaller share is a thing that touches the border, not the background.
BORDER_SHARE_MIN = 0.06
BORDER_CLUSTER_RADIUS = 9.0
AREA_MIN = 50
RASTER = 10
RELATION_MIN = 0.1 * SIDE
SMALL_MAX, LARGE_MIN = 42, 66

PLACES = {
    "centre": (1, 1), "left": (0, 1), "right": (2, 1), "top": (1, 0), "bottom": (1, 2),
    "top left": (0, 0), "top right": (2, 0), "bottom left": (0, 2), "bottom right": (2, 2),
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    colour: str
    kind: str
    box: tuple[int, int, int, int]  # left, top, right, bottom of the whole outline
    area: int
    centroid: tuple[float, float]  # x, y of the body

    @property
    def centre(self) -> tuple[float, float]:
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    @property
    def size(self) -> str:
        left, top, right, bottom = self.box
        extent = max(right - left, bottom - top)
        return "small" if extent < SMALL_MAX else "large" if extent > LARGE_MIN else "medium"


# --- colours ----------------------------------------------------------------------------------


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of sRGB 0..255, lightness weighted."""
    table = np.arange(256, dtype=np.float32) / 255
    table = np.where(table > 0.04045, ((table + 0.055) / 1.055) ** 2.4, table / 12.92)
    linear = table[np.asarray(rgb, np.uint8)].astype(np.float32)
    to_xyz = np.array(
        [
            (0.4124, 0.3576, 0.1805),
            (0.2126, 0.7152, 0.0722),
            (0.0193, 0.1192, 0.9505),
        ],
        np.float32,
    )
    xyz = linear @ to_xyz.T / np.float32((0.9505, 1.0, 1.089))
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack(
        [LIGHTNESS_WEIGHT * (116 * y - 16), 500 * (x - y), 200 * (y - z)], axis=-1
    ).astype(np.float32)


COLOUR_NAMES = (*NAMED, *PARTS)
COLOUR_LABS = to_lab(np.array([*NAMED.values(), *PARTS.values()], np.uint8))


def distances(lab: np.ndarray, palette: np.ndarray) -> np.ndarray:
    return np.stack([np.sqrt(((lab - colour) ** 2).sum(axis=-1)) for colour in palette], axis=-1)


def border_palette(lab: np.ndarray) -> np.ndarray:
    """The colours of the border that are common enough to be the background."""
    inside = np.zeros(lab.shape[:2], bool)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    rest = lab[~inside]
    total, clusters = len(rest), []
    while len(rest) > total * 0.02 and len(clusters) < 16:
        near = distances(rest, [np.median(rest, axis=0)])[:, 0] < BORDER_CLUSTER_RADIUS
        if not near.any():
            near = distances(rest, [rest[0]])[:, 0] < BORDER_CLUSTER_RADIUS
        if near.sum() >= total * BORDER_SHARE_MIN or not clusters:
            clusters.append(rest[near].mean(axis=0))
        rest = rest[~near]
    return np.array(clusters)


# --- regions ----------------------------------------------------------------------------------


@dataclass
class Region:
    colour: str
    body: np.ndarray  # bool[SIDE, SIDE]
    box: tuple[slice, slice]
    area: int


def segment(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Index of the named colour of each pixel (-1: none), what is not background, and Lab."""
    # A median of three keeps edges and takes away noise and the stars of the night.
    smooth = ndimage.median_filter(picture, size=(3, 3, 1))
    lab = to_lab(smooth)
    behind = distances(lab, border_palette(lab)).min(axis=-1)
    named = distances(lab, COLOUR_LABS)
    nearest, near = named.argmin(axis=-1), named.min(axis=-1)
    foreground = behind > BACKGROUND_DISTANCE_MIN
    is_named = foreground & (near < COLOUR_DISTANCE_MAX) & (near < behind)
    return np.where(is_named, nearest, -1), foreground, lab


def inside(box: tuple[slice, slice], other: tuple[slice, slice], slack: int = 3) -> bool:
    """Whether at least four fifths of the box lie in the other one."""
    shared = size = 1
    for own, around in zip(box, other):
        size *= own.stop - own.start
        low, high = max(own.start, around.start - slack), min(own.stop, around.stop + slack)
        shared *= max(0, high - low)
    return shared >= 0.8 * size


def caps(region: Region, other: Region) -> bool:
    """Whether the region is a small part that touches the other, as snow caps a mountain."""
    if region.area > 0.25 * other.area:
        return False
    return bool((ndimage.binary_dilation(region.body, iterations=3) & other.body).any())


def find_regions(colours: np.ndarray) -> list[Region]:
    """Connected regions of one named colour, largest first, without those that are details."""
    regions = []
    for index, colour in enumerate(COLOUR_NAMES[: len(NAMED)]):
        mask = colours == index
        if mask.sum() < AREA_MIN:
            continue
        # The mast parts a boat's sails by two pixels; closing heals that.
        closed = ndimage.binary_closing(np.pad(mask, 4), np.ones((5, 5)))[4:-4, 4:-4]
        labels, _ = ndimage.label(closed, np.ones((3, 3)))
        core = ndimage.binary_erosion(mask, np.ones((3, 3)))
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            body = (labels == number) & mask
            area = int(body.sum())
            # Rims, where two colours mix, have no core.
            if area >= AREA_MIN and (body & core).sum() >= 0.12 * area:
                regions.append(Region(colour, body, box, area))
    regions.sort(key=lambda region: -region.area)
    kept: list[Region] = []
    for region in regions:
        if not any(inside(region.box, other.box) or caps(region, other) for other in kept):
            kept.append(region)
    return kept


def outline_of(region: Region, regions: list[Region], foreground: np.ndarray) -> np.ndarray:
    """The region and everything joined to it that belongs to no other region."""
    mask = foreground.copy()
    for other in regions:
        if other is not region:
            mask &= ~ndimage.binary_dilation(other.body, iterations=2)
    labels, _ = ndimage.label(mask | region.body, np.ones((3, 3)))
    counts = np.bincount(labels[region.body])
    outline = (labels == counts[1:].argmax() + 1) if len(counts) > 1 else region.body
    # A part reaches at most one body's length beyond the body (stems, trunks, roofs).
    rows, columns = region.box
    height, width = rows.stop - rows.start, columns.stop - columns.start
    reach = np.zeros_like(outline)
    reach[
        max(0, rows.start - height) : rows.stop + height,
        max(0, columns.start - width // 2) : columns.stop + width // 2,
    ] = True
    return (outline & reach) | region.body


# --- shapes -----------------------------------------------------------------------------------


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def raster(mask: np.ndarray, box: tuple[int, int, int, int], cells: int) -> np.ndarray:
    """Coverage of the mask in a grid over the box made square, so that the aspect stays."""
    left, top, right, bottom = box
    extent = max(right - left, bottom - top)
    x, y = (left + right - extent) / 2, (top + bottom - extent) / 2
    steps = (np.arange(cells * 3) + 0.5) / (cells * 3) * extent - 0.5
    grid = np.meshgrid(y + steps, x + steps, indexing="ij")
    fine = ndimage.map_coordinates(mask.astype(np.float32), grid, order=1, mode="constant")
    return fine.reshape(cells, 3, cells, 3).mean(axis=(1, 3)).ravel()


def moment_features(mask: np.ndarray) -> list[float]:
    """Hu's first four invariants (logarithms) and the skews, which tell up from down."""
    y, x = np.nonzero(mask)
    area = len(x)
    dx, dy = x - x.mean(), y - y.mean()

    def eta(p: int, q: int) -> float:
        return float((dx**p * dy**q).sum() / area ** (1 + (p + q) / 2))

    n20, n02, n11 = eta(2, 0), eta(0, 2), eta(1, 1)
    n30, n03, n21, n12 = eta(3, 0), eta(0, 3), eta(2, 1), eta(1, 2)
    hu = (
        n20 + n02,
        (n20 - n02) ** 2 + 4 * n11**2,
        (n30 - 3 * n12) ** 2 + (3 * n21 - n03) ** 2,
        (n30 + n12) ** 2 + (n21 + n03) ** 2,
    )
    return [*np.log10(np.abs(hu) + 1e-6), n20 - n02, n11 * 4, n30 * 8, n03 * 8, n21 * 8, n12 * 8]


def radial_features(mask: np.ndarray) -> list[float]:
    """How far the mask reaches in 64 directions: its spectrum, whatever way it is turned."""
    y, x = np.nonzero(mask)
    cx, cy = x.mean(), y.mean()
    far, angle = np.hypot(x - cx, y - cy), np.arctan2(y - cy, x - cx)
    reach = np.zeros(64)
    np.maximum.at(reach, ((angle / (2 * np.pi) + 0.5) * 64).astype(int) % 64, far + 0.5)
    spectrum = np.abs(np.fft.rfft(reach / max(reach.mean(), 1e-6))) / 64
    inner = [float((far < reach.max() * part).mean()) for part in (0.3, 0.5, 0.7)]
    return [*(spectrum[1:13] * 10), *inner]


def solidity(mask: np.ndarray) -> float:
    """Area over the area of the hull that 16 directions span."""
    y, x = np.nonzero(mask)
    left, top, right, bottom = box_of(mask)
    grid_y, grid_x = np.mgrid[top:bottom, left:right]
    hull = np.ones(grid_x.shape, bool)
    for angle in np.arange(16) * np.pi / 8:
        along = x * np.cos(angle) + y * np.sin(angle)
        hull &= grid_x * np.cos(angle) + grid_y * np.sin(angle) <= along.max() + 1e-6
    return len(x) / max(1, int(hull.sum()))


def shape_features(body: np.ndarray, outline: np.ndarray, colours: np.ndarray) -> np.ndarray:
    box = box_of(outline)
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    area = int(body.sum())
    holes = ndimage.binary_fill_holes(body) & ~body
    empty = ndimage.binary_fill_holes(outline) & ~outline
    parts = [
        int((outline & (colours == COLOUR_NAMES.index(part))).sum()) / area for part in PARTS
    ]
    edge = body & ~ndimage.binary_erosion(body)
    scalars = [
        width / (width + height),
        area / (width * height),
        outline.sum() / (width * height),
        solidity(body),
        solidity(outline),
        area / outline.sum(),
        min(1.0, holes.sum() / area),
        min(1.0, empty.sum() / area),
        edge.sum() ** 2 / area / 20,
        *np.minimum(parts, 2.0),
        *(min(part, 0.1) * 10 for part in parts),
    ]
    mirrored = raster(outline, box, RASTER).reshape(RASTER, RASTER)
    symmetry = [
        float(np.abs(mirrored - mirrored[:, ::-1]).mean()),
        float(np.abs(mirrored - mirrored[::-1]).mean()),
        float(np.abs(mirrored - mirrored.T).mean()),
    ]
    return np.array(
        [
            *scalars,
            *symmetry,
            *moment_features(body),
            *moment_features(outline),
            *radial_features(body),
            *radial_features(outline),
            *raster(body, box, RASTER),
            *mirrored.ravel(),
        ],
        np.float32,
    )


def background_features(lab: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Tone, slopes and repetition of what is behind the things."""
    keep = ~ndimage.binary_dilation(foreground, iterations=3)
    if keep.sum() < 500:
        keep[:] = True
    values = lab[keep]
    y, x = np.nonzero(keep)
    plane = np.stack([np.ones(len(x)), x / SIDE - 0.5, y / SIDE - 0.5], axis=1)
    slopes, *_ = np.linalg.lstsq(plane, values, rcond=None)
    left = values - plane @ slopes
    light = lab[..., 0]
    steps = []
    for lag in (1, 2, 4, 8, 12, 16, 24, 32):
        down = np.abs(light[lag:] - light[:-lag])[keep[lag:] & keep[:-lag]]
        across = np.abs(light[:, lag:] - light[:, :-lag])[keep[:, lag:] & keep[:, :-lag]]
        down, across = (float(d.mean()) if d.size else 0.0 for d in (down, across))
        steps += [min(down, across), max(down, across)]
    mean = values.mean(axis=0)
    raw = [*mean, *np.abs(slopes[1:]).ravel(), *left.std(axis=0), *steps]
    steepness = np.sqrt((slopes[1:, 0] ** 2).sum())
    return np.array([*raw, *(mean**2 / 50), *np.sqrt(steps), steepness], np.float32)


@dataclass(frozen=True)
class Classifier:
    names: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def name(self, features: np.ndarray) -> str:
        scores = (features - self.mean) / self.scale @ self.weights + self.bias
        return self.names[int(scores.argmax())]


@cache
def classifiers() -> dict[str, Classifier]:
    stored = json.loads(SHAPES.read_text())
    return {
        what: Classifier(
            tuple(parts["names"]),
            *(np.array(parts[part]) for part in ("mean", "scale", "weights", "bias")),
        )
        for what, parts in stored.items()
    }


# --- the check --------------------------------------------------------------------------------


def find_shapes(picture: np.ndarray) -> list[tuple[Region, np.ndarray, np.ndarray]]:
    """Regions with their outlines and shape features."""
    colours, foreground, _ = segment(picture)
    regions = find_regions(colours)
    shapes = []
    for region in regions:
        outline = outline_of(region, regions, foreground)
        shapes.append((region, outline, shape_features(region.body, outline, colours)))
    return shapes


def find_things(picture: np.ndarray) -> list[Found]:
    """The things of a 128 x 128 picture, largest first: `find_things(picture)[0].kind`."""
    things = []
    for region, outline, features in find_shapes(picture):
        y, x = np.nonzero(region.body)
        kind = classifiers()["kind"].name(features)
        centroid = (float(x.mean()), float(y.mean()))
        things.append(Found(region.colour, kind, box_of(outline), region.area, centroid))
    return things


def find_background(picture: np.ndarray) -> str:
    _, foreground, lab = segment(picture)
    return classifiers()["background"].name(background_features(lab, foreground))


def stands(relation: str, first: Found, second: Found) -> bool:
    dx, dy = (b - a for a, b in zip(first.centre, second.centre))
    along, across = (dx, dy) if relation in ("left of", "right of") else (dy, dx)
    along = along if relation in ("left of", "above") else -along
    return along > RELATION_MIN and along > 0.7 * abs(across)


def is_at(place: str, thing: Found) -> bool:
    return tuple(min(2, int(c * 3 / SIDE)) for c in thing.centre) == PLACES[place]


def check(picture: np.ndarray, asked: dict) -> dict[str, bool]:
    """Which asked facts hold. `right` is the main measure: colour and object, where asked.

    Facts the caption does not ask are not in the answer. A single object must be the largest
    thing; of a group there must be exactly so many of that kind and colour; a pair must stand in
    its relation; a placed object must lie in its third of the picture.
    """
    things = find_things(picture)
    objects = asked["objects"]
    matching = [
        [t for t in things if (t.kind, t.colour) == (o["kind"], o["colour"])] for o in objects
    ]
    # One object or a group is judged by what is largest, a pair by the two largest.
    main = things[: 2 if asked["layout"] == "pair" else 1]
    verdict = {
        "object_found": all(matching),
        "colour_right": all(any(t.colour == o["colour"] for t in main) for o in objects),
        "kind_right": all(any(t.kind == o["kind"] for t in main) for o in objects),
    }
    if asked["layout"] == "single":
        verdict["right"] = bool(things) and things[0] in matching[0]
        verdict["count_right"] = len(things) == 1
        if "size" in objects[0]:
            verdict["size_right"] = bool(things) and things[0].size == objects[0]["size"]
    elif asked["layout"] == "placed":
        verdict["place_right"] = bool(things) and is_at(asked["place"], things[0])
        verdict["right"] = any(is_at(asked["place"], t) for t in matching[0])
    elif asked["layout"] == "count":
        verdict["count_right"] = len(things) == asked["count"]
        verdict["right"] = len(matching[0]) == asked["count"]
    else:
        verdict["relation_right"] = verdict["right"] = any(
            a is not b and stands(asked["relation"], a, b)
            for a in matching[0]
            for b in matching[1]
        )
    if "background" in asked:
        verdict["background_right"] = find_background(picture) == asked["background"]
    return verdict
