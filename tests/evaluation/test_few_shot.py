"""Few-shot: which examples are drawn, what the probes make of them, what is noted."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from embedders import WordEmbedder, samples_of, schema_of

from sensorium.errors import AlignmentError, DataError, RecipeError
from sensorium.evaluation import few_shot as module
from sensorium.evaluation import probe
from sensorium.evaluation.few_shot import few_shot, few_shot_lines, few_shot_scores
from sensorium.evaluation.probe import linear_probe, nearest_mean

Table = tuple[np.ndarray, np.ndarray]


def _blobs(rows: int, *, classes: int = 4, width: int = 24, noise: float = 0.35, seed: int = 0) -> Table:
    """Unit vectors around class directions that do not depend on the seed."""
    centres = np.random.default_rng(99).normal(size=(classes, width))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    labels = np.arange(rows) % classes
    found = centres[labels] + noise * np.random.default_rng(seed).normal(size=(rows, width))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32), labels


def test_more_examples_are_better() -> None:
    found = few_shot(*_blobs(160), *_blobs(200, seed=1), shots=(1, 4, 16), seeds=4)
    values = [one.probe["accuracy"].value for one in found.scores]
    assert values == sorted(values)
    assert values[0] > 2 * found.chance
    assert values[-1] > 0.85
    assert [(one.shots, one.train_rows, one.test_rows, one.draws) for one in found.scores] == [
        (1, 4, 200, 4), (4, 16, 200, 4), (16, 64, 200, 4)]
    assert (found.majority, found.chance, found.notes) == (0.25, 0.25, [])
    for one in found.scores:
        assert one.probe["accuracy"].value == pytest.approx(np.mean(one.probe_draws))
        assert one.probe["accuracy"].low <= one.probe["accuracy"].value <= one.probe["accuracy"].high <= 1
        assert one.centroid["balanced_accuracy"].value == pytest.approx(np.mean(one.centroid_draws))


def test_the_interval_is_student_s() -> None:
    values = np.array([0.4, 0.5, 0.7])
    found = module._mean(values)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.value == pytest.approx(4.302653 * values.std(ddof=1) / np.sqrt(3), rel=1e-5)
    assert module._mean(np.array([0.99, 1.0, 1.0])).high == 1
    assert np.isnan(module._mean(np.array([0.5])).low)
    assert np.isnan(few_shot(*_blobs(20), *_blobs(20, seed=1), shots=[1], seeds=1).scores[0].probe["accuracy"].high)


def test_draws_are_nested_balanced_and_keyed() -> None:
    truth = np.arange(90) % 3
    places = module._places(truth, 3, 5, 2)
    for number in range(3):
        assert sorted(places[truth == number]) == list(range(30))
    assert set(np.flatnonzero(places < 2)) < set(np.flatnonzero(places < 4))
    assert (module._places(truth, 3, 5, 2) == places).all()
    assert (module._places(truth, 3, 5, 3) != places).any()
    assert (module._places(truth, 3, 6, 2) != places).any()
    firsts = np.array([np.flatnonzero((module._places(truth, 3, 0, draw) == 0) & (truth == 1))[0]
                       for draw in range(300)])
    assert len(set(firsts.tolist())) == 30


def test_the_same_seed_is_the_same_answer() -> None:
    a, b, c = (few_shot(*_blobs(80), *_blobs(80, seed=1), shots=(1, 2), seed=seed).to_json() for seed in (0, 0, 1))
    assert a == b
    assert a != c


def test_the_probe_is_scikit_learn_s_at_the_chosen_penalty() -> None:
    """Also where it is fitted in the examples' span instead of the whole width."""
    from sklearn.linear_model import LogisticRegression

    for rows, width in ((12, 40), (60, 10)):
        examples, truth = _blobs(rows, width=width)
        test, _ = _blobs(30, width=width, seed=1)
        examples, test = examples.astype(np.float64), test.astype(np.float64)
        penalty, found = linear_probe(examples, truth, np.arange(rows) // 4, test, 4)
        assert penalty in probe.INVERSE_PENALTIES
        reference = LogisticRegression(C=penalty, max_iter=5000, tol=1e-8).fit(examples, truth).predict_proba(test)
        np.testing.assert_allclose(found, reference, atol=0.02)
        assert (found.argmax(axis=1) == reference.argmax(axis=1)).mean() > 0.95


def test_the_penalty_is_chosen_within_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise asks for a strong penalty, separated classes for a weak one; a class of one is never held out."""
    random = np.random.default_rng(0)
    truth, place = np.arange(48) % 3, np.arange(48) // 3
    noise = random.normal(size=(48, 20))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    assert linear_probe(noise, truth, place, noise, 3)[0] == min(probe.INVERSE_PENALTIES)
    apart, _ = _blobs(48, classes=3, noise=0.05)
    assert linear_probe(apart.astype(np.float64), truth, place, noise[:, :1] * np.ones((1, 24)), 3)[0] > 100
    held: list[set[int]] = []
    fitted = probe._fitted

    def spied(examples: Any, labels: Any, test: Any, penalty: float, num_classes: int) -> Any:
        held.append(set(labels.tolist()))
        return fitted(examples, labels, test, penalty, num_classes)

    monkeypatch.setattr(probe, "_fitted", spied)
    single = np.array([0, 0, 0, 1, 1, 2])
    linear_probe(noise[:6], single, np.array([0, 1, 2, 0, 1, 0]), noise, 3)
    assert len(held) == 3 * len(probe.INVERSE_PENALTIES) + 1
    assert all(classes == {0, 1, 2} for classes in held)
    held.clear()
    assert linear_probe(noise[:3], np.arange(3), np.zeros(3, dtype=int), noise, 3)[0] == probe.FIXED_INVERSE_PENALTY
    assert len(held) == 1


def test_the_nearest_mean_against_a_loop() -> None:
    random = np.random.default_rng(0)
    examples, truth, test = random.normal(size=(20, 6)), np.arange(20) % 4, random.normal(size=(15, 6))
    found = nearest_mean(examples, truth, test, 4).argmax(axis=1)
    for row, answer in zip(test, found, strict=True):
        cosines = []
        for number in range(4):
            own = [one / np.linalg.norm(one) for one, label in zip(examples, truth, strict=True) if label == number]
            mean = np.mean(own, axis=0)
            cosines.append(row @ mean / np.linalg.norm(row) / np.linalg.norm(mean))
        assert answer == np.argmax(cosines)
    assert (nearest_mean(3 * examples, truth, 7 * test, 4).argmax(axis=1) == found).all()


def test_a_collapsed_embedding_scores_chance() -> None:
    same = np.full((80, 8), 8**-0.5)
    found = few_shot(same, np.arange(80) % 4, same, np.arange(80) % 4, shots=(1, 4), seeds=3)
    for one in found.scores:
        assert one.probe["balanced_accuracy"].value == pytest.approx(0.25, abs=0.01)
        assert one.centroid["balanced_accuracy"].value == pytest.approx(0.25)


def test_labels_may_be_words_and_numbers() -> None:
    train, labels = _blobs(40)
    test, test_labels = _blobs(40, seed=1)
    words = np.array(["ant", "bee", "cat", "dog"])
    a = few_shot(train, labels, test, test_labels, shots=[4]).scores[0]
    b = few_shot(train, words[labels], test, words[test_labels].tolist(), shots=[4]).scores[0]
    assert a.probe_draws == b.probe_draws


def test_classes_with_few_examples_give_all_and_are_noted() -> None:
    train, labels = _blobs(60)
    kept = (labels != 3) | (np.arange(60) < 8)
    found = few_shot(train[kept], labels[kept], *_blobs(40, seed=1), shots=(1, 2, 4, 64), seeds=2)
    assert [one.shots for one in found.scores] == [1, 2, 4]
    assert [one.short for one in found.scores] == [{}, {}, {"3": 2}]
    assert [one.train_rows for one in found.scores] == [4, 8, 14]
    assert found.notes == ["no class has more than 15 examples: 64 shots are left out",
                           "4 shots: 1 of 4 classes have fewer examples (3 2) and give all"]
    all_of_them = few_shot(train[:8], labels[:8], *_blobs(40, seed=1), shots=(16, 32), seeds=2)
    assert [(one.shots, one.train_rows) for one in all_of_them.scores] == [(16, 8)]
    assert "32 shots are left out" in all_of_them.notes[0]


def test_rows_without_class_or_embedding_and_strangers() -> None:
    train, labels = _blobs(40)
    test, test_labels = _blobs(40, seed=1)
    train[5], test[7] = np.nan, np.nan
    given: list[Any] = labels.tolist()
    given[0], given[1] = None, " "
    asked: list[Any] = test_labels.tolist()
    asked[:10] = ["stranger"] * 10
    found = few_shot(train, given, test, asked, shots=[2], seeds=2)
    assert found.notes == ["2 training rows have no class and are left out",
                           "1 training rows have no embedding and are left out",
                           "1 test rows have no embedding and are left out",
                           "9 test rows are of a class without a training example and count as wrong"]
    assert found.scores[0].test_rows == 39
    assert found.scores[0].probe["accuracy"].value <= 30 / 39


def test_of_a_model_each_labelled_row_is_read_once() -> None:
    schema = schema_of(photo="image", note="text")
    birds: list[str | None] = [("wren", "robin", "crow")[row % 3] for row in range(45)]
    columns = {"photo": [f"{bird} {row} {row // 7}" for row, bird in enumerate(birds)], "note": [None] * 45}
    samples = samples_of(schema, columns)
    birds[0] = None
    model = WordEmbedder(schema, aligned=False)
    found = few_shot_scores(model, (samples, birds), (samples, birds), shots=(1, 4), modalities="photo", seeds=3)
    assert model.rows_read == 88
    assert found.scores[1].probe["accuracy"].value > 0.9
    assert found.scores[1].test_rows == 44
    everything = few_shot_scores(model, (samples, birds), (samples, birds), shots=(1, 4), seeds=3)
    assert everything.to_json() == found.to_json()
    with pytest.raises(DataError, match="each of 45 rows, found 3"):
        few_shot_scores(model, (samples, birds[:3]), (samples, birds))
    with pytest.raises(DataError, match="at least 2 classes to train on, found 0 in 0 rows"):
        few_shot_scores(model, (samples, birds), (samples, birds), modalities="note")
    with pytest.raises(RecipeError, match="unknown modality 'notes'"):
        few_shot_scores(model, (samples, birds), (samples, birds), modalities="notes")


def test_lines_and_json() -> None:
    train, labels = _blobs(20)
    found = few_shot(train, labels, *_blobs(40, seed=1), shots=(1, 4, 8), seeds=2)
    lines = few_shot_lines(found)
    assert len({len(line) for line in lines[:5]}) == 1
    assert "linear probe" in lines[0]
    assert lines[3].startswith("| 4  ")
    assert lines[4].startswith("| the most frequent class")
    assert lines[5] == "no class has more than 5 examples: 8 shots are left out"
    plain = json.loads(json.dumps(found.to_json()))
    assert [one["shots"] for one in plain["scores"]] == [1, 4]
    assert len(plain["scores"][0]["probe_draws"]) == 2
    alone = few_shot(train, labels, *_blobs(40, seed=1), shots=[1], seeds=1)
    assert json.loads(json.dumps(alone.to_json()))["scores"][0]["probe"]["accuracy"]["low"] is None
    assert "nan" not in "".join(few_shot_lines(alone))


def test_what_cannot_be_probed_is_said() -> None:
    train, labels = _blobs(20)
    with pytest.raises(DataError, match="at least 2 classes to train on, found 1 in 5 rows: all are '2'"):
        few_shot(train[labels == 2], labels[labels == 2], train, labels)
    with pytest.raises(DataError, match="test rows with a class and an embedding, found none"):
        few_shot(train, labels, train, [None] * 20)
    with pytest.raises(AlignmentError, match=r"one width, found \(20, 24\) and \(20, 5\)"):
        few_shot(train, labels, train[:, :5], labels)
    with pytest.raises(AlignmentError, match=r"training rows: .* found shape \(20, 24\) and 3 classes"):
        few_shot(train, labels[:3], train, labels)
    with pytest.raises(AlignmentError, match=r"found shots \[0, 2\] and 5 draws"):
        few_shot(train, labels, train, labels, shots=(0, 2))
    with pytest.raises(AlignmentError, match=r"found shots \[1\] and 0 draws"):
        few_shot(train, labels, train, labels, shots=[1], seeds=0)
    train[3, 0] = np.inf
    with pytest.raises(AlignmentError, match="training rows: the embedding of row 3 is not finite"):
        few_shot(train, labels, train, labels)


def test_classes_of_the_test_rows_alone_count_each_for_itself() -> None:
    """Two classes are taught, four are tested: each of the strangers is missed on its own."""
    train, labels = _blobs(160)
    test, truth = _blobs(200, seed=1)
    names = sorted({str(label) for label in labels})
    taught = np.array([str(label) in names[:2] for label in labels])
    found = few_shot(train[taught], [label for label, own in zip(labels, taught, strict=True) if own], test, truth,
                     shots=[4], seeds=2)
    counts = {name: sum(str(one) == name for one in truth) for name in names}
    assert found.majority == max(counts.values()) / len(truth)
    assert found.majority_balanced == 1 / len(names)
    known = sum(counts[name] for name in names[:2])
    best = known / len(truth)
    assert found.scores[0].probe["accuracy"].value <= best
    assert found.scores[0].probe["balanced_accuracy"].value <= 2 / len(names) + 1e-9
    assert found.chance == best / 2
