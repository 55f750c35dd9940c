"""A WordPiece tokenizer for the captions' few hundred words: what is no word is spelled in letters."""

import json
import re
import string
import unicodedata
from pathlib import Path

from networks import PAD, TOKENS_MAX

SPECIAL = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
UNKNOWN, BEGIN, END = 1, 2, 3
LETTERS = string.ascii_lowercase + string.digits
# As the published tokenizers of this kind do: a longer word is unknown as a whole.
WORD_LETTERS_MAX = 100
PIECES = re.compile(r"\w+|[^\w\s]")

assert SPECIAL.index("[PAD]") == PAD


class Tokenizer:
    """`encode` gives exactly the ids that `tokenizer.json`, as `save` writes it, gives in any library."""

    def __init__(self, words: list[str]):
        marks = sorted(set(string.punctuation))
        known = [word for word in sorted(set(words)) if word not in LETTERS and word not in marks]
        pieces = [*SPECIAL, *marks, *LETTERS, *(f"##{letter}" for letter in LETTERS), *known]
        self.ids = {piece: index for index, piece in enumerate(pieces)}

    def encode(self, caption: str) -> list[int]:
        plain = unicodedata.normalize("NFD", caption.lower())
        plain = "".join(letter for letter in plain if unicodedata.category(letter) != "Mn")
        ids = [id for word in PIECES.findall(plain.replace("_", " _ ")) for id in self.spell(word)]
        ids = [BEGIN, *ids[: TOKENS_MAX - 2], END]
        return ids + [PAD] * (TOKENS_MAX - len(ids))

    def spell(self, word: str) -> list[int]:
        """The longest known beginning, then the longest known continuation, and so on."""
        if len(word) > WORD_LETTERS_MAX:
            return [UNKNOWN]
        found, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self.ids), None)
            if end is None:
                return [UNKNOWN]
            found.append(self.ids[prefix + word[start:end]])
            start = end
        return found

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        special = [
            {"id": id, "content": word, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for id, word in enumerate(SPECIAL)
        ]  # fmt: skip
        begin, end = ({"id": word, "ids": [SPECIAL.index(word)], "tokens": [word]} for word in ("[BOS]", "[EOS]"))
        frame = [{"SpecialToken": {"id": "[BOS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
        frame.append({"SpecialToken": {"id": "[EOS]", "type_id": 0}})
        document = {
            "version": "1.0",
            "truncation": {"direction": "Right", "max_length": TOKENS_MAX, "strategy": "LongestFirst", "stride": 0},
            "padding": {
                "strategy": {"Fixed": TOKENS_MAX}, "direction": "Right", "pad_to_multiple_of": None,
                "pad_id": PAD, "pad_type_id": 0, "pad_token": "[PAD]",
            },
            "added_tokens": special,
            "normalizer": {
                "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": False,
                "strip_accents": True, "lowercase": True,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {
                "type": "TemplateProcessing", "single": frame, "pair": frame,
                "special_tokens": {"[BOS]": begin, "[EOS]": end},
            },
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {
                "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": WORD_LETTERS_MAX, "vocab": self.ids,
            },
        }  # fmt: skip
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": TOKENS_MAX, "do_lower_case": True,
            "pad_token": "[PAD]", "unk_token": "[UNK]", "bos_token": "[BOS]", "eos_token": "[EOS]",
        }  # fmt: skip
        for name, content in {"tokenizer.json": document, "tokenizer_config.json": settings}.items():
            (folder / name).write_text(json.dumps(content, indent=1) + "\n")
