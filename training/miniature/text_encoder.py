"""Trains the text encoder: from a caption alone it must say what is drawn, of which colour, and where.

It needs no pictures, so it costs minutes. The denoiser then starts from states that already mean something.

Training never shows some colours on some kinds, and the encoder must not learn that they exclude one another: that is
the first thing it would learn, as it lowers the loss before anything is understood. So at first it reads captions where
all kinds are words for something else and is asked for colours, and captions where all colours are and is asked for
kinds. Whole captions ask for both only at the end, when it has nothing to gain from guessing.
"""

import re
import string
import time

import numpy as np
import torch
from torch.nn import functional as F

from captions import COLOUR_SYNONYMS, FACT_SIZES, KIND_SYNONYMS, caption_with_facts, pluralise
from networks import TextEncoder
from scenes import COLOURS, KINDS, sample
from tokenizer import Tokenizer

# What people add to prompts and the pictures do not know.
FILLERS = (
    "please", "high quality", "4k", "masterpiece", "beautiful", "very detailed", "trending", "nice", "cute", "lovely",
    "digital art", "vector art", "minimalist", "colorful", "for children", "in my style", "hd", "best quality", "flat design",
)  # fmt: skip
FILLING = 0.15
TYPING_ERRORS = 0.06

# Of the captions, how many have their kinds hidden, and how many their colours.
HIDING = 0.35
# After this share of the steps whole captions ask for everything.
WHOLE_FROM = 0.65

NAMES = {
    "kind": {
        word for kind in KINDS for name in (kind, *KIND_SYNONYMS.get(kind, ()))
        for form in (name, pluralise(name)) for word in form.split()
    },
    "colour": {word for colour in COLOURS for word in (colour, *COLOUR_SYNONYMS.get(colour, ()))},
}  # fmt: skip
# Words for kinds and colours that are never drawn, to hide others behind.
STRANGERS = {
    "kind": (
        "dog", "cat", "car", "apple", "chair", "bird", "cloud", "lamp", "cup", "book", "hat", "shoe", "key", "door", "bus",
        "train", "horse", "cow", "duck", "frog", "bear", "cake", "tent", "drum", "kite", "table", "banana", "spoon",
    ),
    "colour": (
        "teal", "maroon", "beige", "cyan", "grey", "brown", "turquoise", "lime", "indigo", "silver", "navy", "magenta",
        "olive", "gray", "striped", "shiny",
    ),
}  # fmt: skip


def all_words(vocabulary: list[str]) -> list[str]:
    """The captions' words and those that are hidden behind."""
    return [*vocabulary, *STRANGERS["colour"], *STRANGERS["kind"], *(pluralise(kind) for kind in STRANGERS["kind"])]


def train_text_encoder(tokenizer: Tokenizer, steps: int, batch: int = 128, rate: float = 1e-3, log=print) -> TextEncoder:
    encoder = TextEncoder(len(tokenizer.ids), list(FACT_SIZES.values()))
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    rng = np.random.default_rng(21)
    began = time.monotonic()
    for step in range(1, steps + 1):
        ids, facts = draw_captions(tokenizer, rng, batch, whole=step > WHOLE_FROM * steps)
        with torch.autocast("cpu", torch.bfloat16):
            _, logits = encoder.read(ids)
        loss = sum(masked_cross_entropy(logit.float(), wanted) for logit, wanted in zip(logits, facts.T))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        plan.step()
        if step % 100 == 0:
            log(f"text encoder {step}/{steps}: loss {loss.item():.4f}, {time.monotonic() - began:.0f} s")
    encoder.eval()
    for name, right in score(tokenizer, encoder).items():
        log(f"text encoder, captions like the test's, {name}: {right:.1%}")
    return encoder


def masked_cross_entropy(guess: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Of those that are asked; zero where none is."""
    asked = (wanted >= 0).sum().clamp(min=1)
    return F.cross_entropy(guess, wanted, ignore_index=-1, reduction="sum") / asked


def draw_captions(tokenizer: Tokenizer, rng: np.random.Generator, batch: int, whole: bool):
    """Token ids, and the class of each fact or -1 where it is not asked."""
    ids, rows = [], []
    for _ in range(batch):
        # Seeds far above those of the pictures: the encoder sees more scenes than the denoiser does.
        words, facts = caption_with_facts(sample(int(rng.integers(1 << 20, 1 << 40))), rng)
        words, hidden = hide(disturb(words, rng), rng)
        ids.append(tokenizer.encode(words))
        rows.append(classes(facts, hidden, whole))
    return torch.tensor(ids), torch.tensor(rows)


def classes(facts: dict[str, int], hidden: str | None, whole: bool) -> list[int]:
    found = []
    for name, size in FACT_SIZES.items():
        attribute = name.split("_")[0]
        # That there is no second thing can be said without its name.
        named = attribute in NAMES and not (name == "kind_b" and facts[name] == len(KINDS))
        if named and hidden is None and not whole:
            found.append(-1)
        else:
            unsaid = facts[name] < 0 or (named and attribute == hidden)
            found.append(size if unsaid else facts[name])
    return found


def hide(words: str, rng: np.random.Generator, share: float = HIDING) -> tuple[str, str | None]:
    """Replaces the words for all kinds, or for all colours, or none; says which."""
    chance = rng.random()
    attribute = "kind" if chance < share else "colour" if chance < 2 * share else None
    if attribute is None:
        return words, None
    names = NAMES[attribute]
    replace = lambda match: stranger(match[0], attribute, rng) if match[0].lower() in names else match[0]  # noqa: E731
    return re.sub(r"[A-Za-z]+", replace, words), attribute


def stranger(word: str, attribute: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.3:
        return "".join(string.ascii_lowercase[letter] for letter in rng.integers(0, 26, 2 + int(rng.random() * 5)))
    other = STRANGERS[attribute][int(rng.random() * len(STRANGERS[attribute]))]
    return pluralise(other) if attribute == "kind" and word.endswith("s") and word not in KINDS else other


def disturb(words: str, rng: np.random.Generator) -> str:
    if rng.random() < FILLING:
        filler = FILLERS[int(rng.random() * len(FILLERS))]
        words = f"{filler} {words}" if rng.random() < 0.3 else f"{words}, {filler}"
    if rng.random() < TYPING_ERRORS:
        place = int(rng.random() * (len(words) - 1))
        swapped = words[place + 1] + words[place] if rng.random() < 0.5 else words[place]
        words = words[:place] + swapped + words[place + 2 :]
    return words


@torch.no_grad()
def score(tokenizer: Tokenizer, encoder: TextEncoder, count: int = 1000) -> dict[str, float]:
    """Over wordings and pairs of the test split, of scenes that are none of the test's."""
    rng = np.random.default_rng(22)
    asked = [caption_with_facts(sample((1 << 41) + seed, "test"), rng, "test") for seed in range(count)]
    _, logits = encoder.read(torch.tensor([tokenizer.encode(words) for words, _ in asked]))
    right = {}
    for name, logit in zip(FACT_SIZES, logits):
        wanted = torch.tensor([facts[name] if facts[name] >= 0 else FACT_SIZES[name] for _, facts in asked])
        right[name] = (logit.argmax(dim=1) == wanted).float().mean().item()
    return right
