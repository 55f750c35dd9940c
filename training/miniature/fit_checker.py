"""Fits the checker's two classifiers to drawings and writes checker_shapes.json, once.

    python fit_checker.py

Linear discriminants, so that the file holds only means and one weight for each feature and class.
Drawings of the training split, each as it is or spoilt (blurred, noisy, warped) as a small
model would spoil it.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from scipy import ndimage

import checker
from scenes import BACKGROUNDS, KINDS, SIDE, Scene, draw, sample

SCENES = 5_000
FIRST_SEED = 80_000_000
RIDGE = 0.01


def spoil(picture: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Blur of sigma 1, 3 % noise and a smooth warp of up to some two pixels, times strength."""
    bend = ndimage.gaussian_filter(rng.standard_normal((2, SIDE, SIDE)), (0, 10, 10))
    bend *= 0.9 * strength / bend.std()
    at = np.mgrid[0:SIDE, 0:SIDE] + bend
    planes = [
        ndimage.map_coordinates(
            ndimage.gaussian_filter(picture[..., c].astype(np.float32), strength),
            at, order=1, mode="nearest",
        )
        for c in range(3)
    ]  # fmt: skip
    noisy = np.stack(planes, axis=-1) + rng.uniform(-7.65, 7.65, picture.shape) * strength
    return np.clip(noisy, 0, 255).astype(np.uint8)


def collect(scene: Scene, picture: np.ndarray, kinds: list, backgrounds: list) -> None:
    for region, _, features in checker.find_shapes(picture):
        rows, columns = region.box
        x, y = (columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2
        for thing in scene.things:
            near = np.hypot(thing.x - x, thing.y - y) < 0.6 * thing.radius
            if near and thing.colour == region.colour:
                kinds.append((features, thing.kind))
    _, foreground, lab = checker.segment(picture)
    backgrounds.append((checker.background_features(lab, foreground), scene.background))


def fit(samples: list, names: tuple[str, ...]) -> dict:
    features = np.array([sample[0] for sample in samples], np.float64)
    labels = np.array([names.index(sample[1]) for sample in samples])
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    features = (features - mean) / scale
    means = np.array([features[labels == index].mean(axis=0) for index in range(len(names))])
    within = features - means[labels]
    spread = within.T @ within / len(within) + RIDGE * np.eye(features.shape[1])
    weights = np.linalg.solve(spread, means.T)
    bias = -0.5 * (means.T * weights).sum(axis=0)
    right = float(((features @ weights + bias).argmax(axis=1) == labels).mean())
    print(f"{len(samples)} samples, {len(names)} classes: {100 * right:.2f} % fitted")
    return {
        "names": names,
        **{
            name: np.round(values, 4).tolist()
            for name, values in (
                ("mean", mean),
                ("scale", scale),
                ("weights", weights),
                ("bias", bias),
            )
        },
    }


def main(scenes: int) -> None:
    kinds: list = []
    backgrounds: list = []
    for seed in range(FIRST_SEED, FIRST_SEED + scenes):
        scene = sample(seed)
        picture = draw(scene)
        if seed % 2:
            rng = np.random.default_rng(seed)
            picture = spoil(picture, rng, 0.5 + 1.3 * rng.random())
        collect(scene, picture, kinds, backgrounds)
    fitted = {"kind": fit(kinds, KINDS), "background": fit(backgrounds, BACKGROUNDS)}
    checker.SHAPES.write_text(json.dumps(fitted, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SCENES)
