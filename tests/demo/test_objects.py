"""The world of objects: what is held out, keyed scenes, pictures that show what is said, words to be read back."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from dataclasses import replace
from itertools import combinations as chosen
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import sensorium as sm
from sensorium.cli.main import main
from sensorium.demo import ObjectWorld, attributes_of, captions, combinations, draw_objects, held_out, object_pictures
from sensorium.demo import write_generation as write
from sensorium.demo.objects import COLOURS, NOTHING, OBJECT_SPLITS, PLACES, SHAPES, ObjectSplit
from sensorium.demo.objects_render import PAINTS, coverages
from sensorium.demo.wording import CAPTIONS, COLOUR_WORDS, PLACE_WORDS, SHAPE_WORDS, SIZE_WORDS
from sensorium.errors import DataError, RecipeError


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ObjectWorld:
    return write(tmp_path_factory.mktemp("objects"), rows=40, test_rows=20, seed=3)


def test_a_fifth_is_held_out_and_every_value_and_pair_is_seen() -> None:
    seen, unseen = set(combinations("train")), set(combinations("test"))
    assert (len(seen), len(unseen)) == (76, 20)
    assert seen.isdisjoint(unseen) and combinations("test_seen") == combinations("train")
    assert seen | unseen == set(product(range(6), range(4), range(4)))
    for axis, low in ((0, 3), (1, 5), (2, 5)):
        counts = Counter(one[axis] for one in unseen)
        assert len(counts) == (6, 4, 4)[axis] and set(counts.values()) <= {low, low + 1}
    for axes in chosen(range(3), 2):
        every = set(product(*(range((6, 4, 4)[axis]) for axis in axes)))
        counts = Counter(tuple(one[axis] for axis in axes) for one in seen)
        assert set(counts) == every and min(counts.values()) >= 3


def test_the_held_out_combinations_are_these_for_ever() -> None:
    assert [divmod(16 * c + 4 * s + p, 16) for c, s, p in combinations("test")] == [
        (0, 1), (0, 7), (0, 8), (0, 14), (1, 3), (1, 4), (1, 10), (2, 0), (2, 6), (2, 13), (3, 2), (3, 9), (3, 15),
        (4, 5), (4, 11), (4, 12), (5, 1), (5, 7), (5, 8), (5, 14)]


@pytest.mark.parametrize("split", OBJECT_SPLITS)
def test_scenes_show_their_split_s_combinations_one_a_place(split: ObjectSplit) -> None:
    for most in (1, 3):
        objects = draw_objects(range(600), seed=1, split=split, most=most)
        rows = [objects.row(row) for row in range(600)]
        assert {len(row) for row in rows} == set(range(1, most + 1))
        assert all(held_out(*one) == (split == "test") for row in rows for one in row)
        assert all(len({one.place for one in row}) == len(row) for row in rows)
        assert {row[0] for row in rows} == set(combinations(split))


def test_a_row_is_the_same_however_many_are_drawn_and_at_any_size() -> None:
    for most in (1, 3):
        many, few = draw_objects(range(30), seed=2, most=most), draw_objects([17, 4], seed=2, most=most)
        assert [many.row(17), many.row(4)] == [few.row(0), few.row(1)]
        assert (object_pictures(many)[[17, 4]] == object_pictures(few)).all()
        assert [captions(many)[row] for row in (17, 4)] == captions(few)
    small, large = object_pictures(few, 32).astype(float), object_pictures(few, 128).astype(float)
    assert np.abs(large.reshape(2, 32, 4, 32, 4, 3).mean(axis=(2, 4)) - small).mean() < 1.0
    others = [draw_objects(range(30), seed=3), draw_objects(range(30), seed=2, split="test_seen")]
    assert all((other.colour != draw_objects(range(30), seed=2).colour).any() for other in others)


def test_pictures_show_colour_and_place() -> None:
    objects = draw_objects(range(80), seed=4, most=3)
    cover, pixels = coverages(objects, 64), object_pictures(objects, 64) / 255.0
    there = objects.colour != NOTHING
    assert (cover[~there] == 0).all()
    for row, number in zip(*np.nonzero(there), strict=True):
        mask = cover[row, number]
        down, across = (np.average(np.arange(64), weights=mask.sum(axis=axis)) for axis in (1, 0))
        assert 2 * (down > 32) + (across > 32) == objects.place[row, number]
        quarter = mask.reshape(2, 32, 2, 32).sum(axis=(1, 3)).ravel()
        assert quarter[objects.place[row, number]] > 0.97 * quarter.sum(), "an object stays in its quarter"
        shown = pixels[row][mask == 1].mean(axis=0)
        assert np.abs(PAINTS - shown).sum(axis=1).argmin() == objects.colour[row, number]
        low, high = (40, 110) if objects.large[row, number] else (23, 60)
        assert low < 1000 * mask.mean() < high
    assert pixels[cover.sum(axis=1) == 0].min() > 0.7, "the ground is pale"


def test_shapes_have_their_corners() -> None:
    objects = draw_objects(range(60), seed=5)
    for mask, shape in zip(coverages(objects, 128)[:, 0] > 0.5, objects.shape[:, 0], strict=True):
        down, across = np.nonzero(mask)
        down, across = down - down.mean(), across - across.mean()
        direction = ((np.arctan2(down, across) / (2 * np.pi) * 40) % 40).astype(int)
        far = np.array([np.hypot(down, across)[direction == one].max() for one in range(40)])
        waves = np.abs(np.fft.rfft(far / far.mean()))[3:6] / 40
        assert (waves.max() < 0.02) if SHAPES[shape] == "circle" else waves.argmax() + 3 == (0, 4, 3, 5)[shape]


def test_captions_are_varied_and_read_back() -> None:
    objects = draw_objects(range(1500), seed=6)
    told = captions(objects)
    for caption, row in zip(told, range(1500), strict=True):
        [one] = objects.row(row)
        assert attributes_of(caption) == (COLOURS[one.colour], SHAPES[one.shape], PLACES[one.place])
        sizes = [any(word in caption.split() for word in words) for words in SIZE_WORDS]
        assert not sizes[1 - int(objects.large[row, 0])], "a size that is told is true"
    assert len(set(told)) > 1000
    words = {word for caption in told for word in caption.replace(",", "").replace(":", "").split()}
    assert {"disc", "violet", "top", "upper", "box", "little", "big"} <= words


@pytest.mark.parametrize("template", CAPTIONS)
def test_every_template_is_read_back_in_all_its_words(template: str) -> None:
    assert all(f"{{{name}}}" in template for name in ("shape", "place"))
    for (colour, colours), (shape, shapes), (place, places) in product(
            COLOUR_WORDS.items(), SHAPE_WORDS.items(), PLACE_WORDS.items()):
        for one, other, third, size in product(colours, shapes, places, ("", "small ", "big ")):
            caption = template.format(look=size + one, colour=one, shape=other, place=third)
            assert attributes_of(caption.capitalize() + ".") == (colour, shape, place)


@pytest.mark.parametrize(("caption", "read"), [
    ("", (None, None, None)),
    ("a red thing", ("red", None, None)),
    ("a red circle that is blue, top left", (None, "circle", "upper left")),
    ("a violet purple disc circle", ("purple", "circle", None)),
    ("a circle in the upper left and lower right", (None, "circle", None)),
    ("reddish starry squares, upper", (None, None, None)),
    ("UPPER\nLEFT: STAR!", (None, "star", "upper left")),
])
def test_what_is_not_said_or_contradicts_itself_is_none(caption: str, read: tuple[str | None, ...]) -> None:
    assert attributes_of(caption) == read


def test_several_objects_are_all_named() -> None:
    objects = draw_objects(range(50), seed=7, most=3)
    for row, caption in enumerate(captions(objects)):
        parts = caption.replace(" and a ", ", a ").split(", a ") if len(objects.row(row)) > 1 else [caption]
        assert [attributes_of(part) for part in parts] == [
            (COLOURS[c], SHAPES[s], PLACES[p]) for c, s, p in objects.row(row)]


def test_tables_hold_media_alone_and_the_truth_lies_beside(world: ObjectWorld) -> None:
    for split in OBJECT_SPLITS:
        rows, truth = table(world.table(split)), table(world.truth(split))
        assert len(rows) == len(truth) == (40 if split == "train" else 20)
        assert list(rows[0]) == ["picture", "caption"]
        assert [row["picture"] for row in rows] == [row["picture"] for row in truth]
        for row, true in zip(rows, truth, strict=True):
            assert attributes_of(row["caption"]) == (true["colour"], true["shape"], true["place"])
            numbers = (names.index(true[name]) for names, name in
                       ((COLOURS, "colour"), (SHAPES, "shape"), (PLACES, "place")))
            assert held_out(*numbers) == (split == "test")
    named = {row["picture"] for split in OBJECT_SPLITS for row in table(world.table(split))}
    assert named == {path.relative_to(world.folder).as_posix() for path in world.folder.glob("picture/*")}


def test_the_files_are_what_is_drawn_and_are_read_as_media(world: ObjectWorld) -> None:
    from PIL import Image

    drawn = object_pictures(draw_objects(range(40), seed=3))
    for row, pixels in zip(table(world.table()), drawn, strict=True):
        assert (np.asarray(Image.open(world.folder / row["picture"])) == pixels).all()
    data = sm.read(world.table())
    assert [(modality.name, modality.kind.name) for modality in data.schema.modalities] == [
        ("picture", "image"), ("caption", "text")]


def test_a_written_world_is_the_same_bit_for_bit_and_row_for_row(world: ObjectWorld, tmp_path: Path) -> None:
    again = write(tmp_path / "a", rows=40, test_rows=20, seed=3)
    fewer = write(tmp_path / "b", rows=9, test_rows=0, seed=3)
    for file in (path.relative_to(world.folder) for path in world.folder.rglob("*") if path.is_file()):
        assert (again.folder / file).read_bytes() == (world.folder / file).read_bytes()
    assert table(fewer.table()) == table(world.table())[:9]
    assert table(fewer.table("test")) == []
    for file in (path.relative_to(fewer.folder) for path in fewer.folder.glob("picture/*")):
        assert (fewer.folder / file).read_bytes() == (world.folder / file).read_bytes()
    told = json.loads((world.folder / "world.json").read_text())
    assert told["synthetic"] is True and len(told["held_out"]) == 20 and told["about"] == "generation"
    assert "synthetic" in (world.folder / "README.md").read_text().splitlines()[0]


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of the command."""
    monkeypatch.setattr(sys, "argv", ["sensorium", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    captured = capsys.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


def test_the_command_writes_and_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, err = run(monkeypatch, capsys, "demo", "generation", "--out", tmp_path / "w", "--rows", 5,
                           "--test-rows", 2, "--size", 64, "--objects", 2, "--json")
    assert status == 0
    told = json.loads(out)
    assert (told["rows"], told["test_rows"], told["size"], told["most"]) == (5, 2, 64, 2)
    assert "synthetic" in err and "train.csv: 5 rows" in err and "never shows" in err
    assert f"sensorium train {tmp_path / 'w' / 'train.csv'} --recipe recipes/generation.yaml" in err
    assert len(table(tmp_path / "w" / "train.csv")) == 5


@pytest.mark.parametrize(("words", "message"), [
    (("demo", "generaton"), "unknown world 'generaton'.*Did you mean 'generation'"),
    (("demo", "generation", "--epochs", 3), "sensorium demo generation has no --epochs: leave it out"),
    (("demo", "--size", 64), "sensorium demo scenes has no --size"),
    (("demo", "generation", "--size", 0), "32, 64, 128 pixels a side, found 0"),
    (("demo", "generation", "--objects", 4), "1 to 3 objects, found 4"),
    (("demo", "generation", "--rows", 0), "rows >= 1 and test_rows >= 0, found 0"),
])
def test_what_cannot_be_is_one_clear_line(
    words: tuple[object, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import re

    monkeypatch.chdir(tmp_path)
    status, _, err = run(monkeypatch, capsys, *words)
    assert status == 2 and re.search(message, err), err


def test_errors_of_the_truth() -> None:
    with pytest.raises(RecipeError, match="unknown split of the world of objects 'tests'.*Did you mean 'test'"):
        combinations("tests")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="1 to 3 objects, found 0"):
        draw_objects(range(3), most=0)
    objects = draw_objects(range(3))
    assert (object_pictures(replace(objects, colour=(objects.colour + 1) % 6)) != object_pictures(objects)).any()
