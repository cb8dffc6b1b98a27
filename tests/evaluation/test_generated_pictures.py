"""Painted pictures against real ones: planted likeness, copies and matches are found, and their absence too."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pretrained_models import save_pretrained

from sensorium.data.kinds import AudioKind, ImageKind, TextKind
from sensorium.data.schema import Modality, Schema
from sensorium.errors import RecipeError
from sensorium.evaluation.generated_board import board_of, hits_of, joined, others_of
from sensorium.evaluation.generated_copies import copies_of
from sensorium.evaluation.generated_features import in_shape, plain_features, pretrained_features
from sensorium.evaluation.generated_finds import TEXTS, Things, finds_of, picture_finds
from sensorium.evaluation.generated_judge import judge_of
from sensorium.evaluation.generated_likeness import likeness
from sensorium.evaluation.generated_painting import Painting
from sensorium.metrics.pictures import kernel_distance


def _points(rows: int, shift: float = 0.0, *, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(rows, 6)) + shift


def test_likeness_has_real_halves_as_its_floor() -> None:
    real, alike, off = _points(120), _points(120, seed=5), _points(120, 3.0, seed=2)
    varied = _points(80, seed=3).reshape(20, 4, 6) + 2 * _points(20, seed=4)[:, None]
    close, far = (likeness(made, real, varied, real, features="f", seed=0) for made in (alike, off))
    for found in (close, far):
        assert found.kernel is not None
        assert found.frechet is not None
        assert (found.half, found.dimensions, found.pictures) == (60, 6, 120)
        assert found.kernel.floor_range[0] <= found.kernel.floor <= found.kernel.floor_range[1]
        assert abs(found.kernel.floor) < 0.5
        assert found.variety is not None
        assert not found.variety.collapsed
        assert found.notes == ()
    assert close.kernel is not None and far.kernel is not None and far.precision is not None
    assert far.kernel.made > 10 * max(close.kernel.made, close.kernel.floor_range[1])
    assert far.kernel.floor == close.kernel.floor
    assert far.precision.made < 0.2 < far.precision.floor
    assert "are no further from real ones" in close.sentences[0]
    assert "are further from real ones than these are from each other" in far.sentences[0]
    assert "No collapse" in far.sentences[-1]
    whole = kernel_distance(off, real)
    assert far.kernel.made == pytest.approx(whole, rel=0.2)


def test_the_same_pictures_are_at_the_floor_exactly() -> None:
    real = _points(60)
    found = likeness(real, real, _points(24).reshape(6, 4, 6), real, features="f", seed=0)
    assert found.kernel is not None
    assert (found.kernel.made, found.kernel.made_range) == (found.kernel.floor, found.kernel.floor_range)
    assert found.frechet is None
    assert "needs" not in found.notes[0] and "they need 100 different real pictures, there are 60" in found.notes[0]


def test_few_pictures_and_collapse_are_said() -> None:
    real = _points(12)
    one = np.repeat(_points(1, seed=1), 40, axis=0).reshape(10, 4, 6)
    found = likeness(real, real, one, real, features="f", seed=0)
    assert found.kernel is None
    assert "that needs 40 different real pictures, there are 12" in found.notes[0]
    assert found.sentences[0].startswith("Collapse: all pictures are nearly the same, whatever the condition.")
    alone = likeness(real, real, one[:1], real, features="f", seed=0)
    assert alone.variety is None
    assert "whether pictures collapse cannot be told" in alone.notes[1]
    sure = np.repeat(_points(10, seed=2), 4, axis=0).reshape(10, 4, 6)
    assert "right only where what they are made from says everything" in likeness(
        real, real, sure, real, features="f", seed=0).sentences[0]


@dataclass(frozen=True)
class _Arrays:
    pictures: Any

    def get(self, cells: list[int]) -> list[Any]:
        return [self.pictures[cell] for cell in cells]


@dataclass
class _Samples:
    """The part of a decoded table that is read here: one picture a row, and a text that says which."""

    pictures: Any
    groups: Any = None
    schema: Any = field(default_factory=lambda: SimpleNamespace(names=("picture", "words")))

    def __post_init__(self) -> None:
        rows = np.arange(len(self.pictures))[:, None]
        self.presence = np.ones((len(rows), 2), dtype=bool)
        self.cells = {"picture": SimpleNamespace(kind=ImageKind(), cells_of_row=rows, arrays=_Arrays(self.pictures)),
                      "words": SimpleNamespace(kind=TextKind(), cells_of_row=rows)}

    def __len__(self) -> int:
        return len(self.pictures)


def _pictures(rows: int, *, seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (rows, 8, 8, 3), dtype=np.uint8)


def _painting(made: Any, real: Any) -> Painting:
    return Painting("picture", ("words",), np.arange(len(made)), made, real, np.ones(len(made), dtype=bool),
                    np.arange(2), made[:2, None], (0, 0), 0)


def test_planted_copies_are_found() -> None:
    train, real, fresh = (_pictures(rows, seed=seed) for seed, rows in ((1, 80), (2, 40), (3, 40)))
    features = plain_features()
    copied = fresh.copy()
    copied[5], copied[9] = train[70], np.clip(train[3].astype(int) + 1, 0, 255)

    def found(made: Any, held_out: Any) -> Any:
        return copies_of(_painting(made, held_out), _Samples(train), np.arange(80), features, features.of(made),
                         features.of(held_out), seed=0)

    some, none, all_of_them = found(copied, real), found(fresh, real), found(train[:40], real)
    assert [(one.row, one.training_row) for one in some.shown[:2]] == [(5, 70), (9, 3)]
    assert some.shown[0].distance == 0.0
    assert [one.chosen for one in some.shown] == [True] * 12 + [False] * 12
    assert np.array_equal(some.shown[0].nearest, train[70])
    assert none.sentence.startswith("No sign of learning")
    assert some.near == pytest.approx(none.near + 2 / 40, abs=0.03)
    assert all_of_them.sentence.startswith("Many pictures are near copies")
    assert (all_of_them.nearer, all_of_them.near) == (1.0, 1.0)
    known = found(fresh, train[:40]).sentence.replace("\u00a0", " ")
    assert "100 % of the real pictures are themselves" in known
    unknown = replace(_painting(fresh, real), known=np.zeros(40, dtype=bool))
    assert "needs 20 real pictures beside, there are 0" in copies_of(
        unknown, _Samples(train), np.arange(80), features, features.of(fresh), features.of(fresh)[:0],
        seed=0).sentence
    assert copies_of(_painting(fresh, real), _Samples(train), np.arange(0), features, features.of(fresh),
                     features.of(real), seed=0) is None


@dataclass(frozen=True)
class _Oracle:
    """A judge that knows every picture and every row by its number."""

    known: Any
    name: str = "oracle"
    reads: dict[str, str] = field(default_factory=lambda: {"words": "words"})
    itself: bool = False

    def see(self, pictures: Any) -> Any:
        flat = self.known.reshape(len(self.known), -1).astype(int)
        place = [int(np.abs(flat - one.reshape(-1).astype(int)).sum(axis=1).argmin()) for one in pictures]
        return np.eye(len(flat), dtype=np.float32)[place]

    def hear(self, samples: Any, rows: Any, table: Any) -> Any:
        return np.eye(len(self.known), dtype=np.float32)[rows]


def test_pictures_that_show_their_row_find_it_and_others_do_not() -> None:
    real = _pictures(150, seed=5)
    made = np.concatenate([real[:90], real[91:], real[90:91]])  # 90 right, 60 shifted by one
    scored = SimpleNamespace(samples=_Samples(real), seed=0)
    found = picture_finds(scored, None, _painting(made, real), _Oracle(real))  # type: ignore[arg-type]
    assert not isinstance(found, str)
    assert (found.rows, found.among, found.unit) == (150, 100, "rows")
    assert found.made.value == pytest.approx(0.6, abs=0.01)  # a tie where nothing fits finds one in a hundred
    assert found.real is not None
    assert found.real.value == 1.0
    assert found.neighbour is None
    assert "among 100 rows (chance 1" in found.sentence
    few = picture_finds(scored, None, _painting(made[:4], real[:4]), _Oracle(real))  # type: ignore[arg-type]
    assert few == ("whether pictures find what they were made from cannot be told: 4 rows say different things that "
                   "the judge can read, 5 at least are needed")


def test_a_judge_that_knows_nothing_finds_as_many_as_chance() -> None:
    vectors = np.random.default_rng(0).normal(size=(2, 400, 8)).astype(np.float32)
    seen, heard = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    codes = np.arange(400) // 2  # each thing is said twice
    others = others_of(codes, np.arange(400), np.arange(400), 20, seed=0)
    assert all(len({codes[place], *codes[row]}) == 20 for place, row in enumerate(others))
    hits = hits_of(seen, heard, np.arange(400), others)
    assert hits.mean() == pytest.approx(1 / 20, abs=0.03)
    same = np.ones((400, 8), dtype=np.float32) / np.sqrt(8.0)
    assert hits_of(same, same, np.arange(400), others).mean() == pytest.approx(1 / 20)
    for place in range(3):
        own, rest = seen[place] @ heard[place], seen[place] @ heard[others[place]].T
        assert hits[place] == float((own > rest).all())


def test_what_says_nothing_finds_nothing() -> None:
    heard = np.eye(3, dtype=np.float32)
    others = np.array([[1, 2], [0, 2], [0, 1]])
    seen = np.stack([heard[0], np.full(3, np.nan), heard[0]])
    assert hits_of(seen, heard, np.arange(3), others).tolist() == [1.0, 0.0, 0.0]


def test_rows_that_share_a_true_text_are_not_each_others_others() -> None:
    true = [("a",), ("b", "A "), ("c",), ("b", "d"), ("e",), ("c",), ("f",)]
    codes = joined(np.array([0, 1, 2, 3, 4, 5, 4]), true)
    assert [codes.tolist().index(code) for code in codes.tolist()] == [0, 0, 2, 0, 4, 2, 4]


class _Reader(_Oracle):
    """A judge of texts that say the number of a picture, or nothing."""

    def see(self, texts: Any) -> Any:
        numbers = [int(one) if one.strip() else None for one in texts]
        return np.stack([np.full(len(self.known), np.nan) if one is None else np.eye(len(self.known))[one]
                         for one in numbers])


def test_texts_that_say_their_row_find_it_among_a_hundred() -> None:
    samples = _Samples(_pictures(150, seed=5))
    judge = _Reader(samples.pictures, reads={"picture": "picture"})
    scored = SimpleNamespace(samples=samples, seed=0)
    rows = np.arange(150)
    true = [{str(row)} for row in range(140)] + [{"140"}] * 10  # ten rows share their text
    board = board_of(samples, rows, judge, table=None, what="texts", seed=0, true=true)  # type: ignore[arg-type]
    assert not isinstance(board, str)
    assert board.among == 100
    assert not {*board.others[145].tolist()} & {*range(140, 150)}
    said = [str(row) for row in range(90)] + ["0"] * 30 + [" "] * 30
    things = Things(TEXTS, said, [str(row) for row in rows], np.ones(150, dtype=bool), lambda of, chosen: [])
    found = finds_of(scored, None, board, things)  # type: ignore[arg-type]
    assert found.made.value == pytest.approx(0.6, abs=0.01)  # a tie where nothing fits finds one in a hundred
    assert found.real is not None
    assert found.real.value == 1.0
    assert "of the written texts find what they were made from among 100 rows (chance 1" in found.sentence
    few = board_of(samples, rows[:6], judge, table=None, what="texts", seed=0,  # type: ignore[arg-type]
                   true=[{"a"}] * 6)
    assert few == ("whether texts find what they were made from cannot be told: 1 row says something that the judge "
                   "can read, 5 at least are needed")


def _judge(**kinds: Any) -> Any:
    schema = Schema(modalities=tuple(Modality(name=name, columns=(name,), kind=kind) for name, kind in kinds.items()))
    return SimpleNamespace(schema=schema, aligned=True, read=frozenset(kinds))


def _matched(judged: dict[str, Any], **judge: Any) -> tuple[str, dict[str, str]]:
    schema = _judge(**judged).schema
    found = judge_of(_judge(**judge), "runs/x", schema, "photo", [name for name in judged if name != "photo"])
    return found.sees, found.reads


def test_modalities_of_a_judge_are_matched_by_name_then_by_kind() -> None:
    image, text, sound = ImageKind(), TextKind(), AudioKind()
    told = {"photo": image, "note": text, "sound": sound}
    assert _matched(told, photo=image, note=text) == ("photo", {"note": "note"})
    assert _matched(told, twitter=image, label=text) == ("twitter", {"note": "label"})
    assert _matched(told, twitter=image, note=text, other=text, voice=sound) == (
        "twitter", {"note": "note", "sound": "voice"})
    assert _matched({"photo": image, "sketch": image}, sketch=image, photo=image) == ("photo", {"sketch": "sketch"})
    schema = _judge(**told).schema
    found = judge_of(_judge(photo=image, title=text), "runs/x", schema, "note", ["photo", "sound"])
    assert (found.sees, found.reads) == ("title", {"photo": "photo"})
    with pytest.raises(RecipeError, match="judge runs/x: it reads no text; expected a model with a text column"):
        judge_of(_judge(photo=image, sound=sound), "runs/x", schema, "note", ["photo", "sound"])
    for judge, words in (({"note": text}, "reads no picture"),
                         ({"a": image, "b": image, "note": text}, "several pictures .a, b., none called 'photo'"),
                         ({"a": image, "one": text, "two": text}, "which of one, two reads note cannot be told"),
                         ({"a": image}, "nothing that 'photo' is made from .note, sound.")):
        with pytest.raises(RecipeError, match=f"judge runs/x: .*{words}"):
            _matched(told, **judge)


def test_features_of_a_pretrained_encoder_are_its_mean_token(tmp_path: Path) -> None:
    import transformers

    folder = save_pretrained("resnet", tmp_path / "resnet")
    features = pretrained_features(folder)
    pictures = _pictures(3, seed=7)
    found = features.of(pictures)
    model = transformers.AutoModel.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.no_grad():
        hidden = model(processor(list(pictures), return_tensors="pt")["pixel_values"]).last_hidden_state
    assert np.allclose(found, hidden.mean(dim=(2, 3)).numpy(), atol=1e-5)
    assert (features.name, features.pretrained) == ("features of resnet", True)
    with pytest.raises(RecipeError, match="no folder 'nowhere'"):
        pretrained_features("nowhere")
    grey = pretrained_features(folder).of(pictures[:, :, :, :1])
    assert grey.shape == found.shape
    with pytest.raises(RecipeError, match="features: .* is a bert model for text: expected one for image"):
        pretrained_features(save_pretrained("bert", tmp_path / "bert"))


def test_pictures_are_stretched_as_painted_ones_are() -> None:
    pictures = list(_pictures(2, seed=8))
    assert np.array_equal(in_shape(pictures, (8, 8)), np.stack(pictures))
    flat = [np.full((8, 8, 1), 77, dtype=np.uint8)]
    assert np.array_equal(in_shape(flat, (16, 12)), np.full((1, 16, 12, 1), 77))
