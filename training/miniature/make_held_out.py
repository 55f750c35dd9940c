"""Writes held_out.json: 300 captions that training never sees, with the facts they ask for.

    python make_held_out.py

Every caption has a wording of the test split. Half of the single objects are pairs of kind and
colour that training never draws, half are not. Made once, before training, and never changed:
`test_scenes.py` holds that this script still writes the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from captions import caption_with_facts
from scenes import BACKGROUNDS, HELD_OUT_PAIRS, Scene, sample

SEED = 60_000_000
COUNTS = {"single": 150, "pair": 75, "count": 45, "placed": 30}
FILE = Path(__file__).with_name("held_out.json")


def tell_facts(scene: Scene, said: dict[str, int]) -> dict:
    """What the caption asks of the picture; what it leaves open is not there."""
    return {
        "layout": scene.layout,
        "objects": [
            {
                "kind": thing.kind,
                "colour": thing.colour,
                **({"size": thing.size} if thing.size != "medium" else {}),
                "heldOutPair": (thing.kind, thing.colour) in HELD_OUT_PAIRS,
            }
            for thing in (scene.things if scene.layout == "pair" else scene.things[:1])
        ],
        **({"relation": scene.relation} if scene.relation else {}),
        **({"place": scene.place} if scene.place else {}),
        "count": len(scene.things) if scene.layout == "count" else 1,
        **({"background": BACKGROUNDS[said["background"]]} if said["background"] >= 0 else {}),
    }


def make_held_out() -> list[dict]:
    wanted = {**COUNTS}
    wanted_held_out = wanted["single"] // 2
    captions: list[dict] = []
    seen: set[str] = set()
    seed = SEED
    while any(wanted.values()):
        seed += 1
        scene = sample(seed, "test")
        if not wanted[scene.layout]:
            continue
        held_out = (scene.things[0].kind, scene.things[0].colour) in HELD_OUT_PAIRS
        if scene.layout == "single":
            left = wanted_held_out if held_out else wanted["single"] - wanted_held_out
            if left == 0:
                continue
        text, said = caption_with_facts(scene, np.random.default_rng([seed, 3]), "test")
        if text in seen:
            continue
        seen.add(text)
        wanted[scene.layout] -= 1
        wanted_held_out -= scene.layout == "single" and held_out
        captions.append({"caption": text, "seed": seed, "asked": tell_facts(scene, said)})
    order = list(COUNTS)
    return sorted(captions, key=lambda entry: order.index(entry["asked"]["layout"]))


def write_text(captions: list[dict]) -> str:
    lines = ",\n".join("  " + json.dumps(entry) for entry in captions)
    return f"[\n{lines}\n]\n"


if __name__ == "__main__":
    FILE.write_text(write_text(make_held_out()))
    print(f"{FILE.name}: {sum(COUNTS.values())} captions")
