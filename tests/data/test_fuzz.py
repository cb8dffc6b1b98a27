"""Hostile files, 50 of every form (`make fuzz`: 2,000): each is decoded or a missing cell with a reason, nothing else.

The files go through the very processes that training uses, under their limits of 2 s and 512 MB.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from bombs import bombs
from fuzzing import FORMS_OF_KINDS, fuzzed
from mutations import RESEALED, mutated
from PIL import Image
from seeds import FORMS, film, seeds

from sensorium.data.kinds import KINDS, AudioKind, ImageKind, VideoKind
from sensorium.errors import BadCell

COUNT = 50
MEGABYTE = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured by /proc")


@linux
@pytest.mark.parametrize(("name", "form"), FORMS_OF_KINDS)
def test_hostile_files_do_no_harm(name: str, form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kind = KINDS[name]().measure(seeds(name, form) if name != "text" else ["some words"])
    found = fuzzed(kind, form, COUNT, tmp_path, most_bombs=3)
    assert found.count == COUNT and not found.failures and not found.warned, (found.failures, found.warned)
    assert all(reason and len(reason) < 300 and "\n" not in reason for reason in found.reasons)
    assert set(found.ended) <= {"by time", "by memory"} and found.ended.total() <= 4, found.ended
    assert found.slowest[0] < 2.5 and found.largest[0] < 512 * MEGABYTE, (found.slowest, found.largest)
    assert found.decoded < COUNT
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "form"), [pair for pair in FORMS_OF_KINDS if pair[0] != "text"])
def test_seeds_are_valid(name: str, form: str) -> None:
    for seed in seeds(name, form):
        assert KINDS[name]().measure([seed]).decode(seed) is not None


def test_mutations_are_reproducible_and_differ() -> None:
    first, again, other = (list(mutated("image", "bmp", 60, seed=seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert len({data for _, data in first}) > 50 and len({name for name, _ in first}) > 10
    for form, reseal in RESEALED.items():
        for seed in seeds("image" if form == "png" else "audio", form):
            assert reseal(bytearray(seed)) == seed


def test_every_form_has_bombs_and_every_kind_of_file_is_fuzzed() -> None:
    assert set(FORMS) == set(KINDS) - {"table"}
    for name, forms in FORMS.items():
        for form in forms:
            assert next(bombs(name, form), None) is not None, (name, form)


PICTURE = ImageKind(height=8, width=8, channels=3)


def test_pictures_that_declare_too_much_are_refused_before_they_are_unfolded() -> None:
    found = dict(bombs("image", "png"))
    with pytest.raises(BadCell, match="exceeds limit"):
        PICTURE.decode(found["bomb: 50,000 by 50,000"])
    wide = io.BytesIO()
    Image.new("1", (12_000, 9_000)).save(wide, format="PNG")
    with pytest.raises(BadCell, match=r"12000 by 9000 pixels: at most 89,478,485 are read"):
        PICTURE.decode(wide.getvalue())


@pytest.mark.parametrize("form", ["EPS", "ICO", "TGA", "PCX", "PDF"])
def test_only_stated_forms_of_pictures_are_opened(form: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, format=form)
    with pytest.raises(BadCell, match=r"not a picture that Pillow can read \(as PNG, JPEG, GIF, WebP, BMP, TIFF"):
        PICTURE.decode(buffer.getvalue())


def test_values_that_are_not_finite() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0.5, np.nan], [0.1, np.inf]], dtype=np.float32)).save(buffer, format="TIFF")
    with pytest.raises(BadCell, match="not finite"):
        PICTURE.decode(buffer.getvalue())
    sound = io.BytesIO()
    soundfile.write(sound, np.array([[np.inf, -np.inf]] * 100), 8000, format="WAV", subtype="FLOAT")
    with pytest.raises(BadCell, match="not finite"):
        AudioKind(rate=8000, max_seconds=1.0).decode(sound.getvalue())


def test_sounds_of_other_forms_and_of_giant_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = AudioKind(rate=8000, max_seconds=1.0)
    other = io.BytesIO()
    soundfile.write(other, np.zeros(100), 8000, format="MAT5", subtype="PCM_16")
    with pytest.raises(BadCell, match="of the form MAT5, which is not read"):
        kind.decode(other.getvalue())
    monkeypatch.setattr("sensorium.data.kinds.audio.MOST_SAMPLES", 50)
    with pytest.raises(BadCell, match="over 50 samples in the first seconds"):
        kind.decode(seeds("audio", "wav")[0])


def test_a_sound_read_in_pieces_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = AudioKind(rate=16000, max_seconds=0.2)
    for form in FORMS["audio"]:
        for seed in seeds("audio", form):
            whole = kind.decode(seed)
            monkeypatch.setattr("sensorium.data.kinds.audio.PIECE", 700)
            np.testing.assert_allclose(kind.decode(seed), whole, atol=1e-6)
            monkeypatch.undo()


@pytest.mark.parametrize("name", ["a play list", "a list of files", "a session"])
def test_a_video_names_no_other_file(name: str) -> None:
    kind = VideoKind(height=8, width=8, channels=3, rate=5.0, max_seconds=1.0)
    assert kind.decode(film("mp4", "mpeg4", "aac")).frames.any()
    with pytest.raises(BadCell):
        kind.decode(dict(bombs("video", "mp4"))[f"bomb: {name}"])
