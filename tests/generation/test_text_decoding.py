"""Beams and samples against exhaustive search and loops."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from sensorium.data.kinds.text import BOS, EOS, PAD
from sensorium.encoders.base import Tokens
from sensorium.errors import RecipeError
from sensorium.generation.decoding import Hypotheses, beam_search, length_normalised
from sensorium.generation.likelihood import repeated, text_log_probabilities
from sensorium.generation.sampling import draw_words, nucleus_sample
from sensorium.generation.text_decoder import DecoderState, TextDecoder

WIDTH, NUM_WORDS, ROWS, PLACES = 32, 7, 6, 4
WORDS = range(EOS + 1, NUM_WORDS)


def _decoder(num_words: int = NUM_WORDS, *, max_tokens: int = PLACES, loud: float = 0.3) -> TextDecoder:
    torch.manual_seed(0)
    decoder = TextDecoder(num_words, WIDTH, max_tokens=max_tokens)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(loud * torch.randn(parameter.shape))
    return decoder.double()


def _memory(rows: int = ROWS) -> Tokens:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(rows, 5, WIDTH, generator=generator, dtype=torch.float64)
    mask = torch.rand(rows, 5, generator=generator) < 0.6
    mask[:, 0] = True
    return Tokens(values, mask)


def _rows(memory: Tokens, rows: slice) -> Tokens:
    return Tokens(memory.values[rows], memory.mask[rows])


def _all_texts() -> Tensor:
    """(text, place) every text of PLACES places: those that end, and those that the limit cuts."""
    texts = []
    for length in range(PLACES):
        for said in product(WORDS, repeat=length):
            ends = [EOS] if length < PLACES - 1 else []
            texts.append([BOS, *said, *ends, *[PAD] * (PLACES - 1 - length - len(ends))])
    return torch.tensor(texts)


def _exhaustive(decoder: TextDecoder, memory: Tokens, penalty: float) -> Hypotheses:
    texts = _all_texts()
    rows = len(memory.mask)
    many = texts.repeat(rows, 1)
    sums = text_log_probabilities(decoder, many, many != PAD, repeated(memory, len(texts))).reshape(rows, -1).detach()
    scores = sums * (6.0 / (5.0 + (texts[:, 1:] != PAD).sum(dim=1))) ** penalty
    order = scores.argsort(dim=1, descending=True)
    return Hypotheses(texts[order], sums.gather(1, order), scores.gather(1, order))


def _same(found: Hypotheses, expected: Hypotheses) -> None:
    assert torch.equal(found.ids, expected.ids)
    torch.testing.assert_close(found.log_probabilities, expected.log_probabilities, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0])
def test_with_enough_beams_it_is_exhaustive_search(penalty: float) -> None:
    decoder, memory = _decoder(), _memory()
    expected = _exhaustive(decoder, memory, penalty)
    assert expected.ids.shape[1] == 1 + 3 + 9 + 27
    torch.testing.assert_close(expected.log_probabilities.logsumexp(dim=1), torch.zeros(ROWS, dtype=torch.float64),
                               atol=1e-10, rtol=0.0)
    _same(beam_search(decoder, memory, beams=40, length_penalty=penalty), expected)


def test_more_beams_than_texts_leave_some_empty() -> None:
    decoder, memory = _decoder(), _memory()
    found = beam_search(decoder, memory, beams=45)
    expected = _exhaustive(decoder, memory, 0.6)
    _same(Hypotheses(found.ids[:, :40], found.log_probabilities[:, :40], found.scores[:, :40]), expected)
    assert bool((found.scores[:, 40:] == -torch.inf).all()) and bool(found.scores[:, :40].isfinite().all())


class _Table(TextDecoder):
    """Probabilities of EOS and two words after BOS and after each of them."""

    def step(self, state: DecoderState, ids: Tensor) -> tuple[Tensor, DecoderState]:
        table = torch.zeros(6, 6)
        table[[BOS, 4, 5], EOS:] = torch.tensor([[0.15, 0.8, 0.05], [0.1, 0.5, 0.4], [0.2, 0.3, 0.5]])
        return table.log()[ids], state


def test_an_ended_text_keeps_its_place() -> None:
    """.15 ends at once and keeps one of two places, though .8 · .5 and .8 · .4 are both more probable."""
    memory = Tokens(torch.zeros(1, 1, WIDTH), torch.ones(1, 1, dtype=torch.bool))
    found = beam_search(_Table(6, WIDTH, max_tokens=4), memory, beams=2)
    assert found.ids.tolist() == [[[BOS, 4, 4, 4], [BOS, EOS, PAD, PAD]]]
    torch.testing.assert_close(found.log_probabilities.exp(), torch.tensor([[0.2, 0.15]]))


@pytest.mark.parametrize(("num_words", "loud", "beams"), [(12, 0.3, 3), (12, 0.7, 3), (6, 0.1, 2)])
def test_few_beams_find_what_a_loop_finds(num_words: int, loud: float, beams: int) -> None:
    """The search in words: the best continuations, ended texts keeping their places."""
    decoder, memory = _decoder(num_words, max_tokens=8, loud=loud), _memory()
    found = beam_search(decoder, memory, beams=beams, length_penalty=0.0)
    for row in range(ROWS):
        one = _rows(memory, slice(row, row + 1))
        ended: list[tuple[float, list[int]]] = []
        alive: list[tuple[float, list[int]]] = [(0.0, [BOS])]
        for _ in range(7):
            ways = []
            for total, text in alive:
                said = torch.log_softmax(decoder(torch.tensor([text]), one)[0, -1].detach(), dim=0).tolist()
                ways += [(total + said[word], [*text, word]) for word in range(EOS, num_words)]
            ways = sorted(ways, reverse=True)[: beams - len(ended)]
            ended += [way for way in ways if way[1][-1] == EOS]
            alive = [way for way in ways if way[1][-1] != EOS]
        expected = sorted(ended + alive, reverse=True)
        assert found.ids[row].tolist() == [text + [PAD] * (8 - len(text)) for _, text in expected]
        assert found.log_probabilities[row].tolist() == pytest.approx([total for total, _ in expected], abs=1e-10)


def test_one_beam_is_greedy() -> None:
    decoder, memory = _decoder(12, max_tokens=8), _memory(20)
    found = beam_search(decoder, memory, beams=1)
    ids = torch.full((20, 8), PAD)
    ids[:, 0] = BOS
    for place in range(1, 8):
        ended = (ids == EOS).any(dim=1)
        ids[:, place] = torch.where(ended, PAD, decoder(ids[:, :place], memory)[:, -1].argmax(dim=1))
    assert torch.equal(found.ids[:, 0], ids)
    assert len({int(length) for length in (ids != PAD).sum(dim=1)}) > 2
    sure = nucleus_sample(decoder, memory, torch.rand(20, 1, 7, dtype=torch.float64), top_p=1e-9)
    assert torch.equal(sure.ids[:, 0], ids)
    torch.testing.assert_close(sure.log_probabilities, found.log_probabilities)
    torch.testing.assert_close(sure.scores, found.scores)


def test_scores_are_best_first_and_belong_to_their_texts() -> None:
    decoder, memory = _decoder(30, max_tokens=9), _memory()
    found = beam_search(decoder, memory, beams=5)
    assert bool((found.scores.diff(dim=1) <= 0).all())
    ids = found.ids.flatten(0, 1)
    again = text_log_probabilities(decoder, ids, ids != PAD, repeated(memory, 5)).reshape(ROWS, 5)
    torch.testing.assert_close(found.log_probabilities, again, atol=1e-10, rtol=1e-10)
    assert all(len({tuple(text) for text in row}) == 5 for row in found.ids.tolist())


def test_length_is_normalised_as_written() -> None:
    ids = torch.tensor([[[BOS, EOS, PAD, PAD], [BOS, 5, 6, EOS]]])
    sums = torch.tensor([[-2.0, -4.0]])
    assert length_normalised(sums, ids, 0.0).tolist() == [[-2.0, -4.0]]
    torch.testing.assert_close(length_normalised(sums, ids, 1.0), torch.tensor([[-2.0, -4.0 * 6 / 8]]))
    torch.testing.assert_close(length_normalised(sums, ids), torch.tensor([[-2.0, -4.0 * 0.75**0.6]]))


def test_a_row_alone_is_written_the_same() -> None:
    decoder, memory = _decoder(12, max_tokens=8), _memory()
    uniform = torch.rand(ROWS, 2, 7, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    beams, samples = beam_search(decoder, memory), nucleus_sample(decoder, memory, uniform)
    for row in range(ROWS):
        one, part = _rows(memory, slice(row, row + 1)), slice(row, row + 1)
        _same(beam_search(decoder, one), Hypotheses(beams.ids[part], beams.log_probabilities[part], beams.scores[part]))
        _same(nucleus_sample(decoder, one, uniform[part]),
              Hypotheses(samples.ids[part], samples.log_probabilities[part], samples.scores[part]))


def test_equal_numbers_are_equal_texts() -> None:
    decoder, memory = _decoder(30, max_tokens=8, loud=0.1), _memory()
    drawn = [nucleus_sample(decoder, memory, torch.rand(ROWS, 3, 7, generator=torch.Generator().manual_seed(seed)))
             for seed in (5, 5, 6)]
    _same(drawn[1], drawn[0])
    assert not torch.equal(drawn[2].ids, drawn[0].ids)
    ids = drawn[0].ids.flatten(0, 1)
    torch.testing.assert_close(text_log_probabilities(decoder, ids, ids != PAD, repeated(memory, 3)).reshape(ROWS, 3),
                               drawn[0].log_probabilities, atol=1e-10, rtol=1e-10)


def test_samples_of_everything_are_as_frequent_as_probable() -> None:
    decoder, memory = _decoder(), _memory(1)
    expected = _exhaustive(decoder, memory, 0.0)
    uniform = torch.rand(1, 4000, PLACES - 1, generator=torch.Generator().manual_seed(7))
    drawn = nucleus_sample(decoder, memory, uniform, top_p=1.0)
    counts = (drawn.ids[0, :, None] == expected.ids[0]).all(dim=2).sum(dim=0)
    assert int(counts.sum()) == 4000
    probabilities = expected.log_probabilities[0].exp()
    likely = probabilities * 4000 > 5
    misfit = ((counts - 4000 * probabilities) ** 2 / (4000 * probabilities))[likely].sum()
    assert misfit < int(likely.sum()) + 4 * math.sqrt(2 * int(likely.sum()))


def test_nothing_outside_the_nucleus_is_drawn() -> None:
    logits = torch.tensor([0.4, 0.1, 0.3, 0.2]).log().repeat(1001, 1)
    uniform = torch.arange(1001) / 1001
    for top_p, words, mass in ((0.3, {0}, 0.4), (0.41, {0, 2}, 0.7), (0.69, {0, 2}, 0.7), (0.75, {0, 2, 3}, 0.9),
                               (1.0, {0, 1, 2, 3}, 1.0)):
        drawn = draw_words(logits, uniform, top_p)
        assert set(drawn.tolist()) == words
        assert abs(float((drawn == 0).float().mean()) - 0.4 / mass) < 2e-3
    assert draw_words(torch.zeros(3, 2), torch.tensor([0.499, 0.5, 0.501]), 1.0).tolist() == [0, 1, 1]
    assert bool((draw_words(torch.full((3, 5), -torch.inf).index_fill(1, torch.tensor([2]), 0.0),
                            torch.tensor([0.0, 0.5, 1.0 - 2**-24]), 1.0) == 2).all())


def test_temperature_sharpens_and_flattens() -> None:
    decoder, memory = _decoder(30, max_tokens=8), _memory()
    uniform = torch.rand(ROWS, 40, 7, generator=torch.Generator().manual_seed(8))
    means = [float(nucleus_sample(decoder, memory, uniform, top_p=1.0, temperature=t).log_probabilities.mean())
             for t in (0.3, 1.0, 3.0)]
    assert means[0] > means[1] > means[2]


def test_settings_out_of_range_are_refused() -> None:
    decoder, memory = _decoder(), _memory(2)
    uniform = torch.rand(2, 1, 3)
    for beams in (0, -1):
        with pytest.raises(RecipeError, match=f"at least one beam, found {beams}"):
            beam_search(decoder, memory, beams=beams)
    for length in (1, 5):
        with pytest.raises(RecipeError, match=f"max_tokens from 2 to 4, .* found {length}"):
            beam_search(decoder, memory, max_tokens=length)
    for top_p in (0.0, 1.1, float("nan")):
        with pytest.raises(RecipeError, match="top_p above 0 and at most 1"):
            nucleus_sample(decoder, memory, uniform, top_p=top_p)
    for temperature in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(RecipeError, match="temperature above 0"):
            nucleus_sample(decoder, memory, uniform, temperature=temperature)
    for wrong in (uniform[:, :0], uniform[:, :, :2]):
        with pytest.raises(RecipeError, match="uniform numbers for at least one text of 3 words a row"):
            nucleus_sample(decoder, memory, wrong)
    assert beam_search(decoder, memory, max_tokens=3).ids.shape == (2, 4, 3)
    assert nucleus_sample(decoder, memory, uniform, max_tokens=2).ids.shape == (2, 1, 2)
