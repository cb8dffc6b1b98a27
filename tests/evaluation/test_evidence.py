"""Evidence in words: planted relevances come out as the words, regions, columns and seconds they were planted in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from worlds import QUICK, write_small_world

from sensorium.answers import Answer
from sensorium.data.kinds import TableKind
from sensorium.data.read import as_samples, read
from sensorium.data.samples import Samples, decoded, measured
from sensorium.encoders.image import boxes
from sensorium.evaluation import evidence
from sensorium.evaluation.attribution import Attribution, TokenAttribution
from sensorium.evaluation.evidence import evidence_lines
from sensorium.model import Model

BOXES = boxes(6, 6).double().numpy()
NOTE = "this one looks green to me"
Lines = Callable[..., str]


def _samples(table: Path, **options: tuple[str, ...]) -> Samples:
    data = read(table, targets="kind", **options)
    schema = measured(data.table, data.schema, np.arange(len(data)))
    return decoded(data.table, schema, workers=0, memory_bytes=1e9)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Samples]:
    """A model and one row that has everything."""
    folder = tmp_path_factory.mktemp("world")
    lines = write_small_world(folder, missing=0.0).read_text().splitlines()
    chosen = next(line for line in lines[1:] if NOTE in line)
    (folder / "one.csv").write_text("\n".join([lines[0], chosen, *lines[1:]]))
    samples = _samples(folder / "one.csv", ignore=("size",))
    return Model(samples.schema, QUICK), samples


@pytest.fixture
def line(world: tuple[Model, Samples], monkeypatch: pytest.MonkeyPatch) -> Lines:
    """The line about a modality of whose tokens the relevances are planted."""
    model, samples = world

    def told(name: str, values: list[float] | np.ndarray, span: np.ndarray | None, *, bits: float = 1.0,
             cell: list[int] | None = None) -> str:
        relevances = np.asarray(values, dtype=np.float64)
        own = TokenAttribution(relevances, span, np.zeros(len(relevances), dtype=np.int64) if cell is None
                               else np.array(cell))
        planted = Attribution(0, "kind", "ant", "bits", -1.0, -2.0, {name: own}, 16)
        monkeypatch.setattr(evidence, "attributions", lambda *given, **named: [planted])
        [said] = evidence_lines(model, samples, Answer("ant", {"ant": 1.0}, (name,), {name: bits}))
        return said

    return told


def _at(*places: tuple[int, int, float]) -> np.ndarray:
    """(token,) relevances of a picture of six by six tokens: (row, column, relevance) …, a little everywhere else."""
    values = np.full(36, 0.01)
    for row, column, much in places:
        values[6 * row + column] = much
    return values


@pytest.mark.parametrize(("planted", "words"), [
    (_at((0, 0, 1.0), (1, 1, 1.0)), "the upper left"),
    (_at((0, 5, 1.0), (0, 0, -9.0)), "the upper right"),
    (_at((0, 2, 0.3), (1, 3, 0.4)), "the upper centre"),
    (_at((2, 3, 1.0), (3, 2, 1.0)), "the middle"),
    (_at((3, 1, 1.0)), "the left"),
    (_at((2, 4, 1.0)), "the right"),
    (_at((5, 2, 1.0)), "the lower centre"),
    (_at((0, 0, 1.0), (5, 5, 0.8)), "the upper left and the lower right"),
    (_at((0, 0, 1.0), (5, 5, 0.3)), "the upper left"),
    (_at((0, 0, 1.0), (0, 2, 0.8)), "the upper left"),  # beside it
])
def test_regions_of_a_picture(line: Lines, planted: np.ndarray, words: str) -> None:
    assert line("image", planted, BOXES) == f"image +1.0 bits: mostly {words}"


def test_tokens_that_straddle_ninths_count_where_their_area_lies(line: Lines) -> None:
    coarse = boxes(4, 4).double().numpy()
    values = np.zeros(16)
    values[[0, 1, 4, 5]] = 1.0  # the upper left quarter
    assert line("image", values, coarse).endswith("mostly the upper left")
    values[[0, 1, 4, 5]] = 0.0
    values[[5, 6, 9, 10]] = 1.0
    assert line("image", values, coarse).endswith("mostly the middle")


def test_one_of_several_pictures_is_named_by_its_number(line: Lines) -> None:
    values = np.concatenate([_at((0, 0, 0.5)), _at((5, 5, 0.9))])
    assert line("image", values, np.concatenate([BOXES, BOXES]), cell=[0] * 36 + [1] * 36) == (
        "image +1.0 bits: mostly number 2, the lower right")


def test_words_of_a_text(line: Lines) -> None:
    def span(*parts: str) -> np.ndarray:
        return np.array([[NOTE.index(part), NOTE.index(part) + len(part)] for part in parts], dtype=np.float64)

    assert line("note", [0.1, 2.0, -3.0], span("this", " green", "looks")) == "note +1.0 bits: mostly 'green'"
    assert line("note", [0.9, 2.0, 0.2], span("oo", "gre", "me")) == "note +1.0 bits: mostly 'green', 'looks'"
    assert line("note", [1.0, 0.9], span("gre", "een")) == "note +1.0 bits: mostly 'green'"
    assert line("note", [4.0, 3.9, 3.8, 3.7], span("this", "one", "looks", "green")) == (
        "note +1.0 bits: mostly 'this', 'one', 'looks'")


def test_seconds_of_a_sound(line: Lines) -> None:
    span = np.array([[0.0, 0.1], [0.1, 0.2], [0.2, 0.3], [0.0, 0.3]])  # the last is about the whole sound
    assert line("sound", [0.1, 0.2, 0.9, 0.3], span) == "sound +1.0 bits: mostly 0.20 to 0.30 s"
    assert line("sound", [0.1, 0.1, 0.2, 3.0], span) == "sound +1.0 bits"


def test_columns_of_a_table(line: Lines, world: tuple[Model, Samples]) -> None:
    kind = world[1].schema.modality("table").kind
    assert isinstance(kind, TableKind)
    names = [column.name for column in kind.columns]
    place = {name: float(names.index(name)) for name in names}
    span = np.array([[place[name], place[name] + 1] for name in ("ward", "hr", "bp")])
    assert line("table", [0.4, 2.0, 0.6], span) == "table +1.0 bits: mostly hr, bp"


@pytest.mark.parametrize(("values", "span", "bits"), [
    (_at((0, 0, 1.0)), BOXES, -0.5),  # the picture speaks against the answer
    (np.full(36, -0.1), BOXES, 1.0),
    (np.ones(36), None, 1.0),
    (np.array([0.2, 0.2, 1.0]), np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1], [0, 0, 1, 1]]), 1.0),  # a token of everything
    (np.array([1.0]), np.array([[0.0, 0.0, 1.0, 1.0]]), 1.0),
])
def test_no_place_is_named_where_none_told_the_answer(
    line: Lines, values: np.ndarray, span: np.ndarray | None, bits: float,
) -> None:
    assert line("image", values, span, bits=bits) == f"image {bits:+.1f} bits"


def test_the_most_telling_modality_comes_first_and_real_attributions_fit(world: tuple[Model, Samples]) -> None:
    model, samples = world
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    answer = model.answers(samples, rows=np.arange(1), explain=True)[0]["kind"]
    lines = evidence_lines(model, samples, answer)
    bits = [float(one.split(" bits")[0].rsplit(" ", 1)[1]) for one in lines]
    assert len(lines) == 4
    assert bits == sorted(bits, reverse=True)
    without = evidence_lines(model, samples, Answer("written", {"written": 0.5}, ("image",), {"image": 2.0}))
    assert without == ["image +2.0 bits"]  # an answer that is no class has no places


def test_where_the_answer_is_planted(tmp_path: Path) -> None:
    """A colour in one corner tells the class: that corner is the evidence."""
    from sensorium.training.fit import fit

    random = np.random.default_rng(0)
    lines = ["photo,kind"]
    for row in range(120):
        pixels = random.integers(90, 110, (24, 24, 3), dtype=np.uint8)
        kind = row % 2
        pixels[0:8, 16:24, 2 * kind] = 250
        Image.fromarray(pixels).save(tmp_path / f"{row}.png")
        lines.append(f"{row}.png,{'ab'[kind]}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    model = fit(read(tmp_path / "t.csv", targets="kind"), QUICK.changed("training", epochs=5, learning_rate=4e-3),
                progress=False)
    samples = as_samples(tmp_path / "t.csv", model.schema)
    answers = model.answers(samples, rows=np.arange(1), explain=True)
    assert answers[0]["kind"].value == "a"
    [said] = evidence_lines(model, samples, answers[0]["kind"])
    assert said.endswith("bits: mostly the upper right")
