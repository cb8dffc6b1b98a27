"""The decoder that writes: causal, cached = full, absent is absent, and its losses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sensorium.data.kinds.text import BOS, EOS, PAD
from sensorium.encoders.base import Tokens
from sensorium.generation.likelihood import next_word_losses, repeated, text_log_probabilities
from sensorium.generation.text_decoder import DecoderState, TextDecoder

WIDTH, NUM_WORDS, ROWS, PLACES = 32, 20, 5, 9


def _decoder(dtype: torch.dtype = torch.float64, *, num_layers: int = 2) -> TextDecoder:
    """A decoder in which nothing is zero, one or small."""
    torch.manual_seed(0)
    decoder = TextDecoder(NUM_WORDS, WIDTH, max_tokens=PLACES, num_layers=num_layers)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return decoder.to(dtype)


def _memory(dtype: torch.dtype = torch.float64, *, tokens: int = 6) -> Tokens:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(ROWS, tokens, WIDTH, generator=generator, dtype=torch.float64).to(dtype)
    mask = torch.rand(ROWS, tokens, generator=generator) < 0.6
    mask[:, 0] = True
    return Tokens(values, mask)


def _texts() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(EOS + 1, NUM_WORDS, (ROWS, PLACES), generator=generator)
    lengths = torch.tensor([9, 4, 7, 2, 8])
    ids[:, 0] = BOS
    ids[torch.arange(ROWS), lengths - 1] = EOS
    mask = torch.arange(PLACES) < lengths[:, None]
    return torch.where(mask, ids, PAD), mask


def _close(found: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_cached_decoding_is_full_decoding(dtype: torch.dtype, tolerance: float) -> None:
    decoder, memory, (ids, _) = _decoder(dtype), _memory(dtype), _texts()
    full = torch.log_softmax(decoder(ids, memory), dim=-1)
    assert full.dtype == dtype and full.shape == (ROWS, PLACES, NUM_WORDS)
    state = decoder.start(memory)
    for place in range(PLACES):
        said, state = decoder.step(state, ids[:, place])
        _close(said, full[:, place], tolerance)
    with pytest.raises(AssertionError, match="at most 9 words"):
        decoder.step(state, ids[:, 0])


def test_texts_go_on_in_any_number_and_order() -> None:
    decoder, memory, (ids, _) = _decoder(), _memory(), _texts()
    state = decoder.start(memory).reordered(torch.arange(ROWS).repeat_interleave(3))
    texts = ids.repeat_interleave(3, dim=0)
    texts[1::3, 2], texts[2::3, 1] = 7, 8
    many = repeated(memory, 3)
    for place in range(4):
        said, state = decoder.step(state, texts[:, place])
        _close(said, torch.log_softmax(decoder(texts[:, : place + 1], many)[:, -1], dim=-1))
    taken = torch.tensor([2, 0, 4, 4, 6, 7, 11, 9, 13, 12])
    said, _ = decoder.step(state.reordered(taken), texts[taken, 4])
    _close(said, torch.log_softmax(decoder(texts[taken, :5], repeated(memory, 2))[:, -1], dim=-1))


def test_the_memory_is_read_once_and_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, memory = _decoder(), _memory()
    state = decoder.start(memory)
    monkeypatch.setattr(TextDecoder, "_told", None)
    wide = state.reordered(torch.arange(ROWS).repeat_interleave(4))
    said, after = decoder.step(wide, torch.full((4 * ROWS,), BOS))
    assert said.shape == (4 * ROWS, NUM_WORDS)
    assert all(one is other for one, other in zip(after.told, state.told, strict=True))
    assert isinstance(after, DecoderState) and after.place == 1 and after.written[0].shape[1] == 4 * ROWS


def test_a_place_sees_no_later_word() -> None:
    decoder, memory, (ids, _) = _decoder(), _memory(), _texts()
    before = decoder(ids, memory)
    for place in range(1, PLACES):
        changed = ids.clone()
        changed[:, place:] = (changed[:, place:] + 5) % NUM_WORDS
        after = decoder(changed, memory)
        assert torch.equal(after[:, :place], before[:, :place])
        assert bool((after[:, place] != before[:, place]).any(dim=1).all())


def test_padding_of_the_memory_is_never_read() -> None:
    decoder, memory, (ids, mask) = _decoder(), _memory(), _texts()
    results = []
    for poison in (0.0, torch.nan):
        values = torch.where(memory.mask[:, :, None], memory.values, poison).requires_grad_()
        decoder.zero_grad()
        losses = next_word_losses(decoder(ids, Tokens(values, memory.mask)), ids, mask, label_smoothing=0.1)
        losses.sum().backward()
        results.append([losses, values.grad, *(p.grad for p in decoder.parameters())])
    for clean, poisoned in zip(*results, strict=True):
        assert torch.equal(clean, poisoned)
    gradient = results[0][1]
    assert bool((gradient[~memory.mask] == 0).all()) and bool((gradient[memory.mask].abs().sum(dim=1) > 0).all())


def test_a_row_alone_says_the_same() -> None:
    decoder, memory, (ids, mask) = _decoder(), _memory(), _texts()
    together = decoder(ids, memory)
    for row in range(ROWS):
        real, length = memory.mask[row], int(mask[row].sum())
        alone = decoder(ids[row : row + 1, :length], Tokens(memory.values[row, real][None], real[real][None]))
        _close(alone[0], together[row, :length])


def test_a_row_without_memory_stays_finite() -> None:
    decoder, (ids, mask) = _decoder(), _texts()
    memory = _memory()
    memory.mask[2] = False
    values = torch.where(memory.mask[:, :, None], memory.values, torch.nan).requires_grad_()
    losses = next_word_losses(decoder(ids, replace(memory, values=values)), ids, mask)
    losses.sum().backward()
    assert bool(losses.isfinite().all()) and values.grad is not None and bool((values.grad[2] == 0).all())
    assert all(bool(p.grad.isfinite().all()) for p in decoder.parameters() if p.grad is not None)


def test_every_parameter_gets_a_gradient() -> None:
    decoder, memory, (ids, mask) = _decoder(), _memory(), _texts()
    next_word_losses(decoder(ids, memory), ids, mask).sum().backward()
    for key, parameter in decoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 1e-9, key


def test_losses_are_the_mean_over_a_rows_words() -> None:
    decoder, memory, (ids, mask) = _decoder(), _memory(), _texts()
    logits = decoder(ids, memory)
    found = next_word_losses(logits, ids, mask, label_smoothing=0.2)
    sums = text_log_probabilities(decoder, ids, mask, memory)
    for row in range(ROWS):
        losses, exact = [], []
        for place in range(1, int(mask[row].sum())):
            said = torch.log_softmax(logits[row, place - 1], dim=0)
            losses.append(-0.8 * said[ids[row, place]] - 0.2 * said[EOS:].mean())
            exact.append(said[ids[row, place]])
        _close(found[row], torch.stack(losses).mean())
        _close(sums[row], torch.stack(exact).sum())
        _close(next_word_losses(logits, ids, mask)[row], -torch.stack(exact).mean())


def test_losses_do_not_see_padding_and_know_extremes() -> None:
    ids, mask = _texts()
    uniform = torch.zeros(ROWS, PLACES, NUM_WORDS, dtype=torch.float64)
    for smoothing in (0.0, 0.3):
        _close(next_word_losses(uniform, ids, mask, label_smoothing=smoothing),
               torch.full((ROWS,), math.log(NUM_WORDS), dtype=torch.float64))
    sure = torch.full_like(uniform, -1e3)
    sure[:, :-1].scatter_(2, ids[:, 1:, None], 1e3)
    _close(next_word_losses(sure, ids, mask), torch.zeros(ROWS, dtype=torch.float64))
    poisoned = sure.clone()
    poisoned[:, :-1][~mask[:, 1:]] = 77.0
    poisoned[:, -1] = 77.0
    assert torch.equal(next_word_losses(poisoned, ids, mask, label_smoothing=0.1),
                       next_word_losses(sure, ids, mask, label_smoothing=0.1))
    mask[3, 1:] = False
    assert float(next_word_losses(uniform, ids, mask)[3]) == 0.0


def test_marks_are_never_said_and_it_begins_undecided() -> None:
    torch.manual_seed(0)
    memory, (ids, mask) = _memory(torch.float32), _texts()
    decoder = TextDecoder(NUM_WORDS, WIDTH, max_tokens=PLACES)
    assert bool((torch.softmax(decoder(ids, memory), dim=-1)[:, :, :EOS] == 0).all())
    losses = next_word_losses(decoder(ids, memory), ids, mask)
    torch.testing.assert_close(losses, torch.full((ROWS,), math.log(NUM_WORDS - EOS)), atol=0.3, rtol=0.0)


def test_bfloat16_is_close_and_finite() -> None:
    decoder, memory, (ids, mask) = _decoder(torch.float32), _memory(torch.float32), _texts()
    exact = next_word_losses(decoder(ids, memory), ids, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = next_word_losses(decoder(ids, memory), ids, mask)
    torch.testing.assert_close(rough.float(), exact, atol=0.2, rtol=0.1)


def test_it_learns_to_read_its_memory() -> None:
    """Planted: a text names the two tokens of its memory; which comes first is marked in the tokens."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(3)
    decoder = TextDecoder(NUM_WORDS, WIDTH, max_tokens=5)
    marks, later = torch.randn(8, WIDTH, generator=generator), torch.randn(WIDTH, generator=generator)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=3e-3)

    def drawn(count: int) -> tuple[Tensor, Tokens]:
        first, second = torch.randint(0, 8, (2, count), generator=generator)
        values = torch.stack([marks[first], marks[second] + later], dim=1)
        order = torch.rand(count, 2, generator=generator).argsort(dim=1)
        ids = torch.stack([torch.full_like(first, BOS), 4 + first, 12 + second, torch.full_like(first, EOS)], dim=1)
        return ids, Tokens(values.gather(1, order[:, :, None].expand(-1, -1, WIDTH)), torch.ones(count, 2).bool())

    for _ in range(150):
        ids, memory = drawn(32)
        optimizer.zero_grad()
        next_word_losses(decoder(ids, memory), ids, ids != PAD, label_smoothing=0.05).mean().backward()
        optimizer.step()
    ids, memory = drawn(100)
    assert bool((decoder(ids, memory)[:, :-1].argmax(dim=2) == ids[:, 1:]).float().mean() > 0.99)
