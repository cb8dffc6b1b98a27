"""From a decoder's probabilities to texts: the probable ones, by beam search."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sensorium.data.kinds.text import BOS, EOS, PAD
from sensorium.encoders.base import Tokens
from sensorium.errors import RecipeError
from sensorium.generation.text_decoder import TextDecoder

LENGTH_PENALTY = 0.6


@dataclass(frozen=True)
class Hypotheses:
    """Several texts for each row.

    Args:
        ids: (batch, text, token) BOS, words, EOS, then PAD; a text that was not finished at the limit has no EOS.
        log_probabilities: (batch, text) log p(text | memory) in nats.
        scores: (batch, text) the same, normalised for length (`length_normalised`); −∞ where a row has fewer texts.
    """

    ids: Int64[Tensor, "batch text token"]
    log_probabilities: Float[Tensor, "batch text"]
    scores: Float[Tensor, "batch text"]


def length_normalised(
    log_probabilities: Float[Tensor, "batch text"], ids: Int64[Tensor, "batch text token"],
    length_penalty: float = LENGTH_PENALTY,
) -> Float[Tensor, "batch text"]:
    """log p · (6 / (5 + n))^α for texts of n words, EOS among them.

    A sum of log-probabilities falls with every word, so that the most probable text is often too short. α = 0 ranks by
    the probability of the text; with α = 1, long texts are nearly ranked by the mean over their words.

    Source: Wu et al. 2016, "Google's neural machine translation system", equation 14, without the coverage penalty.
    """
    lengths = (ids[:, :, 1:] != PAD).sum(dim=2)
    return log_probabilities * (6.0 / (5.0 + lengths)) ** length_penalty


@torch.no_grad()
def beam_search(
    decoder: TextDecoder, memory: Tokens, *, beams: int = 4, max_tokens: int | None = None,
    length_penalty: float = LENGTH_PENALTY, empty: bool = True,
) -> Hypotheses:
    """The probable texts of each row, best score first.

    At each place the `beams` most probable continuations of a row's texts are kept. A text that ends keeps its place
    among them for good, and the others share those that are left, so that the search stops when all have ended. With as
    many beams as there are texts it finds them all; with one beam it is greedy.

    Args:
        decoder: what writes.
        memory: (row, token, width) what it reads.
        beams: texts kept, and returned, for each row.
        max_tokens: places of a text, BOS and EOS among them; None, and at most, the decoder's own.
        length_penalty: α of `length_normalised`, which ranks what was found; the search itself compares equal lengths.
        empty: whether a text may have no word.

    Raises:
        RecipeError: beams or max_tokens out of range.

    Source: Sutskever et al. 2014, "Sequence to sequence learning with neural networks", section 3.2.
    """
    if beams < 1:
        raise RecipeError(f"expected at least one beam, found {beams}")
    num_rows, num_places = len(memory.mask), places(decoder, max_tokens)
    device = memory.mask.device
    state = decoder.start(memory).reordered(torch.arange(num_rows, device=device).repeat_interleave(beams))
    ids = torch.full((num_rows, beams, num_places), PAD, device=device)
    ids[:, :, 0] = BOS
    sums = torch.full((num_rows, beams), -torch.inf, dtype=decoder.embedding.weight.dtype, device=device)
    sums[:, 0] = 0.0
    ended = torch.zeros((num_rows, beams), dtype=torch.bool, device=device)
    first_text = beams * torch.arange(num_rows, device=device)[:, None]
    for place in range(1, num_places):
        said, state = decoder.step(state, rearrange(ids[:, :, place - 1], "row text -> (row text)"))
        said = words_only(said, ends=empty or place > 1)
        said = rearrange(said, "(row text) word -> row text word", text=beams)
        totals = sums[:, :, None] + said.to(sums.dtype)
        texts, words = _best(totals, sums, ended)
        ids = ids.gather(1, repeat(texts, "row text -> row text place", place=num_places))
        ids[:, :, place] = words
        was, before = ended.gather(1, texts), sums.gather(1, texts)
        sums = torch.where(was, before, totals.flatten(1).gather(1, texts * totals.shape[2] + words))
        ended = was | (words == EOS) | (sums == -torch.inf)
        if bool(ended.all()):
            break
        state = state.reordered(rearrange(first_text + texts, "row text -> (row text)"))
    scores = length_normalised(sums, ids, length_penalty)
    order = scores.argsort(dim=1, descending=True, stable=True)
    return Hypotheses(ids.gather(1, repeat(order, "row text -> row text place", place=num_places)),
                      sums.gather(1, order), scores.gather(1, order))


def places(decoder: TextDecoder, max_tokens: int | None) -> int:
    """How many places a text gets.

    Raises:
        RecipeError: fewer than a BOS and one word need, or more than the decoder has.
    """
    if max_tokens is None:
        return decoder.max_tokens
    if not 2 <= max_tokens <= decoder.max_tokens:
        raise RecipeError(f"expected max_tokens from 2 to {decoder.max_tokens}, the longest text that was learned, "
                          f"found {max_tokens}")
    return max_tokens


def words_only(said: Float[Tensor, "text word"], *, ends: bool = True) -> Float[Tensor, "text word"]:
    """−∞ for PAD, MASK and BOS; for EOS too where the text may not end."""
    first = EOS if ends else EOS + 1
    return said.masked_fill(torch.arange(said.shape[1], device=said.device) < first, -torch.inf)


def _best(
    totals: Float[Tensor, "row text word"], sums: Float[Tensor, "row text"], ended: Bool[Tensor, "row text"],
) -> tuple[Int64[Tensor, "row text"], Int64[Tensor, "row text"]]:
    """Which texts go on, and their next words: those that have ended, by a PAD, then the most probable ones."""
    beams, num_words = totals.shape[1:]
    priority = totals.masked_fill(ended[:, :, None], -torch.inf)
    kept = torch.arange(beams, 0, -1, device=totals.device, dtype=totals.dtype)  # above all log-probabilities, in order
    priority[:, :, PAD] = torch.where(ended & (sums > -torch.inf), kept, -torch.inf)
    chosen = priority.flatten(1).topk(beams, dim=1).indices
    return chosen // num_words, chosen % num_words
