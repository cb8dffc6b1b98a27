"""The words in which texts are written: a byte-level BPE of the generated column's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sensorium.data.kinds.text import BOS, CHARACTERS, EOS, LONGEST, MASK, PAD, load_tokenizer, train_tokenizer
from sensorium.errors import DataError, ModelFolderError

VOCABULARY = 4000
SMALLEST = 360
SEEN = 5


@dataclass(frozen=True)
class Words:
    """Texts ↔ word numbers. A word is a piece of text of one byte or more, so that any text can be written.

    It belongs to the column that is written, whatever encoder (perhaps one that lowers all letters) reads that column.

    Args:
        tokenizer: a byte-level BPE as JSON; its first four words are PAD, MASK, BOS and EOS.
        max_tokens: places of the longest text, its BOS and EOS among them.

    Example:
        >>> words = Words.learned(["a red circle", "a blue circle"], max_tokens=32)
        >>> ids, mask = words.encode(["a red square 🟥"])
        >>> words.decode(ids)
        ['a red square 🟥']
    """

    tokenizer: str
    max_tokens: int

    @classmethod
    def learned(
        cls, texts: Sequence[str], *, vocabulary: int = VOCABULARY, max_tokens: int | None = None,
    ) -> Words:
        """Learn the words of some texts.

        Args:
            texts: the training texts, as `TextKind.decode` gives them.
            vocabulary: the most words; fewer are learned where the texts are few: about one for each five that are
                separated by blanks, none that is seen only once, beside the 256 bytes.
            max_tokens: None = the 99th percentile of the texts and one more, at most 256.

        Raises:
            DataError: no texts.
        """
        if len(texts) == 0:
            raise DataError("no texts to learn words from: the column that is to be written is empty")
        separated = sum(len(text.split()) for text in texts)
        tokenizer = train_tokenizer(texts, min(vocabulary, max(SMALLEST, separated // SEEN)))
        if max_tokens is None:
            lengths = [len(one) + 2 for one in _pieces(tokenizer, texts, LONGEST)]
            max_tokens = min(LONGEST, int(np.percentile(lengths, 99)) + 1)
        return cls(tokenizer, max_tokens)

    @property
    def num_words(self) -> int:
        """Word numbers are below this."""
        return int(load_tokenizer(self.tokenizer).get_vocab_size())

    def encode(self, texts: Sequence[str]) -> tuple[Int64[Tensor, "batch token"], Bool[Tensor, "batch token"]]:
        """Texts → (batch, token) BOS, words, EOS, then PAD; mask, True = real.

        A text that does not fit is cut and has no EOS: nothing should learn from it where texts end.
        """
        rows = [[BOS, *one, EOS][: self.max_tokens] for one in _pieces(self.tokenizer, texts, self.max_tokens)]
        ids = torch.full((len(rows), max(map(len, rows), default=0)), PAD, dtype=torch.int64)
        for row, one in enumerate(rows):
            ids[row, : len(one)] = torch.tensor(one)
        return ids, ids != PAD

    def decode(self, ids: Int64[Tensor, "batch token"]) -> list[str]:
        """(batch, token) word numbers → what they say before the first EOS; PAD, MASK and BOS say nothing.

        Bytes that are not UTF-8 together become "�".
        """
        tokenizer = load_tokenizer(self.tokenizer)
        rows = [row[: row.index(EOS)] if EOS in row else row for row in ids.tolist()]
        return [tokenizer.decode([word for word in row if word > EOS]).removeprefix(" ") for row in rows]

    def to_json(self) -> str:
        """One JSON object, which `from_json` reads."""
        return json.dumps({"max_tokens": self.max_tokens, "tokenizer": self.tokenizer}, ensure_ascii=False)

    @classmethod
    def from_json(cls, definition: str) -> Words:
        """What `to_json` wrote.

        Raises:
            ModelFolderError: it is something else.
        """
        try:
            read = json.loads(definition)
            words = cls(read["tokenizer"], int(read["max_tokens"]))
            num_words = words.num_words
        except Exception as error:  # the tokenizers library raises plain Exception
            raise ModelFolderError(f"these are not words to write with: {error}") from error
        if num_words <= EOS + 1 or words.max_tokens < 3:
            raise ModelFolderError(f"these are not words to write with: {num_words} words, {words.max_tokens} places")
        return words


def hide_words(
    ids: Int64[Tensor, "batch token"], uniform: Float[Tensor, "batch token"], share: float,
) -> Int64[Tensor, "batch token"]:
    """Word dropout (Bowman et al. 2016): what the decoder reads in training, with a share of the words hidden.

    A decoder that always sees all words before the next learns to continue texts before it learns to read its memory.

    Args:
        ids: word numbers; BOS, EOS and PAD are never hidden.
        uniform: numbers in [0, 1), keyed by row.
        share: of the words that become MASK, in 0…1.
    """
    return torch.where((uniform < share) & (ids > EOS), MASK, ids)


def _pieces(tokenizer: str, texts: Sequence[str], most: int) -> list[list[int]]:
    """Word numbers of each text's beginning. A blank is put before each, so that its first word is like any other."""
    encoded = load_tokenizer(tokenizer).encode_batch([" " + text[: CHARACTERS * most] for text in texts])
    return [one.ids for one in encoded]
