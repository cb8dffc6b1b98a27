"""How probable texts are under a decoder, and the loss that makes the training texts probable."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sensorium.data.kinds.text import EOS
from sensorium.encoders.base import Tokens
from sensorium.generation.text_decoder import TextDecoder


def next_word_losses(
    logits: Float[Tensor, "batch token word"], ids: Int64[Tensor, "batch token"], mask: Bool[Tensor, "batch token"], *,
    label_smoothing: float = 0.0,
) -> Float[Tensor, "batch"]:
    """ℓ_i = (1 / n_i) Σ_t −[(1 − ε) log p(w_t) + ε mean_w log p(w)] over the n_i words of row i, EOS among them.

    In nats a word: a row counts once, however long its text, so that the mean over rows stands beside other losses and
    does not grow with the texts. The sum over words, which `text_log_probabilities` gives, is the likelihood.

    Args:
        logits: at each place for the word at the next one, as `TextDecoder` gives them; those at the last are not read.
        ids: the true words from BOS on, none of them hidden.
        mask: True = real; words under a False are not counted. A row without words to predict has a loss of 0.
        label_smoothing: ε, the share of probability spread over all words that can be said, in 0…1.

    Source: Szegedy et al. 2016, "Rethinking the inception architecture", section 7, for the smoothing.
    """
    said = torch.log_softmax(logits[:, :-1], dim=-1)
    losses = -_of_words(said, ids)
    if label_smoothing > 0.0:
        losses = (1.0 - label_smoothing) * losses - label_smoothing * said[:, :, EOS:].mean(dim=-1)
    real = mask[:, 1:]
    return torch.where(real, losses, 0.0).sum(dim=1) / real.sum(dim=1).clamp(min=1)


def text_log_probabilities(
    decoder: TextDecoder, ids: Int64[Tensor, "batch token"], mask: Bool[Tensor, "batch token"], memory: Tokens,
) -> Float[Tensor, "batch"]:
    """log p(w_1 … w_n | memory) = Σ_t log p(w_t | words before, memory), in nats: to choose among texts, or rank them.

    Args:
        decoder: what writes.
        ids: (batch, token) from BOS on.
        mask: True = real.
        memory: of the same rows; `repeated` for several texts a row.
    """
    said = _of_words(torch.log_softmax(decoder(ids, memory)[:, :-1], dim=-1), ids)
    return torch.where(mask[:, 1:], said, 0.0).sum(dim=1)


def repeated(memory: Tokens, times: int) -> Tokens:
    """Every row this many times, side by side."""
    span = None if memory.span is None else memory.span.repeat_interleave(times, dim=0)
    return Tokens(memory.values.repeat_interleave(times, dim=0), memory.mask.repeat_interleave(times, dim=0), span)


def _of_words(
    said: Float[Tensor, "batch before word"], ids: Int64[Tensor, "batch token"],
) -> Float[Tensor, "batch before"]:
    """The log-probability of each word after the first."""
    return said.gather(2, ids[:, 1:, None])[:, :, 0]
