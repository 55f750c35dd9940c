"""Asks the checker about the pictures that `generate.ts` made, and writes the tables and the contact sheet:

    python evaluate.py work/pictures ../../docs/reference

Writes `miniature-adherence.md` and `miniature.png`, 24 of the pictures.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from checker import check, find_things

HELD_OUT = json.loads(Path(__file__).with_name("held_out.json").read_text())
LAYOUTS = {"single": "one object", "pair": "two in a relation", "count": "a count", "placed": "a place"}
# Every twelfth caption, and half a step on: chosen before any picture was seen.
SHOWN = range(5, 300, 12)[:24]
ENLARGED = 2
# Of 20 steps with guidance: 40 rows of the denoiser at 1.405, the decoder at 1.769, two captions at 0.133.
GIGAFLOPS = 40 * 1.405 + 1.769 + 2 * 0.133


def main() -> None:
    pictures, docs = Path(sys.argv[1]), Path(sys.argv[2])
    runs = {name: read(pictures / name) for name in ("guided", "few-steps", "unguided")}
    timings = json.loads((pictures / "timings.json").read_text())
    page = ["<!-- Written by training/miniature/evaluate.py. -->", "", "# How well the miniature does what it is told", ""]
    page += [
        "300 captions in wordings that training never saw, half of them with colours and objects that training never put",
        "together, are asked through the pipeline; a checker that knows colours and shapes and nothing of the model says",
        "what it finds. Captions and checker were committed before training. On drawings of the same captions the checker",
        "is right in 100 %.", "",
        "    node --conditions=tintype-source training/miniature/generate.ts training/miniature/work/pictures",
        "    cd training/miniature && python evaluate.py work/pictures ../../docs/reference", "",
    ]  # fmt: skip
    page += ["![24 of the pictures, every twelfth caption](miniature.png)", ""]
    page += adherence(runs) + facts(runs["guided"]) + confusion(runs["guided"]) + speed(timings)
    (docs / "miniature-adherence.md").write_text("\n".join(page) + "\n")
    contact_sheet(runs["guided"]).save(docs / "miniature.png", optimize=True)
    print("\n".join(page))


def read(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(file).convert("RGB")) for file in sorted(folder.glob("*.png"))]


def share(pictures, fact: str, chosen=lambda entry: True, shift: int = 0) -> str:
    answers = []
    for index, entry in enumerate(HELD_OUT):
        if chosen(entry):
            verdict = check(pictures[(index + shift) % len(pictures)], entry["asked"])
            answers += [verdict[fact]] if fact in verdict else []
    return f"{100 * np.mean(answers):.1f} % of {len(answers)}" if answers else "–"


def adherence(runs) -> list[str]:
    """`Another caption's picture` is chance: a model that draws well and does not listen."""
    rows = ["## The named colour and object, where asked", ""]
    rows += ["| asked | 20 steps | 4 steps | without guidance | another caption's picture |", "| --- | --- | --- | --- | --- |"]
    choices = {"all": lambda entry: True}
    choices |= {words: (lambda e, l=layout: e["asked"]["layout"] == l) for layout, words in LAYOUTS.items()}
    held = lambda e: any(o["heldOutPair"] for o in e["asked"]["objects"])  # noqa: E731
    choices |= {"with a pair that training never saw": held}
    for words, chosen in choices.items():
        cells = [share(runs[name], "right", chosen) for name in ("guided", "few-steps", "unguided")]
        rows.append(f"| {words} | {' | '.join(cells)} | {share(runs['guided'], 'right', chosen, shift=1)} |")
    return rows + [""]


def facts(pictures) -> list[str]:
    names = ("object_found", "colour_right", "kind_right", "size_right", "count_right", "place_right",
             "relation_right", "background_right")  # fmt: skip
    rows = ["## Fact by fact, 20 steps", "", "| fact | holds |", "| --- | --- |"]
    return rows + [f"| {name.replace('_', ' ')} | {share(pictures, name)} |" for name in names] + [""]


def confusion(pictures) -> list[str]:
    """Of captions with one kind of thing: what the largest thing was instead."""
    wrong = {"colour": Counter(), "kind": Counter()}
    for picture, entry in zip(pictures, HELD_OUT):
        things, objects = find_things(picture), entry["asked"]["objects"]
        if len(objects) == 1:
            for attribute, counter in wrong.items():
                found = getattr(things[0], attribute) if things else "nothing"
                if found != objects[0][attribute]:
                    counter[f"{objects[0][attribute]} → {found}"] += 1
    rows = ["## What was taken for what", "", "Of the 225 captions with one kind of object, the largest thing in the picture.", ""]
    for attribute, counter in wrong.items():
        told = ", ".join(f"{pair} ({count})" for pair, count in counter.most_common()) or "none"
        rows.append(f"- {attribute}, {sum(counter.values())} wrong: {told}")
    return rows + [""]


def speed(timings) -> list[str]:
    """FLOPs: multiplications and additions of the networks' matrix products and convolutions, counted by PyTorch."""
    whole, few, first = (timings[name] for name in ("twentyStepsMs", "fewStepsMs", "firstPreviewMs"))
    return [
        "## Time of one picture", "",
        f"{timings['processor']}, {timings['cores']} cores; 128 × 128 with guidance, from the call to the PNG; median of 21.", "",
        "| | ms | |", "| --- | --- | --- |",
        f"| 20 steps | {whole:.0f} | {GIGAFLOPS:.0f} GFLOP: {GIGAFLOPS / whole * 1000:.0f} a second |",
        f"| 4 steps | {few:.0f} | {1000 / few:.1f} pictures a second |",
        f"| first preview of 20 steps | {first:.0f} | |",
        f"| a fresh process, the model not loaded | {timings['coldMs']:.0f} | first preview after {timings['coldPreviewMs']:.0f} |",
    ]  # fmt: skip


def contact_sheet(pictures) -> Image.Image:
    shown = [pictures[index] for index in SHOWN]
    rows = [np.concatenate(shown[start : start + 6], axis=1) for start in range(0, 24, 6)]
    sheet = Image.fromarray(np.concatenate(rows, axis=0))
    return sheet.resize((sheet.width * ENLARGED, sheet.height * ENLARGED), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
