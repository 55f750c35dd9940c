"""Trains the text encoder: from a caption alone it must say what is drawn, of which colour, and where.

It needs no pictures, so it costs minutes. The denoiser then starts from states that already mean something.
"""

import re
import string
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from captions import COLOUR_SYNONYMS, FACT_SIZES, KIND_SYNONYMS, caption_with_facts, pluralise
from networks import TEXT_WIDTH, TextEncoder
from scenes import COLOURS, KINDS, sample
from tokenizer import Tokenizer

# What people add to prompts and the pictures do not know.
FILLERS = (
    "please", "high quality", "4k", "masterpiece", "beautiful", "very detailed", "trending", "nice", "cute", "lovely",
    "digital art", "vector art", "minimalist", "colorful", "for children", "in my style", "hd", "best quality", "flat design",
)  # fmt: skip
FILLING = 0.15
TYPING_ERRORS = 0.06

# Training never shows some colours on some kinds. So that the encoder does not learn that they exclude one another, it
# often reads captions where all kinds, or all colours, are words that mean nothing, and answers for the other half alone.
HIDING = 0.25
NAMES = {
    "kind": {
        word for kind in KINDS for name in (kind, *KIND_SYNONYMS.get(kind, ()))
        for form in (name, pluralise(name)) for word in form.split()
    },
    "colour": {word for colour in COLOURS for word in (colour, *COLOUR_SYNONYMS.get(colour, ()))},
}  # fmt: skip


def train_text_encoder(tokenizer: Tokenizer, steps: int, batch: int = 128, rate: float = 1e-3, log=print) -> TextEncoder:
    encoder = TextEncoder(len(tokenizer.ids))
    answers = nn.ModuleDict({name: nn.Linear(TEXT_WIDTH, size) for name, size in FACT_SIZES.items()})
    trained = [*encoder.parameters(), *answers.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    rng = np.random.default_rng(21)
    began = time.monotonic()
    for step in range(1, steps + 1):
        ids, facts = draw_captions(tokenizer, rng, batch)
        with torch.autocast("cpu", torch.bfloat16):
            summary = encoder(ids)[:, 0]
            guesses = {name: head(summary).float() for name, head in answers.items()}
        loss = sum(masked_cross_entropy(guesses[name], facts[name]) for name in FACT_SIZES)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        plan.step()
        if step % 200 == 0:
            log(f"text encoder {step}/{steps}: loss {loss.item():.4f}, {time.monotonic() - began:.0f} s")
    encoder.eval()
    answers.eval()
    for name, right in score(tokenizer, encoder, answers).items():
        log(f"text encoder, wordings of the test split, {name}: {right:.1%}")
    return encoder


def masked_cross_entropy(guess: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Zero where no caption of the batch says anything."""
    said = (wanted >= 0).sum().clamp(min=1)
    return F.cross_entropy(guess, wanted, ignore_index=-1, reduction="sum") / said


def draw_captions(tokenizer, rng, batch: int, split: str = "train", first_seed: int | None = None):
    ids, rows = [], []
    for index in range(batch):
        # Seeds far above those of the pictures: the encoder sees more scenes than the denoiser does.
        seed = int(rng.integers(1 << 20, 1 << 40)) if first_seed is None else first_seed + index
        words, facts = caption_with_facts(sample(seed, split), rng, split)
        if split == "train":
            words, facts = hide(disturb(words, rng), facts, rng)
        ids.append(tokenizer.encode(words))
        rows.append(facts)
    wanted = {name: torch.tensor([facts[name] for facts in rows]) for name in FACT_SIZES}
    return torch.tensor(ids), wanted


def hide(words: str, facts: dict[str, int], rng: np.random.Generator) -> tuple[str, dict[str, int]]:
    """Makes nonsense of the words for kinds, of those for colours, or of neither, and forgets the facts that they told."""
    chance = rng.random()
    attribute = "kind" if chance < HIDING else "colour" if chance < 2 * HIDING else None
    if attribute is None:
        return words, facts
    hidden = re.sub(r"[A-Za-z]+", lambda match: nonsense(rng) if match[0].lower() in NAMES[attribute] else match[0], words)
    none_is_there = len(KINDS)
    told = {
        name: -1 if name.startswith(attribute) and not (name == "kind_b" and fact == none_is_there) else fact
        for name, fact in facts.items()
    }
    return hidden, told


def nonsense(rng: np.random.Generator) -> str:
    return "".join(string.ascii_lowercase[int(letter)] for letter in rng.integers(0, 26, 2 + int(rng.random() * 4)))


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
def score(tokenizer, encoder, answers, count: int = 1000) -> dict[str, float]:
    ids, facts = draw_captions(tokenizer, np.random.default_rng(22), count, "test", first_seed=0)
    summary = encoder(ids)[:, 0]
    right = {}
    for name, head in answers.items():
        said = facts[name] >= 0
        if said.any():
            right[name] = (head(summary).argmax(dim=1) == facts[name])[said].float().mean().item()
    return right
