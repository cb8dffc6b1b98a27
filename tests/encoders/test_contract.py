"""What every encoder of the registry keeps to, whatever its kind."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from encoder_inputs import CLOCKED, KINDS, LENGTHS, example, longer, poisoned, row

from sensorium.data.kinds.base import Inputs
from sensorium.encoders import ENCODERS, Encoder, Tokens

WIDTH = 32
ALL = [(kind, name) for kind, choices in ENCODERS.items() for name in choices]
RAGGED = [(kind, name) for kind, name in ALL if kind in LENGTHS]

every = pytest.mark.parametrize(("kind", "name"), ALL)
every_ragged = pytest.mark.parametrize(("kind", "name"), RAGGED)


def _made(kind: str, name: str, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return ENCODERS[kind][name].build(KINDS[kind], WIDTH)


def _real(tokens: Tokens, number: int | slice = slice(None)) -> torch.Tensor:
    return tokens.values[number][tokens.mask[number]]


def test_every_kind_has_inputs_here() -> None:
    assert set(KINDS) == set(ENCODERS)


@every
def test_tokens_of_the_common_width_for_every_row(kind: str, name: str) -> None:
    inputs = example(kind)
    tokens = _made(kind, name)(inputs)
    assert tokens.values.shape == (len(inputs), tokens.mask.shape[1], WIDTH)
    assert tokens.values.dtype == torch.float32 and tokens.mask.dtype == torch.bool
    assert tokens.mask.any(dim=1).all()
    assert 0.1 < _real(tokens).std() < 3.0
    if tokens.span is not None:
        assert tokens.span.shape == (*tokens.mask.shape, 4 if kind == "image" else 2)
        assert tokens.span.isfinite().all()


@every
def test_the_same_again_in_training_and_in_use(kind: str, name: str) -> None:
    encoder, inputs = _made(kind, name), example(kind)
    first = encoder.train()(inputs).values
    torch.manual_seed(1)
    assert torch.equal(first, encoder(inputs).values)
    assert torch.equal(first, encoder.eval()(inputs).values)
    assert torch.equal(first, _made(kind, name)(inputs).values)


@every
def test_every_parameter_gets_a_gradient(kind: str, name: str) -> None:
    encoder = _made(kind, name)
    (_real(encoder(example(kind))) * torch.linspace(0.5, 1.5, WIDTH)).square().sum().backward()
    without = [key for key, p in encoder.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
    assert not without
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


@every
def test_no_parameter_lies_idle_and_no_module_knows_the_batch(kind: str, name: str) -> None:
    encoder = _made(kind, name)
    assert sum(p.numel() for p in encoder.parameters()) < 2_000_000
    forbidden = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.modules.dropout._DropoutNd)
    assert not any(isinstance(module, forbidden) for module in encoder.modules())
    names = [key for key, _ in encoder.named_parameters()]
    for prefix, factor in encoder.learning_rates().items():
        assert factor > 0 and any(key.startswith(prefix) for key in names)


@every
def test_saved_and_loaded_it_says_the_same(kind: str, name: str) -> None:
    encoder, other = _made(kind, name), _made(kind, name, seed=1)
    assert not torch.equal(encoder(example(kind)).values, other(example(kind)).values)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(encoder(example(kind)).values, other(example(kind)).values)


@every
def test_float64_agrees_with_float32(kind: str, name: str) -> None:
    single = _made(kind, name)
    tokens = single(example(kind))
    double = single.double()(example(kind, torch.float64))
    assert double.values.dtype == torch.float64
    torch.testing.assert_close(double.values, tokens.values.double(), atol=2e-4, rtol=2e-4)


@every
def test_bfloat16_autocast_is_near_and_has_gradients(kind: str, name: str) -> None:
    encoder, inputs = _made(kind, name), example(kind)
    with torch.autocast("cpu", torch.bfloat16):
        tokens = encoder(inputs)
        loss = _real(tokens).float().square().sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    assert (_real(tokens).float() - _real(encoder(inputs))).abs().mean() < 0.05


@every
def test_a_row_alone_is_the_row_in_the_batch(kind: str, name: str) -> None:
    encoder, inputs = _made(kind, name).double(), example(kind, torch.float64)
    together = encoder(inputs)
    for number in range(len(inputs)):
        alone = encoder(row(inputs, number))
        torch.testing.assert_close(_real(alone), _real(together, number), atol=1e-10, rtol=0.0)
        if alone.span is not None and together.span is not None:
            torch.testing.assert_close(alone.span[alone.mask], together.span[number][together.mask[number]],
                                       atol=1e-10, rtol=0.0)


@every_ragged
@pytest.mark.parametrize("by", [1, 9])
def test_padding_changes_nothing(kind: str, name: str, by: int) -> None:
    if kind == "text":
        by = KINDS["text"].max_tokens - LENGTHS["text"][0]  # no text is padded beyond the longest
    encoder, inputs = _made(kind, name).double(), example(kind, torch.float64)
    short, padded = encoder(inputs), encoder(longer(inputs, by))
    for number in range(len(inputs)):
        torch.testing.assert_close(_real(padded, number), _real(short, number), atol=1e-10, rtol=0.0)


@every_ragged
def test_nothing_is_read_where_nothing_is_real(kind: str, name: str) -> None:
    encoder, inputs = _made(kind, name), example(kind)
    clean, tainted = encoder(inputs), encoder(poisoned(inputs))
    assert torch.equal(_real(clean), _real(tainted))
    gradients = []
    for tokens in (clean, tainted):
        encoder.zero_grad()
        _real(tokens).square().sum().backward()
        gradients.append([p.grad.clone() for p in encoder.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in ALL if kind in CLOCKED])
def test_spans_are_seconds_that_rise(kind: str, name: str) -> None:
    tokens = _made(kind, name)(example(kind))
    ends = {"audio": 1 / 4000, "video": 0.1, "series": 0.02}[kind]
    for number, length in enumerate(LENGTHS[kind]):
        assert tokens.span is not None
        start, end = tokens.span[number][tokens.mask[number]].T
        parts = start[:-1] if name == "logmel" else start  # the last token of it is about the whole sound
        assert (start < end).all() and (parts.diff() > 0).all() and (end.diff() >= 0).all()
        assert start[0] == 0.0 and end[-1] == pytest.approx(length * ends)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in RAGGED if name != "logmel"])
def test_a_row_without_anything_real_is_finite(kind: str, name: str) -> None:
    encoder, inputs = _made(kind, name), example(kind)
    assert inputs.mask is not None
    some, none = inputs.mask.clone(), torch.zeros_like(inputs.mask)
    some[0] = False
    for mask in (some, none):
        tokens = encoder(dataclasses.replace(inputs, mask=mask))
        assert tokens.values.isfinite().all()
        encoder.zero_grad()
        tokens.values.square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, n in ALL if k in ("video", "series")])
def test_when_a_token_was_is_told_by_its_seconds_alone(kind: str, name: str) -> None:
    """Other seconds, other tokens; the same pictures an hour apart instead of .1 s are read without complaint."""
    encoder, inputs = _made(kind, name), example(kind)
    assert inputs.span is not None
    later = encoder(Inputs(inputs.values, inputs.mask, inputs.span + 0.7))
    assert (_real(later) - _real(encoder(inputs))).abs().mean() > 0.01
    apart = encoder(Inputs(inputs.values, inputs.mask, inputs.span * 36000.0))
    assert _real(apart).isfinite().all()
