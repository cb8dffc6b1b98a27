"""What the page reads from boxes, and how it tells answers, without a browser."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from served import row_of, small_engine

from sensorium.answers import Answer
from sensorium.data.schema import Schema, Target
from sensorium.errors import DataError
from sensorium.evaluation.attribution_marks import HATCH
from sensorium.serving.page.answer_words import tell
from sensorium.serving.page.ask_tab import Turn, talk_part
from sensorium.serving.page.attributing import attribution_part
from sensorium.serving.page.boxes import titled, usual
from sensorium.serving.page.finding import MOST_ADDRESSES, Files, found_cards
from sensorium.serving.page.given import fields_of, given_row, is_inside
from sensorium.serving.page.rendering import FAILED, error_line, rendered
from sensorium.serving.page.without import answers_without, tables_without
from sensorium.serving.refusal import busy
from sensorium.serving.service import Service

KINDS = Target(name="kind", task="classify", classes=("ant", "bee", "cat"))
NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("world")


@pytest.fixture(scope="module")
def service(folder: Path) -> Service:
    return Service(small_engine(folder))


@dataclass(frozen=True)
class FoundRow:
    """A search's result."""

    id: str
    score: float
    modality: str = ""
    row: dict[str, Any] = field(default_factory=dict)


def given(service: Service, folder: Path, **payloads: Any) -> dict[str, Any]:
    fields = fields_of(service.schema, service.schema.names)
    return given_row(fields, [payloads.get(one.column) for one in fields], folder)


def test_an_empty_box_is_not_in_the_row(service: Service, folder: Path) -> None:
    assert given(service, folder) == {}
    assert given(service, folder, note="  \n", hr="", ward="", image=None) == {}
    row = given(service, folder, note="red", hr="70", ward="east", image={"path": str(folder / "0.png"), "meta": {}})
    assert row == {"image": (folder / "0.png").read_bytes(), "note": "red", "hr": "70", "ward": "east"}
    assert given(service, folder, hr=0)["hr"] == 0


def test_the_fields_are_the_columns_of_the_schema(service: Service) -> None:
    fields = fields_of(service.schema, service.schema.names)
    assert [(one.column, one.what) for one in fields] == [
        ("image", "file"), ("sound", "file"), ("note", "text"), ("hr", "number"), ("bp", "number"),
        ("ward", "category")]
    assert [one.column for one in fields_of(service.schema, ["note"])] == ["note"]


def test_parts_of_a_video_are_one_box_and_lists_take_several_files(service: Service, folder: Path) -> None:
    image, sound = service.schema.modality("image"), service.schema.modality("sound")
    schema = Schema(modalities=(image.model_copy(update={"name": "clip.video", "columns": ("clip",), "part": "video"}),
                                sound.model_copy(update={"name": "clip.audio", "columns": ("clip",), "part": "audio"}),
                                image.model_copy(update={"separator": ";"})))
    fields = fields_of(schema, schema.names)
    assert [(one.column, one.what) for one in fields] == [("clip", "file"), ("image", "files")]
    paths = [{"path": str(folder / f"{number}.png")} for number in range(2)]
    assert given_row(fields, [None, paths], folder) == {"image": [(folder / f"{n}.png").read_bytes() for n in range(2)]}
    assert given_row(fields, [None, []], folder) == {}


@pytest.mark.parametrize("payload", [{"path": "/etc/passwd"}, {"path": "https://example.org/a.png"}, {"path": "\0"},
                                     {"url": "https://example.org/a.png"}, "/etc/passwd", 3])
def test_a_file_that_was_not_uploaded_is_refused(service: Service, folder: Path, payload: Any) -> None:
    with pytest.raises(DataError, match="image: this is not a file that was uploaded here"):
        given(service, folder, image=payload)


def test_links_out_of_the_folder_and_files_that_are_gone(service: Service, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (folder / "link").symlink_to(tmp_path / "secret")
    assert not is_inside(str(folder / "link"), folder)
    assert not is_inside(str(folder / ".." / "x"), folder)
    with pytest.raises(DataError, match="kept for an hour"):
        given(service, folder, image={"path": str(folder / "gone.png")})


def test_an_answer_in_words() -> None:
    sure = Answer("bee", {"ant": 0.05, "bee": 0.9, "cat": 0.05}, ("note",), {"note": 1.5}, (), ("bee",))
    told = tell(sure, KINDS, ("image", "note"))
    assert (told.value, told.quiet.replace("\u00a0", " "), told.sure) == ("bee", "90 %", "Confidence set: bee alone.")
    assert (told.read, told.absent, told.unlike) == (("note",), ("image",), False)
    assert [one.name for one in told.chances] == ["bee", "ant", "cat"]
    assert "+1.50 bits" in told.added[0]
    unsure = tell(Answer("bee", sure.probabilities, ("note",), None, (), ("bee", "ant")), KINDS, ("note",))
    assert unsure.sure == "Confidence set: bee, ant. It could be any of these."
    assert unsure.added == []
    assert "as a guess" in tell(Answer("bee", sure.probabilities, ("note",), None, (), ()), KINDS, ("note",)).sure
    number = tell(Answer(-3.0, None, ("note",), {"note": -2.0}, (), None, (-4.0, -2.0)), None, ("note",))
    assert (number.value, number.quiet) == ("−3.000", "−4.000 to −2.000")
    assert "nine times in ten" in number.sure and "moved the number" in number.added_note
    many = {str(place): 1 / 8 for place in range(8)}
    assert tell(Answer("0", many, ()), None, ()).chances[-1].name == "3 others"


def test_what_people_and_files_say_is_escaped() -> None:
    answer = Answer(NASTY, {NASTY: 1.0, "b": 0.0}, (NASTY,), {NASTY: 1.0}, (f"{NASTY}: {NASTY}",), (NASTY,))
    told = tell(answer, None, (NASTY,))
    pages = [rendered("answers.html.jinja", {"told": [told], "hatch": HATCH}), error_line(DataError(NASTY)),
             talk_part([Turn(NASTY, None, told, (NASTY,))]),
             rendered("made.html.jinja", {"to": NASTY, "texts": [NASTY], "pictures": [], "read": (NASTY,),
                                          "unreadable": (NASTY,), "seed": 0})]
    for page in pages:
        assert "<script" not in page and "&lt;script" in page


def test_errors_are_one_line() -> None:
    assert "Nothing is given" in error_line(DataError("nothing\n is   given"))
    assert "try again" in error_line(busy())
    failed = error_line(KeyError("secret"))
    assert "secret" not in failed and FAILED[1:] in failed


def test_without_a_modality_is_the_model_without_it(service: Service, folder: Path) -> None:
    row = row_of(folder)
    [answers] = service.predict([row])
    without = answers_without(service, row, answers)
    assert set(without) == {"image", "sound", "note", "table"}
    for name, other in without.items():
        rest = [one for one in service.schema.names if one != name]
        [expected] = service.predict([row], modalities=rest)
        assert other["kind"].probabilities == pytest.approx(expected["kind"].probabilities)
        assert other["size"].value == pytest.approx(expected["size"].value)
        assert name not in other["kind"].modalities
    tables = tables_without(service.schema.targets, answers, without)
    page = rendered("without.html.jinja", {"tables": tables})
    assert page.count("<table>") == 2 and page.count('<th scope="row">') == 8
    first = tables[0][2][0]
    changes = {name: abs(one["kind"].probabilities[answers["kind"].value]
                         - answers["kind"].probabilities[answers["kind"].value]) for name, one in without.items()}
    assert first.left_out == max(changes, key=lambda name: changes[name])
    assert answers_without(service, {"note": "red"}, service.predict([{"note": "red"}])[0]) == {}


def test_attribution_is_drawn_on_what_was_given(service: Service, folder: Path) -> None:
    page = attribution_part(service, "kind", lambda: row_of(folder))
    assert all(part in page for part in ('class="picture"', "<audio", '<p class="read">', '<table class="values">'))
    assert 'aria-label="attribution; strongest' in page
    broken = attribution_part(service, None, lambda: {"image": b"no picture"})
    assert 'role="alert"' in broken and "Nothing to read: image: not a picture" in broken


def test_only_files_that_were_found_have_addresses(folder: Path, tmp_path: Path, service: Service) -> None:
    files = Files("/page")
    row = {"image": str(folder / "0.png"), "sound": "1.wav", "note": NASTY, "hr": 61.25, "year": 2020, "blank": None}
    [card] = found_cards([FoundRow("a", 0.5, "", row)], service.schema, folder, files)
    assert [(kind, column) for kind, column, _ in card.media] == [("image", "image"), ("audio", "sound")]
    assert card.values == [("hr", "61.25"), ("year", "2020")]
    page = rendered("found.html.jinja", {"cards": [card], "read": ("note",), "unreadable": (), "note": ""})
    assert "<script" not in page
    words = [address.rpartition("/")[2] for _, _, address in card.media]
    assert [files.response(word).status_code for word in words] == [200, 200]
    assert files.response(words[0]).headers["content-type"] == "image/png"
    assert files.response("0.png").status_code == files.response("../0.png").status_code == 404
    (tmp_path / "a.html").write_text("<script>")
    assert files.response(files.address(tmp_path / "a.html").rpartition("/")[2]).status_code == 404
    for number in range(MOST_ADDRESSES):
        files.address(tmp_path / f"{number}.png")
    assert files.response(words[0]).status_code == 404


def test_titles_say_things_once_and_placeholders_what_is_usual(service: Service) -> None:
    assert titled("picture", "picture") == "picture"
    assert titled("photo", "picture") == "photo · picture"
    column = service.schema.modality("table").kind.columns[0]
    assert re.fullmatch(r"absent · [\d.]+ to [\d.]+", usual(column))
