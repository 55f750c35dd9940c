"""Makes the small CLIP tokenizer of the unit tests and what transformers says of some prompts.

python packages/diffusion/parity/make_tokenizer.py

writes packages/diffusion/src/onnx/fixtures/clip-tokenizer: `vocab.json`, `merges.txt` and `tokenizer_config.json` as the folders
of Stable Diffusion have them, and `expected.json`. Merges that are there are kept: the trainer breaks ties by chance.
"""

import json
from pathlib import Path

import transformers
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizerFast

TARGET = Path(__file__).parent.parent / "src" / "onnx" / "fixtures" / "clip-tokenizer"
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
TOKENS_MAX = 77

CORPUS = [
    "a lighthouse at dusk, oil painting",
    "a red circle above a blue square on grass",
    "the sea at night with a boat and the moon",
    "a photo of an astronaut riding a horse, highly detailed, 4k",
    "it's the ship's mast; they're sailing and we'll follow",
    "snowy mountain & tree house!!! ... 1990s style (masterpiece)",
] * 20

PROMPTS = [
    "",
    "a lighthouse at dusk",
    "  A   Lighthouse\tat\n\nDUSK  ",
    "It's the ship's mast; they're sailing, WE'LL follow",
    "1990s 4k (masterpiece)!!! ... &&&",
    "café naïve Ünïcode straße",
    "cafe\u0301 decomposed",
    "emoji 🌊🚢 ok",
    "unseenwordzzz qqq x",
    "<|endoftext|> in the middle <|startoftext|> twice",
    "semi-colon;comma,dash-under_score",
    "İstanbul ǅ ﬁ",
    "a red circle " * 40,
    "\u00a0nbsp\u2003emspace\u3000wide",
    "don't can't he'd I've I'm",
]


def learn_merges() -> list[str]:
    tokenizer = Tokenizer(
        models.BPE(end_of_word_suffix="</w>", unk_token=END, continuing_subword_prefix="")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        special_tokens=[],
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]


def stored_merges() -> list[str] | None:
    path = TARGET / "merges.txt"
    return path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else None


def write_parts(merges: list[str]) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [
        *alphabet,
        *(letter + "</w>" for letter in alphabet),
        *(merge.replace(" ", "") for merge in merges),
        BEGIN,
        END,
    ]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    write("vocab.json", vocabulary)
    (TARGET / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    added = {"__type": "AddedToken", "lstrip": False, "normalized": True, "rstrip": False}
    write(
        "tokenizer_config.json",
        {
            "bos_token": {**added, "content": BEGIN, "single_word": False},
            "eos_token": {**added, "content": END, "single_word": False},
            "unk_token": END,
            "pad_token": END,
            "do_lower_case": True,
            "model_max_length": TOKENS_MAX,
            "tokenizer_class": "CLIPTokenizer",
        },
    )


def open_tokenizer(padding: str) -> CLIPTokenizerFast:
    return CLIPTokenizerFast.from_pretrained(str(TARGET), pad_token=padding)


def expect() -> None:
    usual, banged = open_tokenizer(END), open_tokenizer("!")

    def ids(tokenizer: CLIPTokenizerFast, prompt: str) -> list[int]:
        wanted = {"padding": "max_length", "max_length": TOKENS_MAX, "truncation": True}
        return tokenizer(prompt, **wanted).input_ids

    rows = [
        {
            "prompt": prompt,
            "ids": ids(usual, prompt),
            "paddedWithBang": ids(banged, prompt),
            "length": len(usual(prompt).input_ids),
        }
        for prompt in PROMPTS
    ]
    made_by = f"transformers {transformers.__version__}, CLIPTokenizerFast"
    write("expected.json", {"made_by": made_by, "rows": rows})


def write(name: str, value: object) -> None:
    (TARGET / name).write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    TARGET.mkdir(parents=True, exist_ok=True)
    write_parts(stored_merges() or learn_merges())
    expect()
