"""Questions about objects: answers that are true, that the question does not tell, and words that can be heard."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sensorium as sm
from sensorium.cli.main import main
from sensorium.demo import (
    ANSWERS,
    QUESTIONS,
    Asked,
    ObjectWorld,
    ask,
    held_out,
    object_pictures,
    question_floor,
    speech,
    write_qa,
)
from sensorium.demo.objects import COLOURS, OBJECT_SPLITS, PLACES, SHAPES, ObjectSplit
from sensorium.demo.spoken import PITCHES, word_sound
from sensorium.errors import DataError

VOCABULARY = sorted({word for split in OBJECT_SPLITS for one in ask(range(1000), split=split)[1]
                     for word in re.findall("[a-z]+", one.question)})


def true_answer(question: str, scene: list[tuple[str, str, str]]) -> str:
    """The answer from the words of the question alone, or an error where it has none."""
    named = [[name for name in names if re.search(rf"\b{name}s?\b", question)] for names in (COLOURS, SHAPES, PLACES)]
    meant = [one for one in scene if all(not names or one[axis] in names for axis, names in enumerate(named))]
    if question.startswith("how many"):
        return str(len(meant))
    if re.match("is there|do you see", question):
        return "yes" if meant else "no"
    assert len(meant) == 1, "exactly one object is meant"
    axis = {"what colour": 0, "which colour": 0, "what shape": 1, "which shape": 1, "where is": 2,
            "in which": 2}[" ".join(question.split()[:2])]
    return meant[0][axis]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> ObjectWorld:
    return write_qa(tmp_path_factory.mktemp("qa"), rows=60, test_rows=20, seed=3)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("split", OBJECT_SPLITS)
@pytest.mark.parametrize("most", [1, 2, 3])
def test_every_answer_is_true_of_its_scene(split: ObjectSplit, most: int) -> None:
    objects, asked = ask(range(1200), seed=1, split=split, most=most)
    sizes = Counter(len(objects.row(row)) for row in range(1200))
    assert set(sizes) == set(range(1, most + 1)) and min(sizes.values()) > 100
    for row, one in enumerate(asked):
        scene = objects.row(row)
        assert all(held_out(*thing) == (split == "test") for thing in scene)
        assert len({thing.place for thing in scene}) == len(scene)
        named = [(COLOURS[thing.colour], SHAPES[thing.shape], PLACES[thing.place]) for thing in scene]
        assert one.answer == true_answer(one.question, named)
        assert one.answer in ANSWERS and one.question.endswith("?")
    assert {one.type for one in asked} == set(QUESTIONS)


def test_questions_are_keyed_by_row() -> None:
    many, few = ask(range(40), seed=2), ask([31, 5], seed=2)
    assert [many[1][31], many[1][5]] == few[1]
    assert (object_pictures(many[0])[[31, 5]] == object_pictures(few[0])).all()
    assert ask(range(40), seed=3)[1] != many[1] != ask(range(40), seed=2, split="test_seen")[1]


def test_the_question_alone_tells_next_to_nothing() -> None:
    known, asked = ask(range(10_000), seed=4)[1], ask(range(4000), seed=4, split="test_seen")[1]
    assert question_floor(known, asked, lambda one: one.question) < 0.31
    for kind in QUESTIONS:
        ours, theirs = ([one for one in some if one.type == kind] for some in (known, asked))
        choices = len({one.answer for one in ours})
        assert question_floor(ours, theirs, lambda one: one.question) < 1 / choices + 0.1, kind
        counts = Counter(one.answer for one in ours)
        assert max(counts.values()) < 1.5 * min(counts.values()), f"{kind}: every answer is as probable"
    assert {kind: len({one.answer for one in known if one.type == kind}) for kind in QUESTIONS} == {
        "colour_of": 6, "colour_at": 6, "shape_of": 4, "shape_at": 4, "place_of": 4, "place_of_shape": 4, "exists": 2,
        "count_colour": 4, "count_shape": 4, "count": 3}
    held = ask(range(2000), seed=4, split="test")[1]
    assert question_floor(known, held, lambda one: one.question) < 0.3


def test_a_no_cannot_be_seen_from_colours_or_shapes_alone() -> None:
    objects, asked = ask(range(5000), seed=5)
    both = Counter()
    for row, one in enumerate(asked):
        if one.type == "exists":
            scene = [(COLOURS[thing.colour], SHAPES[thing.shape]) for thing in objects.row(row)]
            colour, shape = one.question[:-1].split()[-2:]
            parts = (any(thing[0] == colour for thing in scene), any(thing[1] == shape for thing in scene))
            both[one.answer, parts == (True, True)] += 1
    assert both["yes", False] == 0
    assert both["no", True] > 0.12 * (both["no", True] + both["no", False])


def test_the_floor_of_questions_by_hand() -> None:
    known = [Asked("t", word, answer) for word, answer in (("a", "1"), ("a", "1"), ("a", "2"), ("b", "3"))]
    asked = [Asked("t", word, answer) for word, answer in (("a", "1"), ("a", "2"), ("b", "3"), ("c", "3"))]
    assert question_floor(known, asked, lambda one: one.question) == 0.5
    assert question_floor(known, asked, lambda one: one.type) == 0.25
    assert np.isnan(question_floor(known, [], lambda one: one.type))


def test_every_word_sounds_of_its_own() -> None:
    assert 30 < len(VOCABULARY) < 50
    for voice in (0, len(PITCHES) - 1):
        spectra = []
        for word in VOCABULARY:
            sound = word_sound(word, voice)
            assert np.abs(sound).max() <= 1.0 and 400 < len(sound) < 5000
            parts = [np.abs(np.fft.rfft(part, 512))[:256] for part in np.array_split(sound, 8)]
            spectra.append(np.concatenate(parts) / np.linalg.norm(np.concatenate(parts)))
        alike = np.array(spectra) @ np.array(spectra).T - np.eye(len(VOCABULARY))
        assert alike.max() < 0.97, VOCABULARY[int(alike.max(axis=0).argmax())]
    assert (word_sound("star")[:300] == word_sound("stars")[:300]).all(), "a letter always sounds the same"


def test_speakers_differ_and_sentences_last_as_said() -> None:
    objects, asked = ask(range(60), seed=6)
    sentences = [one.question for one in asked]
    spoken = speech(sentences, objects.draws)
    seconds = np.array([len(wave) for wave in spoken]) / 8000
    assert seconds.min() >= 1.5 and seconds.max() <= 4.0 and seconds.std() > 0.2
    loudest = np.array([np.abs(wave).max() for wave in spoken])
    assert 0.2 < loudest.min() < 0.35 and 0.65 < loudest.max() < 0.9
    same = speech(["where is the red star?"] * 60, objects.draws)
    assert len({wave.tobytes() for wave in same}) == 60
    assert len({len(wave) for wave in same}) > 20
    few = speech([sentences[7]], replace(objects.draws, rows=objects.draws.rows[7:8]))
    assert (few[0] == spoken[7]).all()
    longest = speech(["how many purple triangles do you see in the upper right corner of the thing"], objects.draws)
    assert len(longest[0]) <= 32000
    with pytest.raises(DataError, match=r"nothing to say in '\?!'"):
        speech(["?!"], objects.draws)


def test_the_words_can_be_heard_in_any_voice() -> None:
    """The nearest word of one voice's dictionary, by log spectra, is mostly the right one in the next voice."""
    def heard(word: str, voice: int) -> np.ndarray:
        parts = np.array_split(word_sound(word, voice), 10)
        power = np.array([[np.square(np.abs(np.fft.rfft(part, 512)))[low : low + 24].sum() for low in range(4, 244, 24)]
                          for part in parts])
        return np.log(power + 1e-2).ravel()

    dictionary = np.stack([heard(word, 3) for word in VOCABULARY])
    right = [np.square(dictionary - heard(word, 5)).sum(axis=1).argmin() == number
             for number, word in enumerate(VOCABULARY)]
    assert np.mean(right) > 0.9


def test_tables_have_questions_typed_and_spoken(world: ObjectWorld) -> None:
    ways = Counter()
    for split in OBJECT_SPLITS:
        rows, truth = table(world.table(split)), table(world.truth(split))
        assert list(rows[0]) == ["picture", "question", "spoken", "answer"] and len(rows) == len(truth)
        for row, true in zip(rows, truth, strict=True):
            assert (row["picture"], row["answer"]) == (true["picture"], true["answer"])
            assert row["question"] in ("", true["question"])
            way = {(True, True): "both", (True, False): "text", (False, True): "speech"}[
                bool(row["question"]), bool(row["spoken"])]
            assert way == true["asked_as"]
            ways[way] += 1
            scene = list(zip(*(true[name].split("; ") for name in ("colour", "shape", "place")), strict=True))
            assert true_answer(true["question"], scene) == row["answer"]
    assert min(ways.values()) > 15
    named = {row[name] for split in OBJECT_SPLITS for row in table(world.table(split))
             for name in ("picture", "spoken")}
    assert named - {""} == {path.relative_to(world.folder).as_posix() for path in world.folder.glob("*/*")}


def test_the_tables_are_read_as_media_with_an_answer(world: ObjectWorld) -> None:
    import soundfile

    data = sm.read(world.table(), targets="answer")
    assert [(modality.name, modality.kind.name) for modality in data.schema.modalities] == [
        ("picture", "image"), ("question", "text"), ("spoken", "audio")]
    assert data.schema.targets[0].task == "classify"
    wave, rate = soundfile.read(next(world.folder.glob("spoken/*.wav")))
    assert rate == 8000 and wave.ndim == 1


def test_a_written_world_of_questions_is_the_same_however_many_rows(world: ObjectWorld, tmp_path: Path) -> None:
    fewer = write_qa(tmp_path, rows=9, test_rows=0, seed=3)
    assert table(fewer.table()) == table(world.table())[:9]
    for file in (path.relative_to(tmp_path) for path in tmp_path.glob("*/*")):
        assert (tmp_path / file).read_bytes() == (world.folder / file).read_bytes()
    assert fewer.question_only == {} and set(world.question_only) == {"test_seen", "test"}
    assert "Whoever reads only the question is right in" in (world.folder / "README.md").read_text()


def test_the_command_writes_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["sensorium", "demo", "qa", "--out", str(tmp_path / "w"), "--rows", "6", "--test-rows", "3", "--json"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        main()
    captured = capsys.readouterr()
    assert not end.value.code
    told = json.loads(captured.out)
    assert (told["about"], told["most"]) == ("qa", 3) and set(told["question_only"]) == {"test_seen", "test"}
    assert "synthetic" in captured.err and "reads the question alone" in captured.err
    assert f"train {tmp_path / 'w' / 'train.csv'} --target answer --recipe recipes/qa.yaml" in captured.err


def test_there_are_one_to_three_objects() -> None:
    with pytest.raises(DataError, match="1 to 3 objects, found 4"):
        ask(range(3), most=4)
