"""Contradictions: planted wrong pairs and wrong labels come first, and unreliable voices cannot accuse."""

from __future__ import annotations

import numpy as np
import pytest
from planted_scores import class_target, noisy_logits, number_target, scored_rows, softmax

from sensorium.data.schema import Target
from sensorium.evaluation.contradictions import (
    Contradictions,
    bits_apart,
    contradictions_of,
    tempered_voice,
    voice_weight,
)

ROWS, CLASSES = 1500, 10
NAMES = ("photo", "sound")


def _found(
    target: Target, labels: np.ndarray, alone: dict[str, np.ndarray], predicted: np.ndarray, **options: np.ndarray,
) -> Contradictions:
    presence = np.stack([np.isfinite(values).all(axis=1) for values in alone.values()], axis=1)
    scored = scored_rows(target, labels, presence, tuple(alone), **options)
    found = contradictions_of(scored, target, {frozenset({name}): values for name, values in alone.items()}, predicted)
    assert found is not None
    return found


def _classes(swapped: np.ndarray, wrong: np.ndarray, strength: float = 3.5) -> Contradictions:
    """Two modalities that see the class alike; of some rows another row's sound, of some another label."""
    random = np.random.default_rng(0)
    truth = random.integers(0, CLASSES, ROWS)
    heard = truth.copy()
    heard[swapped] = (truth[swapped] + random.integers(1, CLASSES, len(swapped))) % CLASSES
    photo, sound = noisy_logits(truth, CLASSES, strength, 1), noisy_logits(heard, CLASSES, strength, 2)
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + random.integers(1, CLASSES, len(wrong))) % CLASSES
    return _found(class_target(CLASSES), labels, {"photo": photo, "sound": sound}, softmax(photo + sound))


def test_planted_wrong_pairs_and_wrong_labels_come_first() -> None:
    swapped, wrong = np.arange(0, 400, 10), np.arange(405, 805, 10)
    found = _classes(swapped, wrong)
    assert found.rows == found.labelled == ROWS
    assert np.mean([one.row in swapped for one in found.pairs[:30]]) >= 0.9
    assert np.mean([one.row in wrong for one in found.labels[:30]]) >= 0.95
    assert found.num_labels >= 36
    assert all(one.between == NAMES for one in found.pairs)
    first = next(one for one in found.pairs if one.row in swapped)
    assert first.sides_with == "photo"
    assert first.says["photo"][0] == first.label != first.says["sound"][0]
    assert found.power is not None
    assert found.power > 0.6
    assert found.to_json()["pairs"][0]["row"] == found.pairs[0].row + 1


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    found = _classes(np.arange(0), np.arange(0), strength=4.0)
    assert found.num_pairs <= 10
    assert found.labels_by_chance is not None
    assert found.num_labels <= max(4, 3 * found.labels_by_chance)
    assert len(found.sentences) == 2


def test_a_sure_voice_that_is_often_wrong_cannot_accuse() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, CLASSES, ROWS)
    good = noisy_logits(truth, CLASSES, 4.0, 1)
    guess = np.where(random.random(ROWS) < 0.3, truth, random.integers(0, CLASSES, ROWS))
    loud = 12.0 * np.eye(CLASSES)[guess]
    found = _found(class_target(CLASSES), truth, {"good": good, "loud": loud}, softmax(good))
    assert found.trust["loud"] < 0.6 < found.trust["good"]
    assert found.num_pairs == 0


def test_rows_with_one_modality_and_unlabelled_rows() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, CLASSES, ROWS)
    photo, sound = noisy_logits(truth, CLASSES, 3.0, 1), noisy_logits((truth + 1) % CLASSES, CLASSES, 3.0, 2)
    predicted = softmax(photo)
    sound[: ROWS - 100] = np.nan
    mask = np.arange(ROWS) < ROWS - 50
    found = _found(class_target(CLASSES), truth, {"photo": photo, "sound": sound}, predicted, mask=mask)
    assert found.rows == 100
    assert found.labelled == ROWS - 50
    assert all(one.label == "" for one in found.pairs if one.row >= ROWS - 50)


def test_numbers() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=ROWS)
    photo, sound = (truth + 0.1 * random.normal(size=ROWS) for _ in range(2))
    swapped, wrong = np.arange(0, 300, 10), np.arange(305, 605, 10)
    sound[swapped] = truth[swapped] + 2.0
    labels = truth.copy()
    labels[wrong] += 2.0
    found = _found(number_target(), labels, {"photo": photo[:, None], "sound": sound[:, None]},
                   (0.5 * (photo + sound))[:, None])
    assert {one.row for one in found.pairs[:30]} == set(swapped.tolist())
    assert {one.row for one in found.labels[:30]} == set(wrong.tolist())
    assert found.num_labels == 30
    assert all(one.sides_with == "photo" for one in found.pairs[:30])
    assert found.unit == "usual errors"


def test_bits_apart_by_hand() -> None:
    a, b, prior = np.array([[0.7, 0.2, 0.1]]), np.array([[0.1, 0.3, 0.6]]), np.array([0.5, 0.3, 0.2])
    assert bits_apart(a, b, prior)[0] == pytest.approx(-np.log2(0.07 / 0.5 + 0.06 / 0.3 + 0.06 / 0.2))
    assert bits_apart(prior[None], b, prior)[0] == pytest.approx(0.0, abs=1e-9)
    assert bits_apart(a, b, prior)[0] == bits_apart(b, a, prior)[0]


def test_a_voice_is_weighed_by_how_often_it_is_right() -> None:
    truth = np.arange(1000) % 4
    said = np.where(np.arange(1000) % 10 == 0, (truth + 1) % 4, truth)
    prior = np.full(4, 0.25)
    weight = voice_weight(np.eye(4)[said], truth, prior)
    assert weight == pytest.approx(1 - 0.1 / 0.75, abs=0.01)  # w + (1 − w)/4 = 0.9
    logits = noisy_logits(truth, 4, 2.0, 0)
    temperature, exact = tempered_voice(logits, truth, prior)
    assert temperature == pytest.approx(1.0, rel=0.3)
    assert exact > 0.95
    assert tempered_voice(5 * logits, truth, prior)[0] == pytest.approx(5.0, rel=0.3)


def test_too_few_rows_say_nothing() -> None:
    truth = np.arange(15) % 2
    scored = scored_rows(class_target(2), truth, np.ones((15, 1), dtype=bool), ("photo",))
    assert contradictions_of(scored, class_target(2), {frozenset({"photo"}): np.zeros((15, 2))},
                             np.full((15, 2), 0.5)) is None
