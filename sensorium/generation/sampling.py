"""From a decoder's probabilities to texts: varied ones, drawn from the probable words."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from sensorium.data.kinds.text import BOS, EOS, PAD
from sensorium.encoders.base import Tokens
from sensorium.errors import RecipeError
from sensorium.generation.decoding import LENGTH_PENALTY, Hypotheses, length_normalised, places, words_only
from sensorium.generation.text_decoder import TextDecoder


@torch.no_grad()
def nucleus_sample(
    decoder: TextDecoder, memory: Tokens, uniform: Float[Tensor, "batch text word"], *, top_p: float = 0.9,
    temperature: float = 1.0, max_tokens: int | None = None, length_penalty: float = LENGTH_PENALTY,
    empty: bool = True,
) -> Hypotheses:
    """Texts drawn word by word from the nucleus: the fewest words that together have a probability of `top_p`.

    What a row says depends on its memory and its own numbers alone. The texts are in the order of the numbers; their
    log-probabilities are the decoder's own, neither cut to the nucleus nor changed by the temperature.

    Args:
        decoder: what writes.
        memory: (row, token, width) what it reads.
        uniform: numbers in [0, 1), keyed by row: how many texts each row gets; one for each place after BOS, or more.
        top_p: in (0, 1]; towards 0, the most probable word is always said.
        temperature: probabilities are taken to the power 1 / temperature and normalised before the nucleus is found.
        max_tokens: places of a text, BOS and EOS among them; None, and at most, the decoder's own.
        length_penalty: α of `length_normalised`, for the scores.
        empty: whether a text may have no word.

    Raises:
        RecipeError: a setting out of range, or too few numbers.

    Source: Holtzman et al. 2020, "The curious case of neural text degeneration", section 3.1.
    """
    if not 0.0 < top_p <= 1.0:
        raise RecipeError(f"expected top_p above 0 and at most 1, found {top_p!r}")
    if not 0.0 < temperature < float("inf"):
        raise RecipeError(f"expected a temperature above 0, found {temperature!r}")
    (num_rows, num_texts, num_drawn), num_places = uniform.shape, places(decoder, max_tokens)
    if num_texts < 1 or num_drawn < num_places - 1:
        raise RecipeError(f"expected uniform numbers for at least one text of {num_places - 1} words a row, found "
                          f"{num_texts} texts of {num_drawn}")
    device = memory.mask.device
    state = decoder.start(memory).reordered(torch.arange(num_rows, device=device).repeat_interleave(num_texts))
    ids = torch.full((num_rows * num_texts, num_places), PAD, device=device)
    ids[:, 0] = BOS
    sums = torch.zeros(num_rows * num_texts, dtype=decoder.embedding.weight.dtype, device=device)
    ended = torch.zeros(num_rows * num_texts, dtype=torch.bool, device=device)
    for place in range(1, num_places):
        said, state = decoder.step(state, ids[:, place - 1])
        drawn = rearrange(uniform[:, :, place - 1], "row text -> (row text)")
        words = draw_words(words_only(said, ends=empty or place > 1) / temperature, drawn, top_p)
        ids[:, place] = torch.where(ended, PAD, words)
        sums = sums + torch.where(ended, 0.0, said.gather(1, words[:, None])[:, 0])
        ended = ended | (words == EOS)
        if bool(ended.all()):
            break
    ids = rearrange(ids, "(row text) place -> row text place", text=num_texts)
    sums = rearrange(sums, "(row text) -> row text", text=num_texts)
    return Hypotheses(ids, sums, length_normalised(sums, ids, length_penalty))


def draw_words(
    logits: Float[Tensor, "text word"], uniform: Float[Tensor, "text"], top_p: float,
) -> Int64[Tensor, "text"]:
    """One word of each nucleus, by the inverse of its cumulative distribution; the most probable word is at 0."""
    probabilities, words = torch.softmax(logits.double(), dim=-1).sort(dim=-1, descending=True, stable=True)
    sums = probabilities.cumsum(dim=-1)
    size = (sums - probabilities < top_p).sum(dim=-1, keepdim=True)  # words that begin below top_p
    mass = sums.gather(1, size - 1)
    drawn = torch.searchsorted(sums, uniform.double()[:, None] * mass, right=True)
    return words.gather(1, torch.minimum(drawn, size - 1))[:, 0]
