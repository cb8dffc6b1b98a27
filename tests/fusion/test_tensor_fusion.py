"""Tensor fusion: against an explicit sum over the outer product, and what is left of it on a subset."""

from __future__ import annotations

import pytest
import torch
from fusion_inputs import NAMES, SUBSETS, WIDTH, shaken, tokens_of

from sensorium.errors import RecipeError
from sensorium.fusion import TensorFusion


def _numbers(fusion: TensorFusion) -> torch.Tensor:
    """(row, modality, reduced) u_m of rows with everything."""
    tokens, everything = tokens_of(), torch.ones_like(SUBSETS)
    read = fusion.read(fusion.at_hand(tokens, everything), everything)
    return torch.stack([fusion.reduce[m](read[:, m]) for m in range(3)], dim=1)


def test_it_is_the_outer_product_with_its_ones() -> None:
    fusion = shaken(TensorFusion(NAMES, WIDTH, reduced=4))
    one = torch.ones(7, 1, dtype=torch.float64)
    a, b, c = (torch.cat([one, u], dim=1) for u in _numbers(fusion).unbind(dim=1))
    expected = torch.einsum("bi,bj,bk,oijk->bo", a, b, c, fusion.core)
    found = fusion(tokens_of(), torch.ones_like(SUBSETS)).vector
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


def test_a_subset_leaves_exactly_the_products_of_its_modalities() -> None:
    fusion = shaken(TensorFusion(NAMES, WIDTH, reduced=4))
    found, (u, _, w) = fusion(tokens_of(), SUBSETS).vector, _numbers(fusion).unbind(dim=1)
    core = fusion.core
    row = 4  # 101: the first and the third
    expected = (core[:, 0, 0, 0] + torch.einsum("i,oi->o", u[row], core[:, 1:, 0, 0])
                + torch.einsum("k,ok->o", w[row], core[:, 0, 0, 1:])
                + torch.einsum("i,k,oik->o", u[row], w[row], core[:, 1:, 0, 1:]))
    assert SUBSETS[row].tolist() == [True, False, True]
    torch.testing.assert_close(found[row], expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("number", "reduced", "size"), [(1, 96, 97), (2, 31, 1024), (3, 9, 1000), (4, 4, 625),
                                                         (5, 3, 1024), (6, 2, 729), (10, 1, 1024), (16, 1, 65536)])
def test_the_usual_size_is_bounded_and_shown(number: int, reduced: int, size: int) -> None:
    fusion = TensorFusion(tuple(f"m{k}" for k in range(number)), 96 if number < 10 else 16)
    assert (fusion.reduced, fusion.size) == (reduced, size)
    assert fusion.core[0].numel() == size
    assert f"reduced={reduced}, size={size}" in repr(fusion)


def test_an_outer_product_that_explodes_is_refused() -> None:
    names = tuple(f"m{k}" for k in range(17))
    with pytest.raises(RecipeError, match=r"17 modalities with 1 numbers each .* 2\^17 = 131,072 numbers with "
                                          r"2,097,152 weights .* choose fusion low_rank"):
        TensorFusion(names, 16)
    with pytest.raises(RecipeError, match=r"97\^3 = 912,673 numbers with 87,616,608 weights"):
        TensorFusion(NAMES, 96, reduced=96)
    with pytest.raises(RecipeError, match="with 0 numbers each"):
        TensorFusion(NAMES, 16, reduced=0)


def test_what_only_two_modalities_together_say_is_one_weight() -> None:
    """The sign of a product is the XOR of two signs."""
    torch.manual_seed(0)
    fusion = TensorFusion(NAMES[:2], WIDTH, reduced=2).double()
    with torch.no_grad():
        fusion.core.zero_()[0, 1, 1] = 1.0
    tokens = tokens_of(NAMES[:2])
    presence = torch.ones(7, 2, dtype=torch.bool)
    read = fusion.read(fusion.at_hand(tokens, presence), presence)
    u, v = (fusion.reduce[m](read[:, m])[:, 0] for m in range(2))
    torch.testing.assert_close(fusion(tokens, presence).vector[:, 0], u * v)
