"""Caption: a text column, word by word, from any subset of the other modalities."""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sensorium.data.batch import Aim
from sensorium.encoders.base import Tokens
from sensorium.generation.likelihood import next_word_losses
from sensorium.generation.memory import Memory
from sensorium.generation.text_decoder import TextDecoder
from sensorium.generation.words import Words, hide_words
from sensorium.keyed import Draws
from sensorium.objectives.generative import Condition, Generative

WORD_DROPOUT = 0.1


class Caption(Generative):
    """L = −(1 / n) Σ_i log p(w_i | w_<i, z_S, T_S): a transformer decoder trained by likelihood, with teacher forcing.

    It reads the fused vector and the tokens of whatever modalities are there, never the column it writes. Text is made
    of discrete words, so no gradient of a discriminator could pass through a sample; likelihood needs none.

    Args:
        to: the text modality that is written.
        names: the modalities, in the schema's order.
        width: of the tokens.
        words: the tokenizer of what is written.
        layers: of the decoder.
        label_smoothing: share of the probability spread over all words, in training.
        weight: in the joint loss.
        name: caption, or answer.
        asks: modalities of which one must be there.
    """

    score_word = "next words right"

    def __init__(
        self, to: str, names: tuple[str, ...], width: int, words: Words, *, layers: int = 2,
        label_smoothing: float = 0.1, weight: float = 1.0, name: str = "caption", asks: Collection[str] = (),
    ) -> None:
        super().__init__(name, weight, to)
        self.asks = frozenset(asks)
        self.words = words
        self.label_smoothing = label_smoothing
        self.memory = Memory(names, width)
        self.decoder = TextDecoder(words.num_words, width, max_tokens=words.max_tokens, num_layers=layers)

    def remembered(self, condition: Condition) -> Tokens:
        """What the decoder reads."""
        tokens: Tokens = self.memory(condition.vector, condition.tokens, condition.presence)
        return tokens

    def losses(self, condition: Condition, aim: Aim, draws: Draws) -> Float[Tensor, "batch"]:
        """Each row's mean loss over its words, smoothed, some of the words before hidden."""
        ids, mask = self._true(aim, condition.vector.device)
        uniform = torch.from_numpy(draws.uniform("caption/hide", ids.shape[1])).to(ids.device)
        logits = self.decoder(hide_words(ids, uniform, WORD_DROPOUT), self.remembered(condition))
        return next_word_losses(logits.float(), ids, mask, label_smoothing=self.label_smoothing)

    def judge(
        self, condition: Condition, aim: Aim, draws: Draws,
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
        """Each row's mean loss over its words, not smoothed, and its share of next words that are right."""
        ids, mask = self._true(aim, condition.vector.device)
        logits = self.decoder(ids, self.remembered(condition)).float()
        right = (logits[:, :-1].argmax(dim=2) == ids[:, 1:]) & mask[:, 1:]
        return next_word_losses(logits, ids, mask), right.sum(dim=1) / mask[:, 1:].sum(dim=1)

    def _true(self, aim: Aim, device: torch.device) -> tuple[Int64[Tensor, "batch token"], Bool[Tensor, "batch token"]]:
        ids, mask = self.words.encode(aim.arrays)
        return ids.to(device), mask.to(device)
