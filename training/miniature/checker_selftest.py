"""How well the checker sees: drawings of the held-out captions and of 1,000 test scenes.

    python checker_selftest.py

Prints the share of right verdicts, of drawings as they are and of spoilt ones, where every
verdict should be yes; and of drawings that were asked something else, where none should be.
"""

from __future__ import annotations

import json
import sys
from collections import Counter

import numpy as np

from captions import caption_with_facts
from checker import check, find_things
from fit_checker import spoil
from make_held_out import FILE, tell_facts
from scenes import Scene, draw, sample

FIRST_SEED = 70_000_000


def held_out_scenes() -> list[tuple[Scene, dict]]:
    captions = json.loads(FILE.read_text())
    return [(sample(entry["seed"], "test"), entry["asked"]) for entry in captions]


def split_scenes(count: int) -> list[tuple[Scene, dict]]:
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        scene = sample(seed, "test")
        said = caption_with_facts(scene, np.random.default_rng(seed), "test")[1]
        found.append((scene, tell_facts(scene, said)))
    return found


def rate(scenes: list[tuple[Scene, dict]], spoilt: bool) -> dict[str, float]:
    """Share of yes for each fact over the drawings that were asked it."""
    asked: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for scene, facts in scenes:
        picture = draw(scene)
        if spoilt:
            picture = spoil(picture, np.random.default_rng(scene.seed))
        for fact, holds in check(picture, facts).items():
            asked[fact] += 1
            held[fact] += holds
            if fact == "right" and not holds and "-v" in sys.argv:
                wanted = [(t.kind, t.colour, round(t.radius)) for t in scene.things]
                found = [(t.kind, t.colour, t.area) for t in find_things(picture)]
                print(scene.seed, scene.background, facts["layout"], wanted, found)
    return {fact: 100 * held[fact] / asked[fact] for fact in asked}


def rate_strangers(scenes: list[tuple[Scene, dict]]) -> dict[str, float]:
    """Each drawing asked the facts of the next one: chance, and a checker that says no."""
    shifted = [facts for _, facts in scenes[1:]] + [scenes[0][1]]
    return rate([(scene, facts) for (scene, _), facts in zip(scenes, shifted)], False)


def main() -> None:
    held_out, others = held_out_scenes(), split_scenes(1_000)
    table = {
        "held-out": rate(held_out, False),
        "held-out, spoilt": rate(held_out, True),
        "test scenes": rate(others, False),
        "test scenes, spoilt": rate(others, True),
    }
    if "-v" not in sys.argv:
        table["asked another's"] = rate_strangers(others)
    facts = list(table["test scenes"])
    print(f"{'% yes':18}" + "".join(f"{name:>21}" for name in table))
    for fact in facts:
        print(f"{fact:18}" + "".join(f"{rates.get(fact, 0):21.1f}" for rates in table.values()))


if __name__ == "__main__":
    main()
