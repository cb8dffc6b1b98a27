"""Models held against each other: closed forms of what must come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from worlds import QUICK, write_small_world

import sensorium as sm
from sensorium.errors import DataError
from sensorium.evaluation.comparing import Compared, Comparison, Difference, Verdict, compare
from sensorium.evaluation.comparison_page import comparison_lines, write_comparison
from sensorium.evaluation.contenders import Cost
from sensorium.metrics.bootstrap import Estimate
from sensorium.metrics.paired import agreement
from sensorium.model import Model

Models = dict[str, Model]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def models(folder: Path) -> Models:
    """a reads the table and the note, b the table alone, its classes found in another order; neither sees media."""
    table = write_small_world(folder, rows=60)
    recipe = QUICK.changed("training", epochs=3)

    def fitted(targets: tuple[str, ...], ignore: tuple[str, ...], seed: int) -> Model:
        data = sm.read(table, targets=targets, ignore=("image", "sound", *ignore))
        return sm.fit(data, recipe.changed("training", seed=seed), progress=False, allow_leak=True)

    return {"a": fitted(("kind", "size"), (), 0), "b": fitted(("kind",), ("note", "size"), 1),
            "numbers": fitted(("size",), ("kind",), 0)}


@pytest.fixture(scope="module")
def test_table(folder: Path) -> Path:
    return write_small_world(folder / "test", rows=50, seed=1)


def test_a_model_differs_from_itself_by_nothing(models: Models, test_table: Path) -> None:
    found = compare({"one": models["a"], "two": models["a"]}, test_table)
    assert {one.modalities for one in found.differences} == {(), ("note",), ("table",), ("note", "table")}
    for one in found.differences:
        for gap in one.metrics.values():
            assert (gap.value, gap.low, gap.high) == (0, 0, 0) or np.isnan(gap.value)
    for verdict in found.verdicts:
        assert verdict.better is None
        assert "give the same answers in all of 50 rows" in verdict.sentence
    kind = next(one for one in found.verdicts if one.target == "kind").agreement
    assert kind is not None
    assert (kind.p, kind.only_a, kind.only_b, kind.alike, kind.rows) == (1.0, 0, 0, 50, 50)


def test_scores_are_those_of_evaluate_and_turn_with_the_order(models: Models, test_table: Path) -> None:
    found = compare({"a": models["a"], "b": models["b"]}, test_table)
    back = compare({"b": models["b"], "a": models["a"]}, test_table)
    assert {one.target for one in found.differences} == {"kind"}  # the only common one
    assert [one.modalities for one in found.differences] == [(), ("table",)]
    for place, name in enumerate("ab"):
        alone = next(one for one in sm.evaluate(models[name], test_table).as_found if one.target == "kind")
        for metric, both in found.differences[0].scores.items():
            assert both[place] == pytest.approx(alone.metrics[metric].value, abs=1e-12)
    for one, other in zip(found.differences, back.differences, strict=True):
        for metric, gap in one.metrics.items():
            turned = other.metrics[metric]
            assert gap.value == pytest.approx(-turned.value, abs=1e-9)
            assert (gap.low, gap.high) == pytest.approx((-turned.high, -turned.low), abs=1e-9)
    assert found.verdicts[0].better == back.verdicts[0].better


def test_classes_are_matched_by_name(models: Models, test_table: Path) -> None:
    """The same model with its classes in another order answers the same."""
    import copy

    turned = copy.deepcopy(models["b"])
    order = np.array([2, 0, 1])
    target = turned.schema.targets[0]
    renamed = target.model_copy(update={"classes": tuple(target.classes[one] for one in order),
                                        "prior": tuple(target.prior[one] for one in order)})
    turned.schema = turned.schema.model_copy(update={"targets": (renamed,)})
    outputs = turned.outputs

    def reordered(*given: object, **named: object) -> dict[str, dict[frozenset[str], np.ndarray]]:
        return {"kind": {subset: values[:, order] for subset, values in outputs(*given, **named)["kind"].items()}}

    turned.outputs = reordered  # type: ignore[method-assign, assignment]
    found = compare({"b": models["b"], "turned": turned}, test_table)
    assert all(abs(gap.value) < 1e-12 for gap in found.differences[0].metrics.values())


def test_intervals_of_groups(models: Models, folder: Path) -> None:
    """Each row twice with one group number: as many independent rows as before, hence no narrower intervals."""
    from dataclasses import replace

    import polars as pl

    from sensorium.data.read import Data
    from sensorium.data.table import read_table
    from sensorium.recipe import DataOptions

    table = read_table(write_small_world(folder / "grouped", rows=40, seed=2))
    twice = replace(table, frame=pl.concat([table.frame.with_row_index("who")] * 2))
    pair = {name: models[name] for name in "ab"}
    schema = models["a"].schema
    models["a"].schema = schema.model_copy(update={"group": "who"})
    try:
        grouped = compare(pair, Data(twice, DataOptions())).differences[0]
    finally:
        models["a"].schema = schema
    single = compare(pair, Data(table, DataOptions())).differences[0]
    rows = compare(pair, Data(twice, DataOptions())).differences[0]
    assert (grouped.unit, single.unit, rows.unit) == ("groups", "rows", "rows")
    widths = [one.metrics["log_loss"].high - one.metrics["log_loss"].low for one in (grouped, single, rows)]
    assert widths[0] == pytest.approx(widths[1], rel=1e-6)
    assert widths[2] < 0.85 * widths[0]


def test_agreement_by_hand() -> None:
    right_a = np.array([1, 1, 1, 1, 1, 1, 0, 0], dtype=bool)
    right_b = np.array([1, 0, 0, 0, 0, 0, 1, 0], dtype=bool)
    found = agreement(right_a, right_b, right_a == right_b)
    assert (found.both_right, found.only_a, found.only_b, found.both_wrong, found.alike) == (1, 5, 1, 1, 2)
    assert found.p == pytest.approx(2 * (1 + 6) / 2**6)  # 6 flips, at most one head, both sides
    assert agreement(right_a[:0], right_a[:0], right_a[:0]).p == 1.0


def test_what_cannot_be_compared(models: Models, test_table: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two models or more, found 1"):
        compare({"a": models["a"]}, test_table)
    with pytest.raises(DataError, match="no target in common: b predicts 'kind', numbers 'size'"):
        compare({"b": models["b"], "numbers": models["numbers"]}, test_table)
    lacking = tmp_path / "t.csv"
    lacking.write_text("hr,bp\n60,1\n70,2\n")
    with pytest.raises(DataError, match="nothing to compare"):
        compare({"a": models["a"], "b": models["b"]}, lacking)
    target = models["b"].schema.targets[0]
    other = models["b"].schema
    models["b"].schema = other.model_copy(update={"targets": (target.model_copy(update={"classes": (
        "ant", "bee", "dog")}),)})
    try:
        with pytest.raises(DataError, match="only a knows 'cat'; only b knows 'dog'"):
            compare({"a": models["a"], "b": models["b"]}, test_table)
    finally:
        models["b"].schema = other


def test_the_page_and_the_lines_say_the_finding(models: Models, test_table: Path) -> None:
    found = compare({"a": models["a"], "b <i>": models["b"]}, test_table)
    page = write_comparison(found, title="a against b", about="50 rows")
    assert "b &lt;i&gt;" in page and "b <i>" not in page
    assert page.count('class="verdict') >= 1 and "exact McNemar p" in page
    lines = comparison_lines(found)
    assert found.verdicts[0].sentence in lines
    assert any("ms to predict a row" in line for line in lines)
    assert all(np.isfinite(one.cost.milliseconds) and one.cost.milliseconds > 0 for one in found.models)


def test_the_page_parts_finding_and_proof_whatever_the_names() -> None:
    ends = "root mean squared error 2.000 against 3.000; 95 % interval +0.5 to +1.5, paired on 30 rows"
    for said, finding, proof in (
            (f"m (2) is better than m (1) by 1 ({ends}).", "m (2) is better than m (1) by 1", f"{ends}."),
            ("m (1) and m (2) give the same answers in all of 30 rows.",
             "m (1) and m (2) give the same answers in all of 30 rows", "")):
        verdict = Verdict("m (1)", "m (2)", "price (EUR)", "rmse", None, None, f"price (EUR): {said}")
        gap = Difference("m (1)", "m (2)", "price (EUR)", (), 30, "rows", {"rmse": (3.0, 2.0)},
                         {"rmse": Estimate(-1.0, -1.5, -0.5)})
        models = [Compared(name, ("note",), ("price (EUR)",), Cost(1, None, 1.0)) for name in ("m (1)", "m (2)")]
        page = write_comparison(Comparison(30, models, [gap], [verdict], []), title="m", about="30 rows")
        assert f'<p class="said">price (EUR): {finding}</p>' in page
        assert (f'<p class="proof">{proof}</p>' in page) if proof else 'class="proof"' not in page
