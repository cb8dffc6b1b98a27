"""Every encoder as a graph: any number of rows, any lengths, nothing behind an end is read, the tokens of torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from encoder_inputs import KINDS, example, longer, poisoned, row

from sensorium.data.kinds.base import Inputs
from sensorium.data.schema import Modality
from sensorium.encoders import ENCODERS, Encoder, Tokens
from sensorium.exporting.generated import made_up_cell
from sensorium.exporting.tracing import encoder_graph
from sensorium.runtime.sessions import Session

WIDTH = 32
CASES = [pytest.param(kind, name, id=name) for kind, own in ENCODERS.items() for name in own]


def _shaken(encoder: Encoder) -> Encoder:
    """Nothing is left as it begins."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return encoder.eval()


def _run(session: Session, inputs: Inputs) -> Tokens:
    given = {"values": inputs.values, "mask": inputs.mask, "span": inputs.span}
    found = session({key: value.numpy() for key, value in given.items() if value is not None})
    span = found.get("tokens_span")
    return Tokens(torch.from_numpy(found["tokens"]), torch.from_numpy(found["tokens_mask"]),
                  None if span is None else torch.from_numpy(span))


def _traced_with(kind: str) -> Inputs:
    """Other cells than those compared."""
    random = np.random.default_rng(5)
    return KINDS[kind].collate([made_up_cell(KINDS[kind], share, random) for share in (0.9, 0.4, 0.7)])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_graph_gives_the_same_tokens(kind: str, name: str) -> None:
    torch.manual_seed(0)
    encoder = _shaken(ENCODERS[kind][name].build(KINDS[kind], WIDTH))
    inputs = example(kind)
    with torch.inference_mode():
        whole = encoder(inputs)
    timed = whole.span is not None and kind in ("audio", "video", "series")
    modality = Modality(name="m", columns=("m",), kind=KINDS[kind])
    session = Session(encoder_graph(encoder, modality, _traced_with(kind), timed=timed), name, threads=1)
    cases = [inputs, row(inputs, 0), row(inputs, 1)]
    if inputs.mask is not None and kind != "table":
        cases.append(poisoned(inputs))
        cases += [] if kind == "text" else [longer(inputs, 37)]
    for case in cases:
        with torch.inference_mode():
            expected = encoder(case)
        found, count = _run(session, case), expected.mask.shape[1]
        assert not found.mask[:, count:].any()
        torch.testing.assert_close(found.mask[:, :count], expected.mask)
        real = expected.mask
        torch.testing.assert_close(found.values[:, :count][real], expected.values[real], atol=1e-5, rtol=1e-5)
        if timed:
            assert found.span is not None and expected.span is not None
            torch.testing.assert_close(found.span[:, :count][real], expected.span[real], atol=1e-5, rtol=1e-5)
