"""The contract of every fusion: absent is absent, rows and padding and order do not matter."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from sensorium.encoders.base import Tokens
from sensorium.errors import DataError
from sensorium.fusion import FUSIONS, Fusion

NAMES = ("photo", "clip.audio", "table")
WIDTH = 32
SIZES = {"photo": 49, "clip.audio": 7, "table": 1}
TIMED = frozenset({"photo", "clip.audio"})
SUBSETS = torch.tensor([[bool(bits >> m & 1) for m in range(3)] for bits in range(1, 8)])


def _made(name: str, *, timed: frozenset[str] = frozenset(), seed: int = 0) -> Fusion:
    """A fusion in which everything that starts at zero or at one is something else."""
    torch.manual_seed(seed)
    fusion = FUSIONS[name](NAMES, WIDTH, timed)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return fusion


@pytest.fixture(params=list(product(FUSIONS, (False, True))), ids=lambda p: p[0] + (" timed" if p[1] else ""))
def fusion(request: pytest.FixtureRequest) -> Fusion:
    name, timed = request.param
    return _made(name, timed=TIMED if timed else frozenset())


def _tokens(num_rows: int = 7, dtype: torch.dtype = torch.float32, names: tuple[str, ...] = NAMES) -> dict[str, Tokens]:
    generator = torch.Generator().manual_seed(1)
    made = {}
    for name in names:
        size = SIZES.get(name, 3)
        values = torch.randn(num_rows, size, WIDTH, generator=generator, dtype=torch.float64).to(dtype)
        mask = torch.rand(num_rows, size, generator=generator) < 0.7
        mask[:, 0] = True
        span = (3.0 * torch.rand(num_rows, size, 2, generator=generator)).sort(dim=-1).values
        made[name] = Tokens(values, mask, span)
    return made


def _close(found: Tensor | None, expected: Tensor | None, tolerance: float = 1e-10) -> None:
    assert found is not None and expected is not None
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)


def test_weights_sum_to_one_over_the_present(fusion: Fusion) -> None:
    fused = fusion(_tokens(), SUBSETS)
    assert fused.vector.shape == (7, WIDTH) and fused.vector.dtype == torch.float32
    if fused.weights is not None:
        torch.testing.assert_close(fused.weights.sum(dim=1), torch.ones(7))
        assert (fused.weights >= 0).all() and (fused.weights[~SUBSETS] == 0).all()


def test_poison_in_absent_modalities_changes_no_bit(fusion: Fusion) -> None:
    results = []
    for poison in (0.0, torch.nan):
        tokens = {}
        for place, (name, one) in enumerate(_tokens().items()):
            real = (one.mask & SUBSETS[:, place, None])[:, :, None]
            assert one.span is not None
            tokens[name] = Tokens(torch.where(real, one.values, poison).requires_grad_(), one.mask,
                                  torch.where(real, one.span, poison))
        fusion.zero_grad()
        fused = fusion(tokens, SUBSETS)
        fused.vector.square().sum().backward()
        beside = [part for part in (fused.weights, fused.voices) if part is not None]
        results.append([fused.vector, *beside, *(p.grad for p in fusion.parameters()),
                        *(tokens[n].values.grad for n in NAMES)])
    for clean, poisoned in zip(*results, strict=True):
        assert clean is not None and poisoned is not None and torch.equal(clean, poisoned)
    for name, gradient in zip(NAMES, results[1][-3:], strict=True):
        real = tokens[name].mask & SUBSETS[:, NAMES.index(name), None]
        assert (gradient[~real] == 0).all() and gradient[real].abs().sum() > 0


def test_a_mask_is_the_same_as_removal(fusion: Fusion) -> None:
    """Every row alone, without its padding and its absent modalities: also, no row depends on the others."""
    fusion.double()
    tokens = _tokens(dtype=torch.float64)
    masked = fusion(tokens, SUBSETS)
    assert masked.vector.dtype == torch.float64
    for row in range(len(SUBSETS)):
        kept = {}
        for place, (name, one) in enumerate(tokens.items()):
            if SUBSETS[row, place]:
                real = one.mask[row]
                kept[name] = Tokens(one.values[row, real][None], real[real][None], one.span[row, real][None])
        alone = fusion(kept, SUBSETS[row : row + 1])
        _close(alone.vector[0], masked.vector[row])
        if masked.weights is not None:
            _close(alone.weights[0], masked.weights[row])


@pytest.mark.parametrize("place", range(3))
def test_a_presence_of_false_is_the_same_as_leaving_the_modality_out(fusion: Fusion, place: int) -> None:
    fusion.double()
    tokens, presence = _tokens(dtype=torch.float64), SUBSETS.clone()
    presence[:, place] = False
    presence, kept = presence[presence.any(dim=1)], presence.any(dim=1)
    tokens = {name: Tokens(one.values[kept], one.mask[kept], one.span[kept]) for name, one in tokens.items()}
    without = {name: one for name, one in tokens.items() if name != NAMES[place]}
    _close(fusion(without, presence).vector, fusion(tokens, presence).vector)


def test_padding_does_not_matter(fusion: Fusion) -> None:
    fusion.double()
    tokens = _tokens(dtype=torch.float64)
    longer = {}
    for number, (name, one) in enumerate(tokens.items()):
        more = torch.full((7, 2 + number, WIDTH), torch.nan, dtype=torch.float64)
        longer[name] = Tokens(torch.cat([one.values, more], dim=1),
                              torch.cat([one.mask, torch.zeros(7, 2 + number, dtype=torch.bool)], dim=1),
                              torch.cat([one.span, torch.full((7, 2 + number, 2), torch.nan)], dim=1))
    _close(fusion(longer, SUBSETS).vector, fusion(tokens, SUBSETS).vector)


def test_a_row_does_not_see_the_other_rows(fusion: Fusion) -> None:
    fusion.double().eval()
    tokens = _tokens(dtype=torch.float64)
    together = fusion(tokens, SUBSETS).vector
    wild = {name: replace(one, values=torch.cat([one.values[:3], 9.0 - 100.0 * one.values[3:]]))
            for name, one in tokens.items()}
    changed = fusion(wild, torch.cat([SUBSETS[:3], SUBSETS[3:].flip(0)])).vector
    _close(changed[:3], together[:3])
    assert not torch.allclose(changed[3:], together[3:])


def test_order_of_keys_and_of_rows_does_not_matter(fusion: Fusion) -> None:
    tokens = _tokens()
    vector = fusion(tokens, SUBSETS).vector
    assert torch.equal(fusion({name: tokens[name] for name in reversed(NAMES)}, SUBSETS).vector, vector)
    swapped = {name: Tokens(t.values.flip(0), t.mask.flip(0), t.span.flip(0)) for name, t in tokens.items()}
    _close(fusion(swapped, SUBSETS.flip(0)).vector.flip(0), vector, 1e-5)


BY_PLACE = re.compile(r"\b(readers|streams|maps|means|precisions|norms|attend|attended|mlps|reduce|values)\.(\d+)\.")
AXES = {"volume": (0,), "modality": (0,), "gates": (0, 1), "factors": (0,), "bias.weight": (1,)}


def _reordered(fusion: Fusion, order: list[int]) -> dict[str, Tensor]:
    """The weights of the same fusion of the same modalities in another order."""
    state = fusion.state_dict()
    found = {}
    for key, value in state.items():
        source = BY_PLACE.sub(lambda m: f"{m[1]}.{order[int(m[2])]}.", key)
        moved = state[source]
        for axis in AXES.get(key, ()):
            moved = moved.index_select(axis, torch.tensor(order))
        found[key] = value.permute(0, *(1 + place for place in order)) if key == "core" else moved
    return found


def test_order_of_modalities_does_not_matter(fusion: Fusion) -> None:
    fusion.double()
    fusion.volume.copy_(torch.tensor([1.0, 0.5, 0.2]))
    tokens, order = _tokens(dtype=torch.float64), [2, 0, 1]
    other = type(fusion)(tuple(NAMES[place] for place in order), WIDTH, fusion.timed).double()
    other.load_state_dict(fusion.state_dict())
    expected = fusion(tokens, SUBSETS)
    assert not torch.allclose(other(tokens, SUBSETS[:, order]).vector, expected.vector)
    other.load_state_dict(_reordered(fusion, order))
    found = other(tokens, SUBSETS[:, order])
    _close(found.vector, expected.vector)
    for part in ("weights", "voices"):
        if getattr(expected, part) is not None:
            _close(getattr(found, part), getattr(expected, part)[:, order])


@pytest.mark.parametrize("timed", [frozenset(), TIMED], ids=["", "timed"])
@pytest.mark.parametrize("name", FUSIONS)
def test_every_parameter_gets_a_gradient_when_all_are_present(name: str, timed: frozenset[str]) -> None:
    torch.manual_seed(0)
    fusion = FUSIONS[name](NAMES, WIDTH, timed)
    (fusion(_tokens(), torch.ones(7, 3, dtype=torch.bool)).vector @ torch.randn(WIDTH)).square().sum().backward()
    for key, parameter in fusion.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 1e-6, key


@pytest.mark.parametrize("name", FUSIONS)
def test_it_begins_about_as_loud_for_every_subset(name: str) -> None:
    """Heads are linear: at first, no subset's outputs are far larger or smaller than another's."""
    torch.manual_seed(0)
    fusion = FUSIONS[name](NAMES, 96)
    loud = {n: Tokens(torch.randn(50, SIZES[n], 96), torch.ones(50, SIZES[n], dtype=torch.bool)) for n in NAMES}
    for presence in SUBSETS:
        spread = fusion(loud, presence.expand(50, -1)).vector.square().mean().sqrt()
        assert 0.1 < spread < 3.0, presence


def test_volumes_turn_down_voices(fusion: Fusion) -> None:
    tokens = _tokens()
    before = fusion(tokens, SUBSETS)
    fusion.volume.copy_(torch.tensor([0.1, 1.0, 0.5]))
    after = fusion(tokens, SUBSETS)
    if before.voices is None:
        assert torch.equal(after.vector, before.vector)
    else:
        assert (before.voices[~SUBSETS] == 0).all()
        _close(after.voices, before.voices * fusion.volume[:, None], 1e-6)
        _close(after.vector - after.voices.sum(dim=1), before.vector - before.voices.sum(dim=1), 1e-5)


def test_a_row_with_nothing_is_an_error(fusion: Fusion) -> None:
    presence = SUBSETS.clone()
    presence[4] = False
    with pytest.raises(DataError, match="nothing to fuse in row 4 of 7: each row needs one of photo, clip.audio, tab"):
        fusion(_tokens(), presence)
    with pytest.raises(DataError, match="modality 'table' is present in row 3 and has no tokens"):
        fusion(_tokens(names=NAMES[:2]), SUBSETS)


def test_bfloat16_is_close_and_finite(fusion: Fusion) -> None:
    tokens = _tokens()
    exact = fusion(tokens, SUBSETS).vector
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = fusion(tokens, SUBSETS).vector
    torch.testing.assert_close(rough.float(), exact, atol=0.1, rtol=0.1)
    rough.float().square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in fusion.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", FUSIONS)
def test_weights_on_disk_are_the_whole_of_it(name: str) -> None:
    saved, other = _made(name, timed=TIMED), _made(name, timed=TIMED, seed=1)
    saved.volume[1] = 0.5
    assert not torch.equal(other(_tokens(), SUBSETS).vector, saved(_tokens(), SUBSETS).vector)
    other.load_state_dict({key: value.clone() for key, value in saved.state_dict().items()})
    assert torch.equal(other(_tokens(), SUBSETS).vector, saved(_tokens(), SUBSETS).vector)


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("number", [1, 2, 6])
def test_any_number_of_modalities(name: str, number: int) -> None:
    torch.manual_seed(0)
    names = tuple(f"m{place}" for place in range(number))
    tokens = _tokens(2**number - 1, names=names)
    presence = torch.tensor([[bool(bits >> m & 1) for m in range(number)] for bits in range(1, 2**number)])
    fused = FUSIONS[name](names, WIDTH)(tokens, presence)
    assert fused.vector.isfinite().all()
    assert len(fused.vector.unique(dim=0)) == len(presence)
    if fused.weights is not None:
        torch.testing.assert_close(fused.weights.sum(dim=1), torch.ones(len(presence)))


def test_many_tokens_do_not_drown_one_and_no_modality_shouts() -> None:
    """A modality a thousand times louder, or with 49 tokens for 1, adds a vector of the same length."""
    fusion = FUSIONS["attention"](NAMES, WIDTH)
    loud = {name: Tokens(1000.0 * t.values, t.mask) for name, t in _tokens().items()}
    for place in range(3):
        alone = torch.zeros(7, 3, dtype=torch.bool)
        alone[:, place] = True
        for tokens in (_tokens(), loud):
            lengths = fusion(tokens, alone).vector.square().mean(dim=1)
            torch.testing.assert_close(lengths, torch.ones(7), atol=1e-3, rtol=0.0)


def test_concat_with_everything_present_is_concatenation_and_a_linear_map() -> None:
    fusion = FUSIONS["concat"](NAMES, WIDTH)
    tokens = _tokens(num_rows=2)
    means = torch.cat([torch.stack([t.values[r][t.mask[r]].mean(dim=0) for r in range(2)])
                       for t in (tokens[name] for name in NAMES)], dim=1)
    weight = torch.cat([fusion.get_parameter(f"maps.{m}.weight") for m in range(3)], dim=1)
    bias = fusion.get_parameter("bias.weight").sum(dim=1) + fusion.get_parameter("bias.bias")
    expected = means @ weight.T + bias
    vector = fusion(tokens, torch.ones(2, 3, dtype=torch.bool)).vector
    torch.testing.assert_close(vector, expected, atol=1e-5, rtol=1e-5)
