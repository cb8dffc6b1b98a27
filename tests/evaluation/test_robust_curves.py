"""Robustness curves of planted models: tokens are the numbers themselves, so every score can be computed by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sensorium.answers import predictions
from sensorium.data.cache.store import StoredTokens
from sensorium.data.kinds.base import Inputs
from sensorium.data.read import read
from sensorium.data.samples import Samples, decoded, measured
from sensorium.encoders.base import StagedEncoder, Tokens
from sensorium.evaluation.evaluate import evaluate
from sensorium.evaluation.robustness import GRID, Robustness, robustness_curves
from sensorium.fusion.base import Fused, Fusion, pooled
from sensorium.keyed import Draws
from sensorium.metrics.classification import accuracy
from sensorium.metrics.robustness import area_under
from sensorium.model import Model
from sensorium.recipe import Recipe

WIDTH, ROWS = 16, 150
RECIPE = Recipe().changed("model", width=WIDTH)


class Passing(StagedEncoder):
    """One token: the standardised number, in the first channel. Counts the cells that it reads."""

    cacheable = False  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    @classmethod
    def build(cls, kind: Any, width: int) -> Passing:
        return cls()

    def features(self, inputs: Inputs) -> Tokens:
        self.calls.append(len(inputs))
        values = nn.functional.pad(inputs.values[:, :1, None], (0, WIDTH - 1))
        return Tokens(values, torch.ones(len(inputs), 1, dtype=torch.bool))

    def project(self, features: Tokens) -> Tokens:
        return features

    def fingerprint(self) -> str:
        return "passing"

    def save_config(self, folder: Any) -> None:
        raise AssertionError("never saved")


class Weighted(Fusion):
    """Σ gain · number over the modalities that are there."""

    def __init__(self, names: tuple[str, ...], gains: dict[str, float]) -> None:
        super().__init__(names, WIDTH)
        self.gains = gains

    def forward(self, tokens: dict[str, Tokens], presence: Tensor) -> Fused:
        heard = self.at_hand(tokens, presence)
        return Fused(sum((self.gains[self.names[place]] * pooled(one, presence[:, place])
                          for place, one in heard.items()), torch.zeros(len(presence), WIDTH)))


def _samples(names: tuple[str, ...] = ("clear", "rough", "idle"), rows: int = ROWS, *, missing: float = 0.0) -> Samples:
    """clear, sure and rough are a hidden number plus noise, idle is noise; sign and number are the hidden one's."""
    random = np.random.default_rng(0)
    hidden = random.normal(size=rows)
    noise = {"clear": 0.2, "sure": 0.2, "rough": 0.8, "idle": 50.0}
    columns = {name: hidden + noise[name] * random.normal(size=rows) for name in names}
    table = [{**{name: None if random.random() < missing else f"{columns[name][row]:.4f}" for name in names},
              "sign": "pos" if hidden[row] > 0 else "neg", "number": f"{hidden[row]:.4f}"} for row in range(rows)]
    data = read(table, targets=("sign", "number"), kinds=dict.fromkeys(names, "number"),
                modalities={f"{name}s": (name,) for name in names}, tasks={"number": "regress"})
    schema = measured(data.table, data.schema, np.arange(rows))
    return decoded(data.table, schema, workers=0, memory_bytes=1e9)


def _model(samples: Samples, **gains: float) -> Model:
    fusion = Weighted(samples.schema.names, {f"{name}s": gain for name, gain in gains.items()})
    model = Model(samples.schema, RECIPE, fusion=fusion)
    with torch.no_grad():
        for place in range(len(samples.schema.names)):
            model.encoders[place] = Passing()
        for parameter in model.predictors.parameters():
            parameter.zero_()
        sign, number = model.objectives()
        positive = samples.schema.targets[0].classes.index("pos")
        sign.head.weight[positive, 0], sign.head.weight[1 - positive, 0] = 4.0, -4.0  # type: ignore[union-attr, index]
        number.head.weight[0, 0] = 1.0  # type: ignore[union-attr, index]
    return model


def _found(model: Model, samples: Samples, **options: Any) -> dict[tuple[str, str], Robustness]:
    found, notes = robustness_curves(model, samples, np.arange(len(samples)), **options)
    assert not notes
    return {(one.target, one.modality): one for one in found}


@pytest.fixture(scope="module")
def samples() -> Samples:
    return _samples()


def test_what_the_model_does_not_read_has_flat_curves(samples: Samples) -> None:
    found = _found(_model(samples, clear=1.0, rough=0.5, idle=0.0), samples)
    assert len(found) == 6
    for target in ("sign", "number"):
        one = found[target, "idles"]
        for curve in (one.severity, one.missing):
            assert {score.value for score in curve.scores} == {one.clean.value}
            assert curve.area.value == pytest.approx(one.clean.value, abs=1e-12)
            assert (curve.area.low, curve.area.high) == pytest.approx((one.clean.low, one.clean.high))
        assert {(gap.value, gap.low, gap.high) for gap in one.against_absence} == {(0.0, 0.0, 0.0)}
        assert not one.harmful
        assert "stays at" in one.sentence


def test_the_damage_is_the_kind_s_own_and_only_that(samples: Samples) -> None:
    """A naive reference: the numbers damaged by hand, the same answer whatever the batches."""
    model = _model(samples, clear=1.0, rough=0.5, idle=0.0)
    one = _found(model, samples)["sign", "roughs"]
    truth = samples.labels["sign"].values
    columns = {name: np.stack(samples.cells[name].arrays.get(list(range(ROWS))))[:, 0] for name in samples.schema.names}
    cells = samples.cells["roughs"]
    inputs = cells.kind.collate(cells.arrays.get(list(range(ROWS))))
    scores, late = [], []
    for severity in GRID:
        hurt = cells.kind.corrupt(inputs, severity, Draws(0, 0, cells.identities)).values[:, 0].double().numpy()
        positive = columns["clears"] + 0.5 * hurt > 0
        voices = 1 / (1 + np.exp(-8 * columns["clears"])), 1 / (1 + np.exp(-8 * 0.5 * hurt)), 0.5  # idle says nothing
        right = truth == samples.schema.targets[0].classes.index("pos")
        scores.append(float((right == positive).mean()))
        late.append(float((right == (sum(voices) / 3 > 0.5)).mean()))
    assert [score.value for score in one.severity.scores] == pytest.approx(scores)
    assert one.late_severity is not None
    assert [score.value for score in one.late_severity.scores] == pytest.approx(late)
    assert one.severity.area.value == pytest.approx(float(area_under(GRID, scores)))
    assert scores[-1] < scores[0] - 0.05


def test_the_missing_rate_mixes_what_is_said_with_and_without(samples: Samples) -> None:
    model = _model(samples, clear=1.0, rough=0.5, idle=0.0)
    one = _found(model, samples)["sign", "clears"]
    sets = [frozenset(samples.schema.names), frozenset({"roughs", "idles"})]
    raw = model.outputs(samples, np.arange(ROWS), sets)["sign"]
    full, without = (predictions(samples.schema.targets[0], raw[subset], temperature=1.0, balance=False)
                     for subset in sets)
    truth, drawn = samples.labels["sign"].values, Draws(0, 0, np.arange(ROWS)).uniform("missing/clears")
    assert one.without.value == accuracy(truth, without)  # exactly the subset's score
    for rate, score in zip(GRID, one.missing.scores, strict=True):
        assert score.value == accuracy(truth, np.where((drawn < rate)[:, None], without, full))
    assert one.clean.value > one.without.value + 0.1
    assert one.clean.value > one.missing.area.value > one.without.value


def test_each_clean_modality_is_encoded_once(samples: Samples) -> None:
    model = _model(samples, clear=1.0, rough=0.5, idle=0.0)
    _found(model, samples, severities=(0.0, 0.5, 1.0))
    for encoder in model.encoders:
        assert sum(encoder.calls) == ROWS * (1 + 2)  # clean, and its own two severities


def test_a_modality_that_is_worse_than_none_is_named(samples: Samples) -> None:
    found = _found(_model(samples, clear=1.0, rough=8.0, idle=0.0), samples)
    one = found["sign", "roughs"]
    assert one.harmful
    assert one.harmful[-1] == 1.0
    assert "better off ignoring it: at 1, accuracy is" in one.sentence
    assert "falls from" in one.sentence
    assert not found["sign", "clears"].harmful
    assert "does no harm" in found["sign", "clears"].sentence
    error = _found(_model(samples, clear=0.5, rough=0.5, idle=0.0), samples)["number", "roughs"]
    assert error.harmful[-1] == 1.0  # an error that rises is worse, too
    assert "rises from" in error.sentence
    assert error.against_absence[-1].high < 0


def test_effective_robustness_is_judged_against_the_model_s_own_voices() -> None:
    """A loud modality drowns two others; the mean of single voices lets them speak, and is the more robust."""
    three = _samples(("clear", "rough", "sure"))
    loud = _found(_model(three, clear=1.0, rough=8.0, sure=1.0), three)["sign", "roughs"]
    assert loud.late_severity is not None
    assert loud.late_severity.area.value > loud.severity.area.value + 0.1
    assert loud.effective_severity is not None
    assert loud.effective_severity.high < 0
    assert "with roughs damaged it loses" in loud.late_sentence
    assert "points more" in loud.late_sentence
    alone = _samples(("clear",))
    one = _found(_model(alone, clear=1.0), alone)["sign", "clears"]
    assert one.effective_severity is None
    assert one.late_severity is None
    assert one.without.value < one.clean.value  # the training distribution answers
    assert one.to_json()["late_fusion_severity"] is None
    assert one.late_sentence == ""


def test_any_missingness_and_few_rows() -> None:
    samples = _samples(missing=0.4)
    found = _found(_model(samples, clear=1.0, rough=0.5, idle=0.1), samples)
    several = samples.presence.sum(axis=1) >= 2
    for place, name in enumerate(samples.schema.names):
        assert found["sign", name].rows == int((several & samples.presence[:, place]).sum())
    fewer = _samples(rows=24)
    labels = {name: replace(one, mask=one.mask & (np.arange(24) > 8)) for name, one in fewer.labels.items()}
    model = _model(fewer, clear=1.0, rough=0.5, idle=0.1)
    results, notes = robustness_curves(model, replace(fewer, labels=labels), np.arange(24))
    assert not results
    assert len(notes) == 2  # one a target, not one a modality
    assert f"to {', '.join(fewer.schema.names)} is left out: 15 labelled rows have each" in notes[0]
    some, _ = robustness_curves(model, fewer, np.arange(24), most_rows=21)
    assert {one.rows for one in some} == {21}


def test_stored_features_are_left_for_the_cells_themselves(samples: Samples) -> None:
    """Damage reaches what a frozen encoder reads, whatever is stored of it."""
    model = _model(samples, clear=1.0, rough=0.5, idle=0.0)
    cells = samples.cells["roughs"]
    numbers = np.stack(cells.arrays.get(list(range(ROWS))))[:, :1, None]
    features = np.pad(numbers, ((0, 0), (0, 0), (0, WIDTH - 1)))

    def get(some: Any) -> Any:
        return SimpleNamespace(values=features[some], mask=np.ones((len(some), 1), dtype=bool), span=None)

    stored: StoredTokens = SimpleNamespace(get=get)  # type: ignore[assignment]
    with_stored = replace(samples, cells={**samples.cells, "roughs": replace(cells, stored=stored)})
    model.encoders[1].calls.clear()
    found = _found(model, with_stored)
    assert sum(model.encoders[1].calls) == ROWS * 4  # only the damaged ones
    assert found["sign", "roughs"].to_json() == _found(model, samples)["sign", "roughs"].to_json()


def test_an_evaluation_encodes_once_and_for_the_curves_once_more(samples: Samples) -> None:
    model = _model(samples, clear=1.0, rough=0.5, idle=0.0)
    evaluate(model, samples, information=False, robustness=False)
    assert [sum(encoder.calls) for encoder in model.encoders] == [ROWS] * 3
    evaluate(model, samples, information=False)
    assert [sum(encoder.calls) for encoder in model.encoders] == [ROWS * (1 + 1 + 5)] * 3


def test_an_evaluation_has_the_curves_where_they_are_asked_for(samples: Samples) -> None:
    model = _model(samples, clear=1.0, rough=8.0, idle=0.0)
    found = evaluate(model, samples, rows=np.arange(60), information=False)
    assert [(one.target, one.modality) for one in found.robustness] == [
        (target, name) for target in ("sign", "number") for name in samples.schema.names]
    assert found.to_json()["robustness"][0]["sentence"] == found.robustness[0].sentence
    assert not evaluate(model, samples, rows=np.arange(60), information=False, robustness=False).robustness
