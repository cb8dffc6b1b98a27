"""Text: strings of any language → token numbers, by a byte-level BPE tokenizer trained on the data or a model's own."""

from __future__ import annotations

import html
import os
import re
import unicodedata
import zlib
from collections.abc import Sequence
from datetime import date, time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sensorium.data.decoding.subtitles import subtitle_text
from sensorium.data.kinds.base import Cell, Html, Inputs, Padded
from sensorium.data.notation import is_missing
from sensorium.errors import BadCell

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from sensorium.keyed import Draws

SPECIAL_TOKENS = ("[PAD]", "[MASK]", "[BOS]", "[EOS]")
PAD, MASK, BOS, EOS = range(4)
WORD_DROPOUT = 0.1
LONGEST = 256
CHARACTERS = 64
TRAINED_ON = 100_000
_WORD = re.compile(r"\S{500}")  # a word of 100,000 letters takes seconds to learn from; a text without blanks, less so
DESCRIBED_BUCKETS = 512


class TextKind(BaseModel):
    """Text as token numbers. Unicode is normalised (NFC); a blank cell is missing.

    Args:
        vocabulary: the most tokens the tokenizer may learn.
        max_tokens: longer texts are cut; None until measured: the 99th percentile of the training texts, at most 256.
        augmentation: how far training texts are varied: a tenth of the tokens, times this, are hidden.
        tokenizer: the tokenizer as JSON (kept in a file of its own in the model folder); None until measured. That of
            a pretrained model adds its special tokens, and cuts to max_tokens around them.
        padding: the token behind a text's end.
        hidden: the token that stands for a hidden one.
        never_hidden: tokens that are never hidden (a pretrained model's special ones).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str] = "text"
    kind: Literal["text"] = "text"
    vocabulary: int = Field(default=8000, ge=300)
    max_tokens: int | None = Field(default=None, ge=1)
    augmentation: float = Field(default=1.0, ge=0.0)
    tokenizer: str | None = Field(default=None, exclude=True, repr=False)
    padding: int = Field(default=PAD, ge=0)
    hidden: int = Field(default=MASK, ge=0)
    never_hidden: tuple[int, ...] = ()

    def measure(self, cells: Sequence[Cell]) -> TextKind:
        """Train the tokenizer on the cells and choose the length."""
        texts = []
        for cell in cells:
            try:
                texts.append(self.decode(cell))
            except BadCell:
                continue
        tokenizer = self.tokenizer or train_tokenizer(texts, self.vocabulary)
        shortened = [text[: CHARACTERS * LONGEST] for text in texts]
        lengths = [len(e.ids) for e in load_tokenizer(tokenizer).encode_batch(shortened)] or [1]
        longest = max(4, min(LONGEST, int(np.percentile(lengths, 99)) + 1))
        return self.model_copy(update={"tokenizer": tokenizer, "max_tokens": self.max_tokens or longest})

    def decode(self, cell: Cell) -> str:
        """The normalised string; of a `Path`, what its subtitles say."""
        if isinstance(cell, Path):
            cell = subtitle_text(cell)
        if isinstance(cell, bytes):
            try:
                cell = cell.decode("utf-8")
            except UnicodeDecodeError as error:
                raise BadCell("bytes that are not UTF-8 text") from error
        if isinstance(cell, int | float | date | time) and not is_missing(cell):
            cell = str(cell)
        if not isinstance(cell, str):
            raise BadCell(f"expected text, found {type(cell).__name__}")
        text = unicodedata.normalize("NFC", cell).encode("utf-8", "replace").decode().strip()
        if not text:
            raise BadCell("blank text")
        return text

    def length(self, array: str) -> int:
        """Tokens."""
        assert self.max_tokens is not None and self.tokenizer is not None
        encoded = load_tokenizer(self.tokenizer).encode(array[: CHARACTERS * self.max_tokens])
        return max(1, min(len(encoded.ids), self.max_tokens))

    def pad(self, arrays: Sequence[str]) -> Padded:
        """(row, token) int64 token numbers; mask; span (row, token, 2) character offsets."""
        assert self.max_tokens is not None and self.tokenizer is not None
        read = CHARACTERS * self.max_tokens  # a million words are not tokenized for the sake of the first 256
        encoded = load_tokenizer(self.tokenizer).encode_batch([text[:read] for text in arrays])
        lengths = [max(1, min(len(e.ids), self.max_tokens)) for e in encoded]
        values = np.full((len(arrays), max(lengths)), self.padding, dtype=np.int64)
        span = np.zeros((len(arrays), max(lengths), 2), dtype=np.float32)
        for row, (one, length) in enumerate(zip(encoded, lengths, strict=True)):
            if one.ids:
                values[row, :length] = one.ids[:length]
                span[row, :length] = one.offsets[:length]
        mask = np.arange(values.shape[1])[None, :] < np.array(lengths)[:, None]
        return Padded(values, mask, span)

    def collate(self, arrays: Sequence[str]) -> Inputs:
        """The same as tensors."""
        return self.pad(arrays).inputs()

    def augment(self, inputs: Inputs, draws: Draws) -> Inputs:
        """Hide some tokens (word dropout, Bowman et al. 2016)."""
        return self._hide(inputs, WORD_DROPOUT * self.augmentation, draws, "hide")

    def corrupt(self, inputs: Inputs, severity: float, draws: Draws) -> Inputs:
        """Hide this share of the tokens."""
        return self._hide(inputs, severity, draws, "corrupt")

    def _hide(self, inputs: Inputs, share: float, draws: Draws, purpose: str) -> Inputs:
        import torch

        if share == 0.0:
            return inputs
        chosen = torch.from_numpy(draws.uniform(purpose, inputs.values.shape[1]) < share)
        if self.never_hidden:
            chosen &= ~torch.isin(inputs.values, torch.tensor(self.never_hidden))
        return Inputs(torch.where(chosen, self.hidden, inputs.values), inputs.mask, inputs.span)

    def show(self, array: str) -> Html:
        """The text, escaped, at most 600 characters of it."""
        shortened = array if len(array) <= 600 else array[:600] + "…"
        return f'<p class="text">{html.escape(shortened)}</p>'

    def describe(self, array: str) -> npt.NDArray[np.float32]:
        """Square roots of word counts, hashed into 512 buckets."""
        counts = np.zeros(DESCRIBED_BUCKETS, dtype=np.float32)
        for word in array.lower().split():
            counts[zlib.crc32(word.encode()) % DESCRIBED_BUCKETS] += 1
        return np.sqrt(counts)

    def num_tokens(self) -> int:
        """The size of the trained vocabulary."""
        assert self.tokenizer is not None
        return int(load_tokenizer(self.tokenizer).get_vocab_size())


@lru_cache(maxsize=32)
def load_tokenizer(definition: str) -> Tokenizer:
    """The tokenizer of this JSON; what looks like a special token in a text is text."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(definition)
    tokenizer.encode_special_tokens = True  # not kept in the JSON
    return tokenizer


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> str:
    """A byte-level BPE tokenizer (Sennrich et al. 2016; Radford et al. 2019) as JSON, after SPECIAL_TOKENS."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([_WORD.sub(r"\g<0>\n", text[:TRAINED_ON]) for text in texts], trainers.BpeTrainer(
        vocab_size=vocabulary, min_frequency=2, special_tokens=list(SPECIAL_TOKENS), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return str(tokenizer.to_str())
