"""The contract of every fusion: absent is absent, rows and padding and order do not matter."""

from __future__ import annotations

import pytest
import torch

from sensorium.encoders.base import Tokens
from sensorium.fusion import FUSIONS, Fusion

NAMES = ("photo", "clip.audio", "table")
WIDTH = 32
SIZES = {"photo": 49, "clip.audio": 7, "table": 1}


@pytest.fixture(params=sorted(FUSIONS))
def fusion(request: pytest.FixtureRequest) -> Fusion:
    torch.manual_seed(0)
    return FUSIONS[request.param](NAMES, WIDTH)


def _tokens(num_rows: int = 7, dtype: torch.dtype = torch.float32) -> dict[str, Tokens]:
    generator = torch.Generator().manual_seed(1)
    made = {}
    for name in NAMES:
        values = torch.randn(num_rows, SIZES[name], WIDTH, generator=generator, dtype=dtype)
        mask = torch.rand(num_rows, SIZES[name], generator=generator) < 0.7
        mask[:, 0] = True
        made[name] = Tokens(values, mask)
    return made


def _presence() -> torch.Tensor:
    """All seven non-empty subsets of three modalities."""
    return torch.tensor([[bool(bits >> m & 1) for m in range(3)] for bits in range(1, 8)])


def test_weights_sum_to_one_over_the_present(fusion: Fusion) -> None:
    fused = fusion(_tokens(), _presence())
    assert fused.vector.shape == (7, WIDTH)
    if fused.weights is not None:
        torch.testing.assert_close(fused.weights.sum(dim=1), torch.ones(7))
        assert (fused.weights >= 0).all() and (fused.weights[~_presence()] == 0).all()


def test_poison_in_absent_modalities_changes_no_bit(fusion: Fusion) -> None:
    presence, results = _presence(), []
    for poison in (0.0, torch.nan):
        tokens = {name: Tokens(t.values.clone(), t.mask) for name, t in _tokens().items()}
        for place, name in enumerate(NAMES):
            tokens[name].values[~presence[:, place]] = poison
            tokens[name].values[~tokens[name].mask] = poison
            tokens[name].values.requires_grad_()
        fusion.zero_grad()
        fused = fusion(tokens, presence)
        fused.vector.square().sum().backward()
        results.append([fused.vector, *(p.grad for p in fusion.parameters()), *(tokens[n].values.grad for n in NAMES)])
    for clean, poisoned in zip(*results, strict=True):
        assert clean is not None and poisoned is not None and torch.equal(clean, poisoned)


def test_a_mask_is_the_same_as_removal(fusion: Fusion) -> None:
    fusion.double()
    tokens, presence = _tokens(dtype=torch.float64), _presence()
    masked = fusion(tokens, presence)
    for row in range(len(presence)):
        kept = {name: Tokens(tokens[name].values[row : row + 1][:, tokens[name].mask[row]],
                             torch.ones(1, int(tokens[name].mask[row].sum()), dtype=torch.bool))
                for place, name in enumerate(NAMES) if presence[row, place]}
        alone = fusion(kept, presence[row : row + 1])
        torch.testing.assert_close(alone.vector[0], masked.vector[row], atol=1e-10, rtol=0.0)


def test_order_of_keys_and_of_rows_does_not_matter(fusion: Fusion) -> None:
    tokens, presence = _tokens(), _presence()
    vector = fusion(tokens, presence).vector
    assert torch.equal(fusion({name: tokens[name] for name in reversed(NAMES)}, presence).vector, vector)
    swapped = {name: Tokens(t.values.flip(0), t.mask.flip(0)) for name, t in tokens.items()}
    torch.testing.assert_close(fusion(swapped, presence.flip(0)).vector.flip(0), vector, atol=1e-5, rtol=1e-5)


def test_every_parameter_gets_a_gradient_when_all_are_present(fusion: Fusion) -> None:
    fusion(_tokens(), torch.ones(7, 3, dtype=torch.bool)).vector.square().sum().backward()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 1e-6, name


def test_one_modality_alone_works(fusion: Fusion) -> None:
    single = type(fusion)(("photo",), WIDTH)
    fused = single({"photo": _tokens()["photo"]}, torch.ones(7, 1, dtype=torch.bool))
    assert fused.vector.isfinite().all()
    assert fused.weights is None or torch.allclose(fused.weights, torch.ones(7, 1))


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
