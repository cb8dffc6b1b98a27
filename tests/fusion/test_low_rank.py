"""Low-rank fusion: against its formula, and at full rank the same as tensor fusion."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from fusion_inputs import NAMES, SUBSETS, WIDTH, shaken, tokens_of

from sensorium.errors import RecipeError
from sensorium.fusion import LowRankFusion, TensorFusion


def test_it_is_its_formula_on_every_subset() -> None:
    fusion, tokens = shaken(LowRankFusion(NAMES, WIDTH, rank=3)), tokens_of()
    found = fusion(tokens, SUBSETS).vector
    read = fusion.read(fusion.at_hand(tokens, SUBSETS), SUBSETS)
    one, nothing = torch.ones(1, dtype=torch.float64), torch.zeros(WIDTH, dtype=torch.float64)
    for row, presence in enumerate(SUBSETS):
        total = torch.zeros(WIDTH, dtype=torch.float64)
        for rank in range(3):
            term = torch.ones(WIDTH, dtype=torch.float64)
            for place in range(3):
                x = torch.cat([one, read[row, place] if presence[place] else nothing])
                term = term * (fusion.factors[place, rank] @ x)
            total = total + fusion.rank_weights[rank] * term
        torch.testing.assert_close(found[row], total, atol=1e-10, rtol=1e-10)


def test_at_full_rank_it_can_be_any_tensor_fusion() -> None:
    """One rank for each entry of the outer product; the first modality's factor carries the weight of the entry."""
    tensor = shaken(TensorFusion(NAMES, WIDTH, reduced=2))
    low_rank = LowRankFusion(NAMES, WIDTH, rank=tensor.size).double()
    low_rank.read.load_state_dict(tensor.read.state_dict())
    with torch.no_grad():
        low_rank.rank_weights.fill_(1.0)
        picks = []  # (entry of [1; u_m], [1; r_m]) rows that give [1; u_m] from [1; r_m]
        for linear in tensor.reduce:
            pick = torch.zeros(3, 1 + WIDTH, dtype=torch.float64)
            pick[0, 0] = 1.0
            pick[1:, 1:] = linear.weight
            picks.append(pick)
        for rank, entries in enumerate(product(range(3), repeat=3)):
            for place, entry in enumerate(entries):
                weight = tensor.core[(slice(None), *entries)] if place == 0 else torch.ones(WIDTH, dtype=torch.float64)
                low_rank.factors[place, rank] = weight[:, None] * picks[place][entry]
    torch.testing.assert_close(low_rank(tokens_of(), SUBSETS).vector, tensor(tokens_of(), SUBSETS).vector,
                               atol=1e-10, rtol=1e-10)


def test_it_begins_neither_vanishing_nor_exploding_with_many_modalities() -> None:
    torch.manual_seed(0)
    names = tuple(f"m{k}" for k in range(12))
    fusion, tokens = LowRankFusion(names, WIDTH).double(), tokens_of(names, num_rows=50)
    vector = fusion(tokens, torch.ones(50, 12, dtype=torch.bool)).vector
    assert 0.5 < vector.square().mean().sqrt() < 4.0


def test_a_rank_below_one_is_refused() -> None:
    with pytest.raises(RecipeError, match="a rank of at least 1 is needed, found 0"):
        LowRankFusion(NAMES, WIDTH, rank=0)
