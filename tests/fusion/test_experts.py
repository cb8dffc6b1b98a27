"""Product of experts: against densities multiplied on a grid."""

from __future__ import annotations

import torch
from fusion_inputs import NAMES, SUBSETS, WIDTH, shaken, tokens_of
from torch.nn import functional as F

from sensorium.fusion import ExpertsFusion


def _beliefs(fusion: ExpertsFusion) -> tuple[torch.Tensor, torch.Tensor]:
    """(row, modality, channel) means and precisions."""
    tokens = tokens_of()
    read = fusion.read(fusion.at_hand(tokens, torch.ones_like(SUBSETS)), torch.ones_like(SUBSETS))
    return (torch.stack([fusion.means[m](read[:, m]) for m in range(3)], dim=1),
            torch.stack([F.softplus(fusion.precisions[m](read[:, m])) for m in range(3)], dim=1))


def test_the_vector_is_the_mean_of_the_product_of_densities_and_the_prior() -> None:
    fusion = shaken(ExpertsFusion(NAMES, WIDTH))
    vector = fusion(tokens_of(), SUBSETS).vector
    means, precisions = _beliefs(fusion)
    grid = torch.linspace(-30.0, 30.0, 60001, dtype=torch.float64)
    for row, presence in enumerate(SUBSETS):
        for channel in (0, 13):
            log_density = -0.5 * grid.square()
            for place in presence.nonzero()[:, 0]:
                mean, precision = means[row, place, channel], precisions[row, place, channel]
                log_density = log_density - 0.5 * precision * (grid - mean).square()
            density = (log_density - log_density.max()).exp()
            expected = (density * grid).sum() / density.sum()
            torch.testing.assert_close(vector[row, channel], expected, atol=1e-8, rtol=1e-8)


def test_weights_are_shares_of_the_precision() -> None:
    fusion = shaken(ExpertsFusion(NAMES, WIDTH))
    weights = fusion(tokens_of(), SUBSETS).weights
    share = torch.where(SUBSETS[:, :, None], _beliefs(fusion)[1], 0.0)
    torch.testing.assert_close(weights, (share / share.sum(dim=1, keepdim=True)).mean(dim=2), atol=1e-12, rtol=1e-12)


def test_certainty_overrules_and_ignorance_gives_the_prior() -> None:
    fusion, tokens = shaken(ExpertsFusion(NAMES, WIDTH)), tokens_of()
    everything = torch.ones_like(SUBSETS)
    with torch.no_grad():
        fusion.precisions[0].bias += 1e9
    torch.testing.assert_close(fusion(tokens, everything).vector, _beliefs(fusion)[0][:, 0], atol=1e-6, rtol=1e-6)
    with torch.no_grad():
        for place in range(3):
            fusion.precisions[place].bias -= 2e9
    fused = fusion(tokens, everything)
    assert fused.weights is not None and fused.vector.abs().max() == 0.0 and fused.weights.isfinite().all()
