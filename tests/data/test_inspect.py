"""Every planted fault is found, where it is; a clean random table gives no false alarm."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageEnhance
from planted import RATE, ROWS, Columns, clean_world, inspected, picture, rows_of, sound, write

from sensorium.data.checks.findings import SEVERITIES


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Columns]:
    folder = tmp_path_factory.mktemp("planted")
    return folder, clean_world(folder)


def _changed(columns: Columns, **cells: dict[int, str]) -> Columns:
    """The columns with some cells replaced; rows count from 0."""
    return {name: [cells.get(name, {}).get(row, value) for row, value in enumerate(values)]
            for name, values in columns.items()}


def _with_rows(columns: Columns, rows: list[int], **cells: str) -> Columns:
    """The columns with copies of rows added below, in which some cells are others."""
    return {name: values + [cells.get(name, values[row]) for row in rows] for name, values in columns.items()}


@pytest.mark.parametrize("seed", [0, 3])
def test_a_clean_table_gives_no_false_alarm(seed: int, tmp_path: Path) -> None:
    columns = clean_world(tmp_path, seed=seed)
    found = inspected(write(tmp_path, columns))
    assert [finding for finding in found.findings if finding.severity != "note"] == []
    assert "nothing to find fault with" in found.lines() or all(f.severity == "note" for f in found.findings)


def test_two_clean_tables_share_nothing(world: tuple[Path, Columns], tmp_path: Path) -> None:
    folder, columns = world
    other = write(tmp_path, clean_world(tmp_path, seed=7, rows=30), "test.csv")
    assert [f for f in inspected(write(folder, columns), other).findings if f.severity != "note"] == []


# ---- in one table ----

def _jpeg(picture_: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture_.save(buffer, "JPEG", quality=50)
    return Image.open(buffer).convert("RGB")


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda p: p, "compressed": _jpeg, "smaller": lambda p: p.resize((40, 40), Image.Resampling.BILINEAR),
    "brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.2),
    "paler": lambda p: ImageEnhance.Contrast(p).enhance(0.8),
}


@pytest.mark.parametrize("way", COPIES)
def test_copies_of_a_picture(way: str, world: tuple[Path, Columns]) -> None:
    folder, columns = world
    COPIES[way](picture(4)).save(folder / "copy.png")
    found = inspected(write(folder, _changed(columns, photo={41: "copy.png"})))
    words = "hold only 1 different contents" if way == "as it is" else "2 pictures are nearly the same"
    assert rows_of(found, "duplicates", words) == ([5, 42], [])


SOUND_COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "quieter": lambda s: 0.2 * s, "later": lambda s: np.concatenate([np.zeros(300, np.float32), s]),
    "noisier": lambda s: s + 0.003 * np.random.default_rng(0).normal(size=len(s)).astype(np.float32),
}


@pytest.mark.parametrize("way", SOUND_COPIES)
def test_copies_of_a_sound(way: str, world: tuple[Path, Columns]) -> None:
    folder, columns = world
    soundfile.write(folder / "copy.wav", SOUND_COPIES[way](sound(4)), RATE)
    found = inspected(write(folder, _changed(columns, cry={41: "copy.wav"})))
    assert rows_of(found, "duplicates", "2 sounds are nearly the same") == ([5, 42], [])


def test_copies_of_a_text(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    note = columns["note"][4]
    for copy in (note.upper() + "!", note.replace(" ", ",  "), note[:-1] + "x"):
        found = inspected(write(folder, _changed(columns, note={41: copy})))
        assert rows_of(found, "duplicates", "2 texts are nearly the same") == ([5, 42], [])
    numbered = _changed(columns, note={4: f"{note} 17 mg", 41: f"{note} 71 mg"})
    assert not [f for f in inspected(write(folder, numbered)).findings if "texts are nearly" in f.said]


def test_rows_that_repeat_another(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    shutil.copy(folder / "0_6.png", folder / "renamed.png")
    found = inspected(write(folder, _with_rows(_with_rows(columns, [6], photo="renamed.png"), [8])))
    assert rows_of(found, "duplicates", "2 rows repeat an earlier row") == ([61, 62], [])


def test_broken_and_suspicious_cells(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    (folder / "junk.png").write_bytes(b"junk")
    Image.new("RGB", (48, 48), (200, 10, 10)).save(folder / "red.png")
    Image.fromarray(np.full((48, 48, 3), 9, np.uint8)).save(folder / "dark.png")
    for name, wave in (("silent", np.zeros(1200)), ("short", sound(900)[:90]), ("long", np.tile(sound(901), 12)),
                       ("clipped", np.sign(sound(902)))):
        soundfile.write(folder / f"{name}.wav", wave, RATE)
    changed = _changed(columns, photo={0: "junk.png", 1: "red.png", 2: "dark.png", 3: "none.png"},
                       cry={4: "silent.wav", 5: "short.wav", 6: "long.wav", 7: "clipped.wav"},
                       note={8: "...", 9: "cafÃ© nine lomi", 10: "ok", 11: " ".join(columns["note"][:40])})
    found = inspected(write(folder, changed))
    assert rows_of(found, "unreadable", "photo: 2 cells cannot be read") == ([1, 4], [])
    assert rows_of(found, "suspicious", "2 pictures of one colour") == ([2, 3], [])
    assert rows_of(found, "suspicious", "1 sound silent") == ([5], [])
    assert rows_of(found, "suspicious", "cry: 1 sound far too short") == ([6], [])
    assert rows_of(found, "suspicious", "cry: 1 sound far too long") == ([7], [])
    assert rows_of(found, "suspicious", "1 sound clipped") == ([8], [])
    assert rows_of(found, "suspicious", "1 text without a letter or digit") == ([9], [])
    assert rows_of(found, "suspicious", "1 text with letters of a wrong encoding") == ([10], [])
    assert rows_of(found, "suspicious", "note: 2 texts far too short") == ([9, 11], [])
    assert rows_of(found, "suspicious", "note: 1 text far too long") == ([12], [])


def test_label_conflicts(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    _jpeg(picture(4)).save(folder / "again.png")
    other = {"ant": "bee", "bee": "ant"}[columns["label"][4]]
    found = inspected(write(folder, _with_rows(columns, [4, 5], photo="again.png", label=other, hr="99.0")))
    assert rows_of(found, "conflict", "2 rows in 1 group have the same inputs") == ([5, 61], [])
    assert any("98.4%" in f.said for f in found.findings if f.topic == "conflict")  # 61 of 62 rows
    agreed = inspected(write(folder, _with_rows(columns, [4], photo="again.png", hr="99.0")))
    assert not [f for f in agreed.findings if f.topic == "conflict"]


def test_a_word_that_turns_a_text_around_is_no_conflict(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    note = f"{columns['note'][4]} and no other signs of it anywhere in the left or the right lung"
    turned = note.replace(" no other ", " other ")
    pair = {"note": [note, turned, *columns["note"][2:]], "hr": columns["hr"],
            "label": ["ant", "bee", *columns["label"][2:]]}
    found = inspected(write(folder, pair), group=None)  # type: ignore[arg-type]
    assert rows_of(found, "duplicates", "2 texts are nearly the same") == ([1, 2], [])
    assert not [finding for finding in found.findings if finding.topic == "conflict"]


def test_one_picture_with_several_questions_is_no_conflict(tmp_path: Path) -> None:
    columns = clean_world(tmp_path, rows=20)
    questions = ["what colour is it in here", "is there a square in here now"]
    table = write(tmp_path, {"photo": columns["photo"] * 2, "question": [q for q in questions for _ in range(20)],
                             "label": ["red", "blue"] * 10 + ["yes", "no"] * 10})
    found = inspected(table, group=None)  # type: ignore[arg-type]
    assert [f.said for f in found.findings if f.severity != "note"] == []


def test_missing_together_and_missing_by_label(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    both = dict.fromkeys(range(0, 20), "")
    found = inspected(write(folder, _changed(columns, photo=both, cry=both)))
    assert [p for p in found.to_json()["missing_together"] if p["missing"] == ["photo", "cry"]] == [
        {"missing": ["photo", "cry"], "rows": 20, "expected": 6.67}]
    assert any(f.said.startswith("photo and cry are missing together in 20 rows (always); 7 would")
               for f in found.findings)
    by_label = {row: "" for row, label in enumerate(columns["label"]) if label == "ant"}
    told = inspected(write(folder, _changed(columns, cry=by_label)))
    assert any("cry is missing in 100% of the rows of label 'ant' and in 0% of 'bee'" in f.said for f in told.findings)


def test_columns_at_fault(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    changed = _changed(columns, hr={3: "7000", 9: "-650"}, ward={5: "East", 6: "south", 7: "wst"}, label={8: "Ant"})
    changed |= {"site": ["main"] * ROWS, "case_id": [f"c{row if row != 30 else 2}" for row in range(ROWS)],
                "temperature": ["999" if row % 12 == 0 else f"{36 + row % 7 / 5:.1f}" for row in range(ROWS)]}
    found = inspected(write(folder, changed))
    assert rows_of(found, "outliers", "hr: 2 values far from the others: 7000, -650") == ([4, 10], [])
    assert rows_of(found, "outliers", "temperature: 999 in 5 rows looks like a code") == ([1, 13, 25, 37, 49], [])
    assert rows_of(found, "spelling", "ward: 1 category written in several ways: 'east' / 'East'") == ([6], [])
    assert rows_of(found, "spelling", "label: 1 category written") == ([9], [])
    assert rows_of(found, "rare", "ward: 3 categories of 6 seen once ('East', 'south', 'wst')") == ([6, 7, 8], [])
    assert rows_of(found, "ids", "case_id: 1 id ('c2') in more than one row") == ([3, 31], [])
    assert any(f.topic == "constant" and f.said.startswith("site is the same in every row") for f in found.findings)


def test_long_tails_are_no_outliers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    found = inspected(write(tmp_path, {"income": [f"{value:.2f}" for value in np.exp(random.normal(3.0, 0.8, 400))],
                                       "label": random.permutation(["ant", "bee"] * 200).tolist()}),
                      group=None)  # type: ignore[arg-type]
    assert not [finding for finding in found.findings if finding.topic == "outliers"]


def test_class_balance(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    labels = {row: ("cow" if row < 2 else "dog" if row < 3 else "bee" if row < 8 else "") for row in range(8)}
    found = inspected(write(folder, _changed(columns, label=labels | {20: ""})))
    assert rows_of(found, "balance", "2 classes of 4 with fewer than 10 rows (dog 1, cow 2)") == ([1, 2, 3], [])
    assert rows_of(found, "labels", "label: 1 row without a label") == ([21], [])


# ---- between two parts ----

def test_leakage_between_two_tables(world: tuple[Path, Columns], tmp_path: Path) -> None:
    folder, columns = world
    test = clean_world(tmp_path, seed=7, rows=30)
    picture(4).save(tmp_path / "same.png")
    _jpeg(picture(5)).save(tmp_path / "near.png")
    soundfile.write(tmp_path / "quiet.wav", 0.3 * sound(6), RATE)
    test = _changed(test, photo={0: "same.png", 1: "near.png"}, cry={2: "quiet.wav"},
                    note={3: columns["note"][7].upper()}, owner={4: "0p3"})
    found = inspected(write(folder, columns), write(tmp_path, test, "test.csv"))
    assert rows_of(found, "leakage", "2 rows of test.csv (6.7%) have a picture that table.csv has too (1 the same, 1 "
                                     "nearly)") == ([5, 6], [1, 2])
    assert rows_of(found, "leakage", "1 row of test.csv (3.3%) has a sound") == ([7], [3])
    assert rows_of(found, "leakage", "1 row of test.csv (3.3%) has a text") == ([8], [4])
    assert rows_of(found, "leakage", "owner: 1 group ('0p3') in both") == ([], [5])
    assert found.findings[0].severity == "serious" and found.findings[0].topic == "leakage"
    as_input = inspected(write(folder, columns), tmp_path / "test.csv", group=None)  # type: ignore[arg-type]
    assert any("owner: 97% of the rows of test.csv have a category that table.csv lacks" in f.said
               for f in as_input.findings)


def test_leakage_between_the_splits_of_one_table(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    split = ["test" if row >= 45 else "train" for row in range(ROWS)]
    changed = {**_changed(columns, photo={50: columns["photo"][4]}, owner={51: columns["owner"][0]}), "split": split}
    found = inspected(write(folder, changed))
    assert rows_of(found, "leakage", "photo: 1 row of test (6.7%) has a picture that train has") == ([5, 51], [])
    assert rows_of(found, "leakage", "owner: 1 group ('0p0') in both train and test") == ([52], [])
    assert found.to_json()["parts"] == {"train": 45, "test": 15}
    assert found.to_json()["targets"][0]["by_part"].keys() == {"ant", "bee"}


def test_classes_and_gaps_that_differ_between_parts(world: tuple[Path, Columns], tmp_path: Path) -> None:
    folder, columns = world
    test = clean_world(tmp_path, seed=7, rows=40)
    test = {**test, "label": ["ant"] * 38 + ["wasp"] * 2, "cry": [""] * 40}
    found = inspected(write(folder, columns), write(tmp_path, test, "test.csv"))
    said = [finding.said for finding in found.findings]
    assert "label: 2 rows of test.csv with 1 class that table.csv lacks ('wasp')." in said
    assert any("the classes of test.csv are shared out otherwise" in text for text in said)
    assert any("cry is missing in 100% of the rows of test.csv and in 0% of table.csv" in text for text in said)


def test_whole_rows_and_phrases_that_repeat_by_nature(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    numbers = [f"{value:.4f}" for value in random.normal(size=60)]
    labels = ["ant", "bee"] * 30
    train = write(tmp_path, {"size": numbers, "mark": ["a", "b", "c"] * 20, "label": labels}, "train.csv")
    test = write(tmp_path, {"size": [numbers[3], "9.5", "8.5"], "mark": ["a", "b", "c"],
                            "label": ["bee", "ant", "bee"]}, "test.csv")
    found = inspected(train, test, group=None)  # type: ignore[arg-type]
    assert rows_of(found, "leakage", "1 row of test.csv (33.3%) has the same inputs") == ([4], [1])
    few = write(tmp_path, {"mark": ["a", "b", "c"] * 20, "tone": ["x", "y"] * 30,
                           "label": random.permutation(labels).tolist()}, "few.csv")
    natural = inspected(few, few, group=None)  # type: ignore[arg-type]
    assert {f.severity for f in natural.findings if f.topic == "leakage"} == {"note"}


def test_findings_are_ranked_said_and_counted(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    found = inspected(write(folder, _changed(_with_rows(columns, [1, 2, 3]), photo={9: "none.png"}, hr={5: "7000"})))
    order = [SEVERITIES.index(finding.severity) for finding in found.findings]
    assert order == sorted(order)
    for finding in found.findings:
        assert finding.said.endswith(".") and finding.said.count(". ") == 0 and finding.advice.endswith("."), finding
    lines = found.lines()
    assert any(line.startswith("warning: duplicates: 3 rows repeat an earlier row in every column. (rows 61, 62, 63) → "
                               "Drop them") for line in lines)
    assert found.to_json()["findings"][0].keys() == {"severity", "topic", "said", "advice", "count", "rows",
                                                     "rows_of_the_other_table"}
