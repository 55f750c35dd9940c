"""What scenes, captions and the checker promise: `python -m unittest test_scenes`."""

from __future__ import annotations

import unittest

import numpy as np

from captions import (
    FACT_SIZES, GROUP, GROUP_NAMINGS, KINDS, NAMINGS, PAIR, PLACED, SINGLE, caption,
    caption_with_facts, phrases, vocabulary, words,
)  # fmt: skip
from checker_selftest import held_out_scenes, rate, split_scenes
from make_held_out import FILE, make_held_out, write_text
from scenes import COLOURS, HELD_OUT_PAIRS, MARGIN, SIDE, compatible, draw, sample


def told(seed: int, split: str) -> tuple[str, dict[str, int]]:
    return caption_with_facts(sample(seed, split), np.random.default_rng(seed), split)


class Scenes(unittest.TestCase):
    def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(self):
        pictures = [draw(sample(seed)).tobytes() for seed in range(50)]
        self.assertEqual(pictures, [draw(sample(seed)).tobytes() for seed in range(50)])
        self.assertEqual(len(set(pictures)), 50)

    def test_a_picture_is_128_pixels_square_in_eight_bits(self):
        picture = draw(sample(1))
        self.assertEqual((picture.shape, picture.dtype), ((SIDE, SIDE, 3), np.uint8))

    def test_things_stay_inside_apart_and_visible(self):
        for seed in range(3_000):
            scene = sample(seed, "test" if seed % 2 else "train")
            for index, thing in enumerate(scene.things):
                self.assertTrue(compatible(thing.colour, scene.background), seed)
                for place in (thing.x, thing.y):
                    self.assertGreaterEqual(place - thing.radius, MARGIN - 1e-6, seed)
                    self.assertLessEqual(place + thing.radius, SIDE - MARGIN, seed)
                for other in scene.things[:index]:
                    gap = max(abs(thing.x - other.x), abs(thing.y - other.y))
                    self.assertGreater(gap, thing.radius + other.radius, seed)

    def test_training_never_draws_a_held_out_pair_and_the_test_split_does(self):
        def pairs(split: str) -> set[tuple[str, str]]:
            scenes = (sample(seed, split) for seed in range(5_000))
            return {(thing.kind, thing.colour) for scene in scenes for thing in scene.things}

        trained = pairs("train")
        self.assertEqual(trained & HELD_OUT_PAIRS, set())
        self.assertEqual(len(trained), len(KINDS) * len(COLOURS) - len(HELD_OUT_PAIRS))
        self.assertLessEqual(HELD_OUT_PAIRS, pairs("test"))

    def test_an_unknown_split_is_refused(self):
        with self.assertRaisesRegex(ValueError, "no split"):
            sample(1, "validation")


class Captions(unittest.TestCase):
    def test_the_same_seed_says_the_same(self):
        first, again = ([told(seed, "train") for seed in range(50)] for _ in range(2))
        self.assertEqual(first, again)

    def test_no_template_is_in_both_splits(self):
        for table in (NAMINGS, GROUP_NAMINGS, SINGLE, GROUP, PLACED, PAIR):
            self.assertEqual(set(table["train"]) & set(table["test"]), set())
            self.assertGreaterEqual(len(set(table["train"])), 8)

    def test_no_caption_is_said_in_both_splits(self):
        # Of the same scenes, so that only the wording can differ.
        def said(split: str) -> set[str]:
            return {
                caption(sample(seed), np.random.default_rng([seed, turn]), split)
                for seed in range(1_000)
                for turn in range(4)
            }

        self.assertEqual(said("train") & said("test"), set())

    def test_every_word_is_in_the_vocabulary(self):
        known = set(vocabulary())
        for split in ("train", "test"):
            self.assertEqual({w for p in phrases(split) for w in words(p)} - known, set())
            for seed in range(2_000):
                self.assertEqual(set(words(told(seed, split)[0])) - known, set())

    def test_facts_are_what_the_words_said(self):
        for seed in range(2_000):
            text, facts = told(seed, "train")
            self.assertEqual(facts.keys(), FACT_SIZES.keys())
            for name, value in facts.items():
                self.assertTrue(-1 <= value < FACT_SIZES[name], (text, name))
            sized = {"small", "tiny", "little", "large", "big", "huge"} & set(words(text))
            self.assertEqual(facts["size_a"] >= 0, bool(sized), text)
            groups = {"two", "three", "four", "2", "3", "4"} & set(words(text))
            self.assertEqual(facts["count"] > 0, bool(groups), text)


class HeldOut(unittest.TestCase):
    def test_the_file_is_what_its_script_writes(self):
        self.assertEqual(FILE.read_text(), write_text(make_held_out()))

    def test_half_of_the_single_objects_are_held_out_pairs(self):
        single = [c["asked"]["objects"][0] for c in make_held_out()[:150]]
        self.assertEqual(sum(thing["heldOutPair"] for thing in single), 75)


class Checker(unittest.TestCase):
    def test_drawings_of_the_held_out_captions_are_seen_right(self):
        scenes = held_out_scenes()
        self.assertGreaterEqual(rate(scenes, spoilt=False)["right"], 98)
        self.assertGreaterEqual(rate(scenes[::3], spoilt=True)["right"], 98)

    def test_other_drawings_of_the_test_split_are_seen_right(self):
        rates = rate(split_scenes(300), spoilt=False)
        for fact in ("right", "background_right", "count_right", "size_right"):
            self.assertGreaterEqual(rates[fact], 98, fact)

    def test_a_drawing_of_something_else_is_not(self):
        scenes = held_out_scenes()[::3]
        shifted = [(scene, asked) for (scene, _), (_, asked) in zip(scenes, scenes[7:])]
        self.assertLessEqual(rate(shifted, spoilt=False)["right"], 5)

    def test_an_empty_picture_holds_nothing(self):
        from checker import find_things

        self.assertEqual(find_things(np.full((SIDE, SIDE, 3), 200, np.uint8)), [])


if __name__ == "__main__":
    unittest.main()
