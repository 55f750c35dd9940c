"""Draws the training pictures once, in several processes, into one array on the disk."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from networks import PICTURE_SIDE
from scenes import draw, sample

SHAPE = (PICTURE_SIDE, PICTURE_SIDE, 3)
SLICE = 1000


def draw_pictures(file: Path, count: int, processes: int = 2) -> np.ndarray:
    """Scenes 0 to count-1 of the training split, uint8 [count, 128, 128, 3], mapped from `file`."""
    whole = (count, *SHAPE)
    if not (file.exists() and file.stat().st_size == np.prod(whole)):
        partial = file.with_suffix(".partial")
        np.memmap(partial, np.uint8, "w+", shape=whole).flush()
        slices = [(partial, whole, start) for start in range(0, count, SLICE)]
        with ProcessPoolExecutor(processes) as pool:
            list(pool.map(draw_slice, slices))
        partial.rename(file)
    return np.memmap(file, np.uint8, "r", shape=whole)


def draw_slice(task: tuple[Path, tuple[int, ...], int]) -> None:
    file, shape, start = task
    pictures = np.memmap(file, np.uint8, "r+", shape=shape)
    for seed in range(start, min(start + SLICE, shape[0])):
        pictures[seed] = draw(sample(seed))


def picture_batch(pictures: np.ndarray, chosen: torch.Tensor) -> torch.Tensor:
    """The chosen pictures as the networks see them: float [batch, 3, 128, 128] in -1..1, channels last."""
    batch = torch.from_numpy(np.ascontiguousarray(pictures[chosen.numpy()]))
    return batch.permute(0, 3, 1, 2).float() / 127.5 - 1
