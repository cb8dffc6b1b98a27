"""What the report says of how training went: fusions compared, and which modality learns more slowly."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from planted_scores import class_target

from sensorium.evaluation.course import fusions_part, imbalance_part, imbalance_sentence
from sensorium.model import Model


def _history(scores: list[float], alone: list[tuple[float, float]]) -> list[dict[str, Any]]:
    return [{"epoch": place + 1, "step": 10 * (place + 1), "scores": {"kind": {"all": 0.9, "sound": score}},
             "alone": dict(zip(("photo", "sound"), told, strict=True))}
            for place, (score, told) in enumerate(zip(scores, alone, strict=True))]


def _model(**facts: Any) -> Model:
    return cast(Model, SimpleNamespace(
        schema=SimpleNamespace(names=("photo", "sound"), targets=(class_target(3),)),
        recipe=SimpleNamespace(training=SimpleNamespace(balance=False)), facts=facts, history=[]))


def _said(scores: list[float], alone: list[tuple[float, float]]) -> str:
    history = _history(scores, alone)
    return imbalance_sentence(history, history[-1], history[-1]["alone"], "kind")


def test_a_starved_modality_is_named() -> None:
    said = _said([0.34, 0.35, 0.34, 0.35], [(0.4, 0.33), (0.7, 0.34), (0.9, 0.34), (0.95, 0.35)])
    assert "sound is starved, or has nothing to tell" in said
    assert "photo gives the truth a probability of 95" in said


def test_a_slower_one_that_still_learns_is_not_called_starved() -> None:
    said = _said([0.4, 0.5, 0.6, 0.7], [(0.4, 0.33), (0.7, 0.4), (0.9, 0.5), (0.95, 0.6)])
    assert "not starved" in said
    assert "still rises" in said


def test_equals_are_called_so() -> None:
    assert "about equally fast" in _said([0.4, 0.6], [(0.5, 0.5), (0.7, 0.68)])


def test_the_chart_needs_the_history_and_two_modalities() -> None:
    model = _model(best_step=20)
    assert imbalance_part(model) is None
    model.history = _history([0.4, 0.6], [(0.5, 0.5), (0.7, 0.3)])
    part = imbalance_part(model)
    assert part is not None
    assert part["legend"] == ["photo alone", "sound alone"]
    assert part["svg"].startswith("<svg")
    del model.history[0]["alone"]
    assert imbalance_part(model) is not None
    model.history = [{"epoch": 1, "step": 10, "alone": {"photo": 0.5}}]
    assert imbalance_part(model) is None


def test_fusions_are_lines_of_a_table() -> None:
    def trial(name: str, loss: float, behind: list[float] | None, seconds: float) -> dict[str, Any]:
        return {"fusion": name, "loss": loss, "scores": {"kind": 0.9}, "parameters": 1000, "steps": 20,
                "seconds": seconds, "behind": behind}

    close = trial("concat", 0.21, [0.01, -0.02, 0.04], 3.0)
    part = fusions_part(_model(fusions=[trial("gated", 0.2, None, 10.0), close,
                                        trial("tensor", 0.9, [0.7, 0.5, 0.9], 9.0)]))
    assert part is not None
    assert [line["fusion"] for line in part["lines"]] == ["gated", "concat", "tensor"]
    assert part["scores"] == ["kind: accuracy"]
    assert "gated has the lowest validation loss" in part["said"]
    assert "cannot be told apart from concat" in part["said"]
    assert "concat took 30% of its time" in part["said"]
    assert part["lines"][1]["dot"][0] < part["zero"] < part["lines"][1]["dot"][2]
    alone = fusions_part(_model(fusions=[trial("gated", 0.2, None, 1.0), trial("tensor", 0.9, [0.7, 0.5, 0.9], 9.0)]))
    assert alone is not None
    assert "All others are behind" in alone["said"]
    assert fusions_part(_model()) is None
