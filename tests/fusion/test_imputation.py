"""Imputed tokens: nothing absent is read, rows and order do not matter, and the weights stay with what is there."""

from __future__ import annotations

import pytest
import torch
from fusion_inputs import NAMES, SUBSETS, WIDTH, tokens_of

from sensorium.encoders.base import Tokens
from sensorium.errors import DataError
from sensorium.fusion import FUSIONS
from sensorium.fusion.imputation import Imputer, fuse_imputed

ABSENT = ~SUBSETS


def _imputer(names: tuple[str, ...] = NAMES, *, timed: frozenset[str] = frozenset(), num_tokens: int = 3) -> Imputer:
    """In float64, with nothing left as it begins, its statistics measured."""
    torch.manual_seed(0)
    imputer = Imputer(names, WIDTH, timed=timed, num_tokens=num_tokens).double()
    with torch.no_grad():
        for parameter in imputer.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, dtype=torch.float64))
    imputer.measure(tokens_of(names), torch.ones(7, len(names), dtype=torch.bool))
    return imputer


def _close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


def test_poison_in_absent_modalities_changes_no_bit() -> None:
    imputer = _imputer()
    results = []
    for poison in (0.0, torch.nan):
        tokens = {}
        for place, (name, one) in enumerate(tokens_of().items()):
            values = torch.where(SUBSETS[:, place, None, None], one.values, poison)
            tokens[name] = Tokens(values.requires_grad_(), one.mask)
        imputer.zero_grad()
        filled, presence = imputer(tokens, SUBSETS, ABSENT)
        assert presence.all()
        made = [torch.where(one.mask[:, :, None], one.values, 0.0) for one in filled.values()]
        torch.cat(made, dim=1).square().sum().backward()
        results.append([*made, *(one.values.grad for one in tokens.values()), *(p.grad for p in imputer.parameters())])
    for clean, poisoned in zip(*results, strict=True):
        assert torch.isfinite(clean).all() and torch.equal(clean, poisoned)
    assert all(gradient.abs().sum() > 0 for gradient in results[0][-len(list(imputer.parameters())):])


def test_what_is_there_is_kept_and_what_is_not_wanted_is_not_made() -> None:
    imputer, tokens = _imputer(), tokens_of()
    wanted = torch.tensor([False, True, False]).expand(7, 3)
    filled, presence = imputer(tokens, SUBSETS, wanted)
    assert torch.equal(presence, SUBSETS | wanted)
    assert filled["a"] is tokens["a"] and filled["c"] is tokens["c"]
    there = SUBSETS[:, 1]
    assert torch.equal(filled["b"].values[there], tokens["b"].values[there])
    assert not torch.equal(filled["b"].values[~there], tokens["b"].values[~there])
    same, as_it_was = imputer(tokens, SUBSETS, torch.zeros_like(SUBSETS))
    assert same is tokens and as_it_was is SUBSETS


def test_a_row_with_nothing_is_left_alone() -> None:
    _, presence = _imputer()(tokens_of(), torch.zeros_like(SUBSETS), ABSENT)
    assert not presence.any()


def test_rows_padding_and_left_out_modalities_do_not_matter() -> None:
    imputer = _imputer()
    tokens = {name: Tokens(torch.cat([one.values, torch.full_like(one.values, torch.nan)], dim=1),
                           torch.cat([one.mask, ~one.mask], dim=1)) for name, one in tokens_of().items()}
    together, _ = imputer(tokens, SUBSETS, ABSENT)
    for row in range(len(SUBSETS)):
        kept = {name: Tokens(one.values[row : row + 1], one.mask[row : row + 1])
                for place, (name, one) in enumerate(tokens_of().items()) if SUBSETS[row, place]}
        alone, _ = imputer(kept, SUBSETS[row : row + 1], ABSENT[row : row + 1])
        for name in NAMES:
            _close(together[name].values[row][together[name].mask[row]], alone[name].values[0][alone[name].mask[0]])


def test_any_order_of_modalities_gives_the_same() -> None:
    imputer, order = _imputer(), [2, 0, 1]
    names = tuple(NAMES[place] for place in order)
    other = _imputer(names)
    state = imputer.state_dict()
    for key in ("modality", "queries", "heads", "center", "spread"):
        state[key] = state[key][order]
    other.load_state_dict(state)
    tokens = tokens_of()
    found, _ = imputer(tokens, SUBSETS, ABSENT)
    turned, _ = other(dict(reversed(tokens.items())), SUBSETS[:, order], ABSENT[:, order])
    for name in NAMES:
        _close(turned[name].values, found[name].values)


def test_untrained_heads_say_the_mean_token() -> None:
    imputer, tokens = _imputer(), tokens_of()
    with torch.no_grad():
        imputer.heads.zero_()
    filled, _ = imputer({"a": tokens["a"]}, SUBSETS[:1], ABSENT[:1])
    mean = tokens["b"].values.reshape(-1, WIDTH).mean(dim=0)
    _close(filled["b"].values[0], mean.expand(3, WIDTH))


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("timed", [frozenset(), frozenset({"a", "b"})], ids=["", "timed"])
def test_weights_are_those_of_the_present(name: str, timed: frozenset[str]) -> None:
    torch.manual_seed(0)
    fusion = FUSIONS[name](NAMES, WIDTH, timed).double()
    imputer = _imputer(timed=timed)
    tokens = {key: Tokens(one.values, one.mask, torch.rand(*one.mask.shape, 2, dtype=torch.float64).sort(dim=2).values)
              for key, one in tokens_of().items()}
    fused = fuse_imputed(fusion, imputer, tokens, SUBSETS, ABSENT)
    filled, there = imputer(tokens, SUBSETS, ABSENT)
    assert torch.equal(fused.vector, fusion(filled, there).vector) and torch.isfinite(fused.vector).all()
    assert torch.equal(fused.vector[-1], fusion(filled, SUBSETS | there).vector[-1])
    if fused.weights is not None:
        assert (fused.weights[ABSENT] == 0).all()
        _close(fused.weights.sum(dim=1), torch.ones(7, dtype=torch.float64))


def test_imputed_tokens_have_no_time() -> None:
    """They attend, and are attended to, as tokens without a span do."""
    from sensorium.fusion.timing import clock, first_slopes, time_bias

    timed = frozenset(NAMES)
    tokens = {name: Tokens(one.values, one.mask, torch.rand(*one.mask.shape, 2).sort(dim=2).values)
              for name, one in tokens_of().items()}
    filled, _ = _imputer(timed=timed)(tokens, SUBSETS[:1], ABSENT[:1])
    real, made = clock(filled["a"], True), clock(filled["b"], True)
    slopes = first_slopes(4)
    assert made.known.any() and (time_bias(slopes, 4, made, real) == 0).all()
    assert (time_bias(slopes, 4, real, made) == 0).all() and (time_bias(slopes, 4, real, real) < 0).any()


def test_accepted_patterns_are_matched_exactly() -> None:
    imputer = _imputer()
    assert not imputer.wanted(SUBSETS).any()
    imputer.accept({frozenset("a"): frozenset("bc"), frozenset("ac"): frozenset("b")})
    wanted = imputer.wanted(SUBSETS)
    assert {tuple(SUBSETS[row].tolist()): tuple(wanted[row].tolist()) for row in wanted.any(dim=1).nonzero()[:, 0]} == {
        (True, False, False): (False, True, True), (True, False, True): (False, True, False)}
    again = Imputer.from_json(imputer.to_json(), NAMES, WIDTH, frozenset())
    assert again.accepted == imputer.accepted and torch.equal(again.wanted(SUBSETS), wanted)
    assert set(imputer.state_dict()) == set(again.state_dict()) and "patterns" not in imputer.state_dict()
    with pytest.raises(DataError, match="disjoint"):
        imputer.accept({frozenset("a"): frozenset("a")})
    with pytest.raises(DataError, match="1 to 8"):
        Imputer(NAMES, WIDTH, num_tokens=9)
