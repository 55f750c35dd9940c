"""What people may write for a scene: templates, synonyms and paraphrases.

`caption(scene, rng)` says a scene in words; `caption_with_facts` also tells what the words said, as
one class for each name in `FACT_SIZES` and -1 where they said nothing. Templates of the test split
are never used for training, but every word in them is (`test_scenes.py` holds both), so that
the test asks for new wordings and not for unknown words.
"""

from __future__ import annotations

import re

import numpy as np

from scenes import BACKGROUNDS, COLOURS, KINDS, PLACES, RELATIONS, Scene, Thing, pick

COLOUR_NAMES = tuple(COLOURS)
PLACE_NAMES = tuple(PLACES)
SIZE_NAMES = ("small", "large")

# "first" is what the caption names first; "lead" is what stands to the left or on top, whichever
# way the caption told it, which is what the picture needs to know.
FACT_SIZES: dict[str, int] = {
    "kind_a": len(KINDS),
    "colour_a": len(COLOUR_NAMES),
    "size_a": len(SIZE_NAMES),
    "kind_b": len(KINDS) + 1,  # the last one: there is no second thing
    "colour_b": len(COLOUR_NAMES),
    "relation": len(RELATIONS) + 1,  # the last one: there is no second thing
    "count": 4,  # one to four
    "place": len(PLACE_NAMES),
    "background": len(BACKGROUNDS),
    "kind_lead": len(KINDS),
    "colour_lead": len(COLOUR_NAMES),
    "kind_trail": len(KINDS),
    "colour_trail": len(COLOUR_NAMES),
}

DROPPING = 0.08  # of the training captions leave out a detail
SYNONYM = 0.12

KIND_SYNONYMS = {
    "circle": ("disc", "ball", "dot"),
    "square": ("box",),
    "ring": ("hoop", "donut"),
    "cross": ("plus", "plus sign"),
    "moon": ("crescent", "crescent moon", "half moon"),
    "tree": ("oak",),
    "house": ("cottage", "home", "hut"),
    "mountain": ("peak", "hill"),
    "boat": ("ship", "sailboat"),
    "flower": ("blossom",),
}
COLOUR_SYNONYMS = {"red": ("crimson", "scarlet"), "purple": ("violet",), "yellow": ("golden",)}
SIZE_WORDS = {
    "small": ("small", "small", "tiny", "little"),
    "large": ("large", "big", "big", "huge"),
}
NUMBERS = {2: ("two", "two", "2"), 3: ("three", "three", "3"), 4: ("four", "four", "4")}

# {a} article, {s} size, {c} colour, {k} kind.
NAMINGS = {
    "train": (
        ("{a} {s} {c} {k}",) * 8
        + (
            "{a} {s} {k} in {c}",
            "{a} {s} {k} that is {c}",
            "{a} {s} {k} painted {c}",
            "{a} {s} {k}, {c}",
            "{a} {s} {k} of {c} colour",
            "{a} {c} {s} {k}",
            "the {s} {c} {k}",
            "one {s} {c} {k}",
        )
    ),
    "test": (
        "{a} {s} {k} drawn in {c}",
        "{a} {s} {k} which is {c}",
        "{a} {s} {k} in the colour {c}",
        "{a} {s} {k} that is painted {c}",
    ),
}
# For groups: {n} number, {k} plural.
GROUP_NAMINGS = {
    "train": (
        ("{n} {s} {c} {k}",) * 6
        + (
            "{n} {s} {k} in {c}",
            "{n} {s} {k} that are {c}",
            "{n} {s} {k}, all {c}",
            "{n} {s} {k} painted {c}",
            "a group of {n} {s} {c} {k}",
            "{s} {c} {k}, {n} of them",
            "exactly {n} {s} {c} {k}",
            "{c} {k}, {n} {s} ones",
        )
    ),
    "test": (
        "{n} {s} {k}, all painted {c}",
        "{n} {s} {k} which are {c}",
        "{n} {s} {k} drawn in {c}",
        "{s} {k} in {c}, {n} of them",
    ),
}

SINGLE = {
    "train": (
        ("{x}",) * 5
        + (
            "a picture of {x}",
            "a drawing of {x}",
            "an image of {x}",
            "a painting of {x}",
            "an illustration of {x}",
            "a simple drawing of {x}",
            "a picture that shows {x}",
            "an image which shows {x}",
            "this is {x}",
            "there is {x}",
            "here is {x}",
            "here we see {x}",
            "you can see {x}",
            "draw {x}",
            "draw me {x}",
            "please paint {x}",
            "show me {x}",
            "just {x}",
            "{x} and nothing else",
            "{x}, drawn simply",
        )
    ),
    "test": (
        "here you can see {x}",
        "a painting that shows {x}",
        "please draw me a picture of {x}",
        "a simple picture which shows {x}",
        "this is an image of {x}",
        "show me just {x}",
    ),
}

GROUP = {
    "train": (
        ("{x}",) * 5
        + (
            "a picture of {x}",
            "a drawing of {x}",
            "an image of {x}",
            "a painting with {x}",
            "a picture with {x}",
            "a picture that shows {x}",
            "there are {x}",
            "these are {x}",
            "here are {x}",
            "you can see {x}",
            "draw {x}",
            "please paint {x}",
            "show me {x}",
            "{x} side by side",
            "{x} and nothing else",
        )
    ),
    "test": (
        "here you can see {x}",
        "please draw me {x}",
        "a painting that shows {x}",
        "an image with {x}",
        "these are just {x}",
    ),
}

PLACED = {
    "train": (
        ("{x} {p}",) * 4
        + (
            "{p}, {x}",
            "{p} there is {x}",
            "{p} we see {x}",
            "a picture of {x} {p}",
            "a drawing of {x} {p}",
            "a picture with {x} {p}",
            "an image that shows {x} {p}",
            "{x} placed {p}",
            "{x} standing {p}",
            "{x} that is {p}",
            "there is {x} {p}",
            "draw {x} {p}",
            "please paint {x} {p}",
            "show me {x} {p}",
        )
    ),
    "test": (
        "{p} you can see {x}",
        "please draw me {x} {p}",
        "a painting of {x} placed {p}",
        "here we see {x} {p}",
        "an image of {x} standing {p}",
    ),
}

# {x} stands in {r} to {y}, and {y} in {i} to {x}; {u} and {v} are the sides of {x} and {y}.
PAIR = {
    "train": (
        ("{x} {r} {y}",) * 4
        + (
            "{y} {i} {x}",
            "{y} {i} {x}",
            "a picture of {x} {r} {y}",
            "a drawing of {x} {r} {y}",
            "an image of {y} {i} {x}",
            "{x} that is {r} {y}",
            "{x} is {r} {y}",
            "{x} placed {r} {y}",
            "{x} standing {r} {y}",
            "there is {x} {r} {y}",
            "you can see {y} {i} {x}",
            "draw {x} {r} {y}",
            "please paint {y} {i} {x}",
            "show me {x} {r} {y}",
            "{x} {u} and {y} {v}",
            "{v} {y}, {u} {x}",
            "{u} there is {x}, {v} there is {y}",
            "{x} and {y}, {x2} {r} {y2}",
        )
    ),
    "test": (
        "here you can see {x} {r} {y}",
        "please draw me {y} {i} {x}",
        "a painting that shows {x} placed {r} {y}",
        "{u} we see {x} and {v} {y}",
        "a picture with {x} {u} and {y} {v}",
        "this is {x} {r} {y}",
    ),
}

RELATION_WORDS = {
    "left of": ("left of", "to the left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "to the right of", "on the right of"),
    "above": ("above", "above", "over", "higher than"),
    "below": ("below", "below", "under", "beneath"),
}
INVERSE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
SIDE_WORDS = {
    "left of": ("on the left", "on the left side", "at the left"),
    "right of": ("on the right", "on the right side", "at the right"),
    "above": ("at the top", "on top", "up top"),
    "below": ("at the bottom", "below", "down at the bottom"),
}

PLACE_WORDS = {
    "centre": ("in the centre", "in the middle", "in the center"),
    "left": ("on the left", "on the left side", "at the left"),
    "right": ("on the right", "on the right side", "at the right"),
    "top": ("at the top", "near the top", "up at the top"),
    "bottom": ("at the bottom", "near the bottom", "down at the bottom"),
    "top left": ("in the top left corner", "in the upper left corner", "at the top left"),
    "top right": ("in the top right corner", "in the upper right corner", "at the top right"),
    "bottom left": (
        "in the bottom left corner", "in the lower left corner", "at the bottom left",
    ),
    "bottom right": (
        "in the bottom right corner", "in the lower right corner", "at the bottom right",
    ),
}  # fmt: skip

BACKGROUND_WORDS = {
    "plain": (
        "on a plain background", "on a light background", "on plain paper",
        "in front of a plain wall", "with a plain background",
    ),
    "sky": (
        "in the sky", "in front of the sky", "on a sky background", "with the sky behind",
        "against a blue sky", "high in the sky",
    ),
    "sea": (
        "in the sea", "on the sea", "in front of the sea", "on a sea background",
        "with the sea behind", "in the ocean", "on the water",
    ),
    "grass": (
        "on the grass", "on grass", "in the grass", "on a grass background",
        "in front of a meadow", "on a green meadow", "with grass behind",
    ),
    "night": (
        "at night", "in the night", "in the night sky", "on a night background",
        "in front of a night sky", "with a dark starry sky behind",
    ),
    "gradient": (
        "on a gradient", "on a gradient background", "on a soft gradient",
        "in front of a gradient", "with a gradient behind", "on a smooth gradient background",
    ),
    "stripes": (
        "on a striped background", "on stripes", "in front of a striped wall",
        "with stripes behind", "against stripes", "on a background of stripes",
    ),
    "checks": (
        "on a checkered background", "on checks", "in front of a checkered wall",
        "with checks behind", "against a checkered wall", "on a checkered floor",
    ),
    "noise": (
        "on a noisy background", "on noise", "in front of a noisy wall", "with noise behind",
        "on a grainy background", "against noise", "on a speckled background",
    ),
}  # fmt: skip
# {t} is the caption so far, {b} the background.
WITH_BACKGROUND = ("{t} {b}", "{t} {b}", "{t} {b}", "{t}, {b}", "{b}, {t}")
BACKGROUND_SAID = 0.6


def pluralise(kind: str) -> str:
    if kind == "fish":
        return kind
    return kind + "es" if kind.endswith(("s", "x")) else kind + "s"


def tidy(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace(" ,", ",").strip(", ")


def with_article(text: str) -> str:
    """Puts a or an before the word that the naming begins with once empty slots are gone."""
    return re.sub(r"\ba (?=[aeiou])", "an ", tidy(text))


def say_word(rng, name: str, synonyms: dict[str, tuple[str, ...]]) -> str:
    if name in synonyms and rng.random() < SYNONYM:
        return pick(rng, synonyms[name])
    return name


class Saying:
    """One caption in the making: what it leaves out, and the facts it has told."""

    def __init__(self, scene: Scene, rng: np.random.Generator, split: str):
        self.scene, self.rng, self.split = scene, rng, split
        self.facts = dict.fromkeys(FACT_SIZES, -1)
        dropping = split == "train" and rng.random() < DROPPING
        self.left_out = pick(rng, ("size", "colour", "where")) if dropping else None
        self.says_background = rng.random() < BACKGROUND_SAID

    def name(self, thing: Thing, slot: str | None, namings: dict, **words: str) -> str:
        """The thing in words; facts are told of slot "a" or "b"."""
        rng = self.rng
        sized = thing.size in SIZE_WORDS and self.left_out != "size"
        coloured = self.left_out != "colour"
        kind = say_word(rng, thing.kind, KIND_SYNONYMS)
        if slot is not None:
            self.facts[f"kind_{slot}"] = KINDS.index(thing.kind)
            if coloured:
                self.facts[f"colour_{slot}"] = COLOUR_NAMES.index(thing.colour)
            if sized and slot == "a":
                self.facts["size_a"] = SIZE_NAMES.index(thing.size)
        # Without a colour the plain form is the only one that makes sense.
        form = pick(rng, namings[self.split]) if coloured else namings["train"][0]
        return with_article(
            form.format(
                a="a",
                s=pick(rng, SIZE_WORDS[thing.size]) if sized else "",
                c=say_word(rng, thing.colour, COLOUR_SYNONYMS) if coloured else "",
                k=pluralise(kind) if namings is GROUP_NAMINGS else kind,
                **words,
            )
        )

    def say_single(self) -> str:
        self.facts["count"] = 0
        thing = self.name(self.scene.things[0], "a", NAMINGS)
        return pick(self.rng, SINGLE[self.split]).format(x=thing)

    def say_placed(self) -> str:
        if self.left_out == "where":
            return self.say_single()
        self.facts["count"] = 0
        self.facts["place"] = PLACE_NAMES.index(self.scene.place)
        thing = self.name(self.scene.things[0], "a", NAMINGS)
        place = pick(self.rng, PLACE_WORDS[self.scene.place])
        if self.rng.random() < 0.2:
            place += " of the picture"
        return pick(self.rng, PLACED[self.split]).format(x=thing, p=place)

    def say_count(self) -> str:
        number = len(self.scene.things)
        self.facts["count"] = number - 1
        group = self.name(
            self.scene.things[0], "a", GROUP_NAMINGS, n=pick(self.rng, NUMBERS[number])
        )
        return pick(self.rng, GROUP[self.split]).format(x=group)

    def say_pair(self) -> str:
        rng, relation = self.rng, self.scene.relation
        first, second = self.scene.things
        self.facts["count"] = 0
        if self.left_out == "where":
            x, y = self.name(first, "a", NAMINGS), self.name(second, "b", NAMINGS)
            return f"{x} and {y}"
        template = pick(rng, PAIR[self.split])
        turned = template.find("{y}") < template.find("{x}")
        x = self.name(first, "b" if turned else "a", NAMINGS)
        y = self.name(second, "a" if turned else "b", NAMINGS)
        self.facts["relation"] = RELATIONS.index(INVERSE[relation] if turned else relation)
        order = (first, second) if relation in ("left of", "above") else (second, first)
        for role, thing in zip(("lead", "trail"), order):
            self.facts[f"kind_{role}"] = KINDS.index(thing.kind)
            if self.left_out != "colour":
                self.facts[f"colour_{role}"] = COLOUR_NAMES.index(thing.colour)
        return template.format(
            x=x,
            y=y,
            r=pick(rng, RELATION_WORDS[relation]),
            i=pick(rng, RELATION_WORDS[INVERSE[relation]]),
            u=pick(rng, SIDE_WORDS[relation]),
            v=pick(rng, SIDE_WORDS[INVERSE[relation]]),
            x2="the first",
            y2="the second",
        )

    def say(self) -> str:
        text = getattr(self, f"say_{self.scene.layout}")()
        if self.scene.layout != "pair":
            self.facts["kind_b"] = len(KINDS)
            self.facts["relation"] = len(RELATIONS)
        if self.says_background:
            self.facts["background"] = BACKGROUNDS.index(self.scene.background)
            behind = pick(self.rng, BACKGROUND_WORDS[self.scene.background])
            text = pick(self.rng, WITH_BACKGROUND).format(t=text, b=behind)
        text = tidy(text)
        chance = self.rng.random()
        if chance < 0.10:
            text = text[0].upper() + text[1:]
        return text + "." if chance < 0.05 else text


def caption_with_facts(
    scene: Scene, rng: np.random.Generator, split: str = "train"
) -> tuple[str, dict[str, int]]:
    saying = Saying(scene, rng, split)
    return saying.say(), saying.facts


def caption(scene: Scene, rng: np.random.Generator, split: str = "train") -> str:
    """The scene in words: `caption(sample(7), numpy.random.default_rng(7))`."""
    return caption_with_facts(scene, rng, split)[0]


def words(text: str) -> list[str]:
    """The lower-case words of a text; punctuation is not a word."""
    return re.findall(r"[a-z0-9]+", text.lower())


def phrases(split: str) -> list[str]:
    """Every piece of text that captions of this split are put together from, slots taken out."""
    found: list[str] = ["a", "an", "the first", "the second", "of the picture", "and"]
    for tables in (NAMINGS, GROUP_NAMINGS, SINGLE, GROUP, PLACED, PAIR):
        found.extend(tables[split])
    found.extend((*KINDS, *COLOUR_NAMES))
    for table in (
        KIND_SYNONYMS, COLOUR_SYNONYMS, SIZE_WORDS, NUMBERS, RELATION_WORDS, SIDE_WORDS,
        PLACE_WORDS, BACKGROUND_WORDS,
    ):  # fmt: skip
        for options in table.values():
            found.extend(options)
    kinds = [*KINDS, *(kind for options in KIND_SYNONYMS.values() for kind in options)]
    found.extend(pluralise(kind) for kind in kinds)
    return [re.sub(r"\{\w+\}", " ", phrase) for phrase in found]


def vocabulary() -> list[str]:
    """Every word a training caption can hold, sorted."""
    return sorted({word for phrase in phrases("train") for word in words(phrase)})
