"""Attribution: closed forms, completeness on every subset for every fusion, planted truth, and what is drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner
from worlds import QUICK, write_small_world

import sensorium
from sensorium.cli.main import app
from sensorium.data.batch import Batch, make_batch
from sensorium.data.kinds import TextKind
from sensorium.data.kinds.base import Inputs
from sensorium.data.read import read
from sensorium.data.samples import Samples, decoded, measured
from sensorium.encoders.base import Encoder, Tokens
from sensorium.encoders.image import boxes
from sensorium.errors import DataError, RecipeError
from sensorium.evaluation.attribution import Attribution, TokenAttribution, attribute, attributions
from sensorium.evaluation.attribution_drawing import drawn, places, text_parts, without_place
from sensorium.evaluation.attribution_page import write_attribution_page
from sensorium.evaluation.integrated_gradients import gauss_lobatto, integrated
from sensorium.fusion import FUSIONS
from sensorium.model import Model
from sensorium.objectives import Encoded
from sensorium.recipe import Recipe
from sensorium.training.typical import typical_tokens


def _samples(table: Path, *targets: str, inputs: tuple[str, ...] | None = None) -> Samples:
    data = read(table, targets=targets, **({} if inputs is None else {"inputs": inputs}))
    schema = measured(data.table, data.schema, np.arange(len(data)))
    return decoded(data.table, schema, workers=0, memory_bytes=1e9)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return _samples(write_small_world(tmp_path_factory.mktemp("world")), "kind", "size")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    table = write_small_world(tmp_path_factory.mktemp("three"), rows=16, missing=0.0)
    return _samples(table, "kind", "size", inputs=("image", "note", "hr", "bp", "ward"))


def _model(samples: Samples, fusion: str = "attention", recipe: Recipe = QUICK, *, shake: float = 0.1) -> Model:
    model = Model(samples.schema, recipe.changed("model", fusion=fusion))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(shake * torch.randn(parameter.shape, generator=generator))
    model.typical = {name: torch.randn(4, 32, generator=generator) for name in samples.schema.names}
    return model.eval()


# ---- the integral ----

def _along(function: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    """A function of (point, token) numbers in float64, as `integrated` wants it."""
    return lambda points, index: function(points["a"][:, :, 0].double())


def test_gauss_lobatto_is_exact_to_its_degree() -> None:
    nodes, weights = gauss_lobatto(8)
    assert float(nodes[0]) == 0.0 and float(nodes[-1]) == 1.0
    for degree in range(14):
        assert float((weights * nodes**degree).sum()) == pytest.approx(1.0 / (degree + 1), abs=1e-12)


@pytest.mark.parametrize("curve", [lambda x: torch.tanh(60.0 * (x - 0.31)), lambda x: (x - 0.377).abs(),
                                   lambda x: torch.log_softmax(torch.stack([80 * x, 40 * torch.ones_like(x)]), 0)[0]])
def test_kinks_and_sharp_turns_are_found(curve: Callable[[Tensor], Tensor]) -> None:
    """Of a sum of functions of one token each, every token gets its own difference."""
    ends = torch.tensor([[[1.0], [0.5]], [[-0.5], [0.9]]])
    found = integrated(_along(lambda x: curve(x[:, 0]) - 2.0 * curve(x[:, 1])), {"a": torch.zeros(2, 2, 1)},
                       {"a": ends}, tolerance=3e-4)
    start, end = curve(torch.zeros(2, 2, dtype=torch.float64)), curve(ends[:, :, 0].double())
    truth = (end - start) * torch.tensor([1.0, -2.0])
    torch.testing.assert_close(found.tokens["a"], truth.double(), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.tokens["a"].sum(dim=1), found.end - found.start, atol=3e-4, rtol=3e-4)


def test_a_product_is_shared_in_halves() -> None:
    ends = torch.tensor([[[3.0], [-2.0]]])
    found = integrated(_along(lambda x: x[:, 0] * x[:, 1]), {"a": torch.zeros_like(ends)}, {"a": ends})
    torch.testing.assert_close(found.tokens["a"], torch.tensor([[-3.0, -3.0]], dtype=torch.float64))
    assert int(found.points) == 16


def test_of_a_linear_model_it_is_gradient_times_difference(three: Samples) -> None:
    """Concat with a linear head is linear in the tokens: closed form, in original units."""
    model = _model(three, "concat")
    target = three.schema.targets[1]
    [found] = attributions(model, three, np.array([3]), target=target)
    assert found is not None and found.unit == "" and found.class_ is None
    encoded = model.encode(make_batch(three, np.array([3])))
    head = next(one for one in model.objectives() if one.name == "size").head
    for place, name in enumerate(three.schema.names):
        values, mask = encoded.tokens[name].values[0], encoded.tokens[name].mask[0]
        last = len(model.typical[name]) - 1
        start = model.typical[name][torch.arange(len(values)).clamp(max=last)]
        weight = (head.weight @ model.fusion.maps[place].weight)[0] / mask.sum()
        truth = ((values - start) @ weight)[mask] * target.std
        np.testing.assert_allclose(found.tokens[name].values, truth.detach().numpy(), atol=1e-5)


# ---- completeness ----

@pytest.mark.parametrize("fusion", FUSIONS)
def test_attributions_add_up_on_every_subset(three: Samples, fusion: str) -> None:
    model = _model(three, fusion)
    for size in range(1, 4):
        for subset in combinations(three.schema.names, size):
            for target in three.schema.targets if size == 3 else three.schema.targets[:1]:
                for one in attributions(model, three, np.arange(2), target=target, modalities=subset, steps=8):
                    assert one is not None and set(one.tokens) == set(subset)
                    assert abs(one.error) <= 1e-3 * max(1.0, abs(one.value - one.baseline))


def test_the_value_is_what_the_model_predicts(world: Samples) -> None:
    model = _model(world)
    model.temperatures["kind"] = 1.7
    answers = model.answers(world)
    for target in world.schema.targets:
        for one, answer in zip(attributions(model, world, np.arange(len(world)), target=target), answers, strict=True):
            if one is None:
                assert not answer[target.name].modalities
                continue
            assert set(one.tokens) == set(answer[target.name].modalities)
            if target.task == "classify":
                assert one.class_ == answer[target.name].value and one.unit == "bits"
                assert one.value == pytest.approx(math.log2(answer[target.name].probability or 0.0), abs=1e-5)
            else:
                assert one.value == pytest.approx(answer[target.name].value, abs=1e-5)


def test_typical_rows_get_nothing(three: Samples) -> None:
    model = _model(three)
    encode = model.encode

    def typical(batch: Batch) -> Encoded:
        encoded = encode(batch)
        return Encoded({name: replace(one, values=model.typical[name][
            torch.arange(one.values.shape[1]).clamp(max=len(model.typical[name]) - 1)].expand_as(one.values))
            for name, one in encoded.tokens.items()}, encoded.presence)

    model.encode = typical  # type: ignore[method-assign]
    for one in attributions(model, three, np.arange(4), target=three.schema.targets[0]):
        assert one is not None and one.value == one.baseline
        assert all((told.values == 0.0).all() for told in one.tokens.values())


@pytest.mark.parametrize("fusion", ["attention", "concat"])
def test_from_neutral_tokens_the_model_answers_by_the_frequencies(three: Samples, fusion: str) -> None:
    model = _model(three, fusion)
    model.typical = typical_tokens(model, three, np.arange(len(three)))
    kind, size = three.schema.targets
    for subset in ((name,) for name in (*three.schema.names,)):
        for place, label in enumerate(kind.classes):
            [one] = attributions(model, three, np.array([0]), target=kind, classes=[place], modalities=subset)
            assert one is not None and 2.0**one.baseline == pytest.approx(kind.prior[place], abs=0.1), label
    [one] = attributions(model, three, np.array([0]), target=size)
    assert one is not None and one.baseline == pytest.approx(size.mean, abs=0.3 * size.std)


# ---- what is absent ----

@pytest.mark.parametrize("fusion", FUSIONS)
def test_poisoning_the_absent_changes_no_bit(world: Samples, fusion: str) -> None:
    rows, target = np.arange(5), world.schema.targets[0]
    results = []
    for poison in (False, True):
        model = _model(world, fusion)
        encode = model.encode

        def poisoned(batch: Batch, encode: Callable[[Batch], Encoded] = encode, poison: bool = poison) -> Encoded:
            encoded = encode(batch)
            real = {name: one.mask & encoded.presence[:, place, None]
                    for place, (name, one) in enumerate(encoded.tokens.items())}
            return Encoded({name: replace(one, values=torch.where(real[name][:, :, None], one.values, torch.nan))
                            for name, one in encoded.tokens.items()}, encoded.presence) if poison else encoded

        model.encode = poisoned  # type: ignore[method-assign]
        results.append(attributions(model, world, rows, target=target))
    assert not world.presence[rows].all()
    for clean, dirty in zip(*results, strict=True):
        assert clean is not None and dirty is not None
        assert clean.value == dirty.value and list(clean.tokens) == list(dirty.tokens)
        for name, told in clean.tokens.items():
            assert np.isfinite(told.values).all() and (told.values == dirty.tokens[name].values).all()


def test_a_row_does_not_see_the_others(world: Samples) -> None:
    model, target = _model(world), world.schema.targets[0]
    together = attributions(model, world, np.arange(6), target=target)
    for row, one in enumerate(together):
        [alone] = attributions(model, world, np.array([row]), target=target)
        assert one is not None and alone is not None and one.row == alone.row == row
        for name, told in one.tokens.items():
            np.testing.assert_allclose(told.values, alone.tokens[name].values, atol=1e-5)


# ---- planted truth ----

class Patches(Encoder):
    """A token for each 4 by 4 pixels, which knows nothing of the others."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = nn.Conv2d(3, width, 4, stride=4)
        self.place = nn.Parameter(0.1 * torch.randn(16, width, generator=torch.Generator().manual_seed(0)))

    @classmethod
    def build(cls, kind: object, width: int) -> Patches:
        return cls(width)

    def forward(self, inputs: Inputs) -> Tokens:
        values = self.map(inputs.values.float() / 127.5 - 1.0).flatten(2).transpose(1, 2) + self.place
        return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool), boxes(4, 4).expand(len(values), -1, -1))


def _planted(folder: Path, what: str, rows: int = 120) -> tuple[Samples, list[int]]:
    """Pictures whose top right quadrant, or notes of which one word, decides; and where that word stands."""
    random = np.random.default_rng(0)
    lines, where = [f"{what},kind"], []
    filler = ("stone", "river", "cloud", "house", "green", "small")
    for row in range(rows):
        kind = int(random.integers(2))
        pixels = random.integers(114, 142, (16, 16, 3), dtype=np.uint8)
        pixels[:8, 8:, 2 * kind] += 80
        Image.fromarray(pixels).save(folder / f"{row}.png")
        spoken = [filler[word] for word in random.integers(0, len(filler), 6)]
        where.append(int(random.integers(7)))
        spoken.insert(where[-1], ("north", "south")[kind])
        lines.append(f"{row}.png,{'ab'[kind]}" if what == "image" else f"{' '.join(spoken)},{'ab'[kind]}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return _samples(folder / "table.csv", "kind"), where


def _taught(model: Model, samples: Samples, *, steps: int = 30) -> Model:
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    batch = make_batch(samples, np.arange(len(samples)))
    for _ in range(steps):
        optimizer.zero_grad()
        model(batch).total.backward()
        optimizer.step()
    model.typical = typical_tokens(model, samples, np.arange(len(samples)))
    return model.eval()


@pytest.mark.parametrize("fusion", [pytest.param("attention", marks=pytest.mark.slow), "concat"])
def test_the_quadrant_that_decides_gets_it(tmp_path: Path, fusion: str) -> None:
    samples, _ = _planted(tmp_path, "image")
    model = Model(samples.schema, QUICK.changed("model", fusion=fusion))
    model.encoders[0] = Patches(32)
    found = attributions(_taught(model, samples), samples, np.arange(16), target=samples.schema.targets[0])
    inside = []
    for one in found:
        assert one is not None and one.class_ == "ab"[samples.labels["kind"].values[one.row]]
        told = one.tokens["image"]
        assert told.span is not None
        quadrant = (told.span[:, 0] >= 0.5) & (told.span[:, 3] <= 0.5)
        positive = told.values.clip(min=0.0)
        inside.append(positive[quadrant].sum() / positive.sum())
    assert np.mean(inside) >= 0.9


def test_the_word_that_decides_gets_it(tmp_path: Path) -> None:
    samples, where = _planted(tmp_path, "note", rows=240)
    model = Model(samples.schema, QUICK)
    model.encoders[0].blocks = nn.ModuleList()  # tokens that know nothing of each other
    found = attributions(_taught(model, samples), samples, np.arange(16), target=samples.schema.targets[0])
    hits, shares = [], []
    for one in found:
        assert one is not None
        told = one.tokens["note"]
        text = samples.cells["note"].arrays.get([int(samples.cells["note"].cells_of_row[one.row, 0])])[0]
        assert told.span is not None
        placed = ~without_place(samples.cells["note"].kind, told.span, len(told.values))
        shared = np.array([value for _, _, value in text_parts(text, told.span[placed], told.values[placed])])
        hits.append(shared.argmax() == where[one.row])
        shares.append(shared.clip(min=0.0)[where[one.row]] / shared.clip(min=0.0).sum())
    assert np.mean(hits) >= 0.95
    assert np.mean(shares) >= 0.7  # what fillers the model has learned by heart takes the rest


# ---- the public function ----

def test_attribute_takes_rows_as_people_have_them(world: Samples, tmp_path: Path) -> None:
    model = _model(world)
    one = sensorium.attribute(model, {"note": "this one looks red to me", "hr": 61.0}, target="kind", class_="cat")
    assert isinstance(one, Attribution) and one.class_ == "cat" and set(one.tokens) == {"note", "table"}
    assert abs(one.error) < 1e-3 and one.totals["note"] == pytest.approx(one.tokens["note"].values.sum())
    again = attribute(model.save(tmp_path / "m"), {"note": "this one looks red to me", "hr": 61.0}, class_="cat")
    assert again.totals == pytest.approx(one.totals)
    only = attribute(model, world, modalities=["table"], numbers=np.arange(5))
    assert len(only) == 5 and all(found is None or set(found.tokens) == {"table"} for found in only)


def test_missing_columns_have_no_token(world: Samples) -> None:
    model = _model(world)
    one = attribute(model, {"hr": 61.0, "ward": "east"}, target="size")
    assert one.tokens["table"].span[:, 0].tolist() == [0.0, 2.0]


def test_what_cannot_be_explained_is_said(world: Samples) -> None:
    model = _model(world)
    with pytest.raises(DataError, match="nothing to explain: the row has none of image"):
        attribute(model, {"note": ""})
    for options, words in (({"target": "sort"}, "target 'sort'"), ({"class_": "ant bear"}, "class 'ant bear'"),
                           ({"target": "size", "class_": "ant"}, "is a number"),
                           ({"modalities": ["x"]}, "modality 'x'"), ({"tolerance": 0.0}, "tolerance above 0")):
        with pytest.raises(RecipeError, match=words):
            attribute(model, {"note": "red"}, **options)


# ---- drawing ----

def test_text_is_shared_among_words() -> None:
    span = np.array([[0, 3], [3, 7], [7, 8], [8, 12]], dtype=np.float64)  # "red", " one", " ", "here"
    parts = text_parts("red one here", span, np.array([1.0, 2.0, 0.5, -1.0]))
    assert parts == [(0, 3, 1.0), (4, 7, 2.0), (8, 12, -0.5)]
    long = "甲" * 30
    assert [value for *_, value in text_parts(long, np.array([[0.0, 10.0], [10.0, 30.0]]), np.array([1.0, 2.0]))] == [
        1.0, 2.0]


def test_text_is_escaped() -> None:
    kind = TextKind().measure(["<b>red</b> & blue"])
    from sensorium.evaluation.attribution_drawing import _Cell, _on_text

    html = _on_text(kind, _Cell("<b>red</b> & blue", np.array([0.5, -0.5]), np.array([[0.0, 10.0], [13.0, 17.0]]),
                                np.zeros(0)), 0.5, "bits")
    assert "<b>" not in html and "&lt;b&gt;red" in html and "&amp;" in html
    assert 'class="for"' in html and 'class="against"' in html


def test_every_modality_of_a_row_is_drawn(world: Samples) -> None:
    model, target = _model(world), world.schema.targets[0]
    row = int(np.flatnonzero(world.presence.all(axis=1))[0])
    [one] = attributions(model, world, np.array([row]), target=target)
    assert one is not None
    for name, marks in (("image", "<title>"), ("sound", 'class="ribbon"'), ("note", "<mark"), ("table", "beams")):
        html = drawn(world, name, row, one.tokens[name], reach=0.01, unit="bits")
        assert marks in html, name
    assert "the whole" in drawn(world, "sound", row, one.tokens["sound"], reach=0.01, unit="bits")
    timbre = without_place(world.cells["sound"].kind, one.tokens["sound"].span, len(one.tokens["sound"].values))
    assert timbre.tolist() == [False] * (len(timbre) - 1) + [True]
    total = places(world, "sound", one.tokens["sound"]).sum() + one.tokens["sound"].values[timbre].sum()
    assert total == pytest.approx(one.tokens["sound"].total)


def test_tokens_without_spans_are_the_whole(world: Samples) -> None:
    row = int(np.flatnonzero(world.presence[:, 0])[0])
    told = TokenAttribution(np.array([0.2, -0.1]), None, np.zeros(2, dtype=np.int64))
    html = drawn(world, "image", row, told, reach=0.2, unit="bits")
    assert "the whole (2 tokens)" in html and "+0.10 bits" in html and "<img" in html


def test_a_page_is_self_contained_and_says_what_it_leaves_out(world: Samples, tmp_path: Path) -> None:
    notes = write_attribution_page(_model(world), world, tmp_path / "deep" / "page.html", title="<world>", most=4)
    page = (tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    assert notes[0] == f"the first 4 of {len(world)} rows are shown"
    assert "The first 4 of 48 rows are shown" in page and "&lt;world&gt;" in page and "<world>" not in page
    assert page.count("<article") == 2 * 4 and page.count('id="against"') == 1
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)


def test_predict_writes_the_page_beside_its_answers(tmp_path: Path) -> None:
    table = write_small_world(tmp_path / "world", rows=30)
    _model(_samples(table, "kind", "size")).save(tmp_path / "m")
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "m"), str(table), "--modalities", "note,table", "--out",
                                    str(tmp_path / "answers.csv"), "--attribute", str(tmp_path / "why.html")])
    assert done.exit_code == 0
    assert f"attribution: {tmp_path / 'why.html'}; the first 24 of 30 rows are shown" in done.stderr
    assert (tmp_path / "answers.csv").read_text().count("\n") == 31
    page = (tmp_path / "why.html").read_text(encoding="utf-8")
    assert "absent: image, sound" in page and "<mark" in page and "<img" not in page
