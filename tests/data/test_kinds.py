"""One contract for every kind of the registry, then what each kind promises about real files."""

from __future__ import annotations

import io
import re
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from films import film, moving_square
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sensorium.data.kinds import (
    KINDS,
    AudioKind,
    ImageKind,
    Kind,
    PointsKind,
    SeriesKind,
    TableColumn,
    TableKind,
    TextKind,
    VideoKind,
)
from sensorium.errors import BadCell
from sensorium.keyed import Draws

Raw = dict[str, list[Any]]


def _png(size: tuple[int, int], mode: str = "RGB", seed: int = 0, **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, **{"format": "PNG", **options})
    return buffer.getvalue()


def _wav(samples: Any, rate: int = 8000, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def _tone(seconds: float, rate: int = 8000, pitch: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _csv(seconds: Any, *channels: Any) -> bytes:
    lines = [f"{t:.6f},{','.join('' if np.isnan(v) else f'{v:.6f}' for v in values)}"
             for t, *values in zip(seconds, *channels, strict=True)]
    return "\n".join(["time,speed,<b>turn</b>", *lines]).encode()


def _cloud(count: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, 4)) + (20.0, 1.0, 0.0, 5.0)
    return np.array(list(map(tuple, values)), dtype=[("x", "f4"), ("y", "f4"), ("doppler", "f4"), ("<b>power", "f4")])


_SECONDS = np.arange(60) / 10
_GAP = np.where((_SECONDS > 2) & (_SECONDS < 3), np.nan, np.cos(_SECONDS))
CELLS: Raw = {
    "text": ["a <b>dry</b> cough", "né à Paris", "今天天气很好", "x", "one two three four five six seven eight " * 3],
    "image": [_png((14, 10)), _png((10, 14), seed=1), _png((1, 1), seed=2), _png((30, 8), seed=3),
              _png((9, 9), seed=4)],
    "audio": [_wav(_tone(0.1)), _wav(_tone(0.3, pitch=700)), _wav(_tone(0.05)), _wav(_tone(0.2, 16000), 16000),
              _wav(np.zeros(300))],
    "video": [film(moving_square(9)), film(moving_square(5)[:, :, ::-1], container="webm", codec="libvpx-vp9"),
              moving_square(1), (moving_square(16), 20.0), film(moving_square(7, (32, 24)), rate=5.0)],
    "series": [_csv(_SECONDS, np.sin(_SECONDS), _GAP), _csv(_SECONDS[:3], _GAP[:3], _GAP[:3]),
               _csv(_SECONDS[:1], [2.0], [np.nan]), {"time": _SECONDS[::2], "speed": _SECONDS[::2]},
               _csv(_SECONDS[:40][::-1], _GAP[:40], _SECONDS[:40])],
    "points": [_npy(_cloud(12)), _npy(_cloud(30, seed=1)), _npy(_cloud(0)), _npy(_cloud(1)),
               b"x,y,doppler,<b>power\n1,2,3,4\n5,6,nan,8\n9,10,11,12\n"],
    "table": [("1.5", "<i>red</i>", "2020-01-02"), ("2", "blue", ""), ("", "red", "2021-05-06"),
              (None, "blue", "2020-01-02"), ("7", "NA", "NA")],
}
UNMEASURED: dict[str, Any] = {
    "text": TextKind(vocabulary=400), "image": ImageKind(), "audio": AudioKind(), "video": VideoKind(),
    "series": SeriesKind(), "points": PointsKind(turn=20.0), "table": TableKind(columns=(
        TableColumn(name="n<1>", type="number"), TableColumn(name="c", type="category"),
        TableColumn(name="d", type="date"))),
}
KIND_NAMES = tuple(KINDS)
MEASURED: dict[str, Any] = {name: UNMEASURED[name].measure(CELLS[name]) for name in KIND_NAMES}
ROWS = np.array([4, 17, 9, 100, 2])


def _arrays(name: str) -> list[Any]:
    return [MEASURED[name].decode(cell) for cell in CELLS[name]]


def _same(first: Any, other: Any) -> bool:
    """Whether two decoded cells are equal; a missing value equals another one."""
    if is_dataclass(first):
        return all(_same(getattr(first, field.name), getattr(other, field.name)) for field in fields(first))
    if isinstance(first, np.ndarray):
        return first.dtype == other.dtype and np.array_equal(first, other, equal_nan=first.dtype.kind == "f")
    return bool(first == other)


def _over_values(mask: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The mask (row, position) with as many axes as the values."""
    return mask.reshape(*mask.shape, *[1] * (values.ndim - 2))


def test_every_kind_is_tested_here() -> None:
    assert set(CELLS) == set(UNMEASURED) == set(KINDS)


@pytest.mark.parametrize("name", KIND_NAMES)
class TestContract:
    def test_is_a_kind(self, name: str) -> None:
        assert isinstance(MEASURED[name], Kind) and MEASURED[name].name == name
        assert KINDS[name].model_fields["kind"].default == name

    def test_decode_is_deterministic_and_measured_settings_are_kept(self, name: str) -> None:
        for first, again in zip(_arrays(name), _arrays(name), strict=True):
            assert _same(first, again)
        assert MEASURED[name].measure(CELLS[name]) == MEASURED[name]
        assert UNMEASURED[name].measure([]) is not None

    def test_shapes_types_and_masks(self, name: str) -> None:
        inputs = MEASURED[name].collate(_arrays(name))
        assert len(inputs) == 5 and inputs.values.dtype == {
            "text": torch.int64, "image": torch.uint8, "video": torch.uint8}.get(name, torch.float32)
        assert inputs.values.ndim == {"image": 4, "video": 5, "series": 3, "points": 3}.get(name, 2)
        if inputs.mask is not None:
            assert inputs.mask.dtype == torch.bool and inputs.mask.shape == inputs.values.shape[:2]
            assert inputs.mask.any(dim=1).tolist() == [name != "points" or row != 2 for row in range(5)]
            assert (inputs.values[~inputs.mask] == 0).all()
        if inputs.span is not None:
            assert inputs.span.shape == (*inputs.values.shape[:2], 2)
        assert inputs.values.float().isfinite().all()
        moved = inputs.to(torch.device("cpu"))
        assert (moved.span is None) == (inputs.span is None)
        assert torch.equal(moved.values, inputs.values)

    def test_length_counts_what_collate_pads(self, name: str) -> None:
        for array in _arrays(name):
            padded = name not in ("image", "table")
            assert MEASURED[name].length(array) == (MEASURED[name].collate([array]).values.shape[1] if padded else 1)

    def test_a_row_alone_is_the_row_in_a_batch_without_its_padding(self, name: str) -> None:
        arrays = _arrays(name)
        together = MEASURED[name].collate(arrays)
        for row, array in enumerate(arrays):
            alone = MEASURED[name].collate([array])
            width = alone.values.shape[1]
            assert torch.equal(together.values[row, :width], alone.values[0])
            if alone.mask is not None:
                assert torch.equal(together.mask[row, :width], alone.mask[0]) and not together.mask[row, width:].any()

    def test_corrupt_zero_is_bit_equal_and_one_destroys(self, name: str) -> None:
        kind, draws = MEASURED[name], Draws(0, 0, ROWS)
        inputs = kind.collate(_arrays(name))
        untouched = kind.corrupt(inputs, 0.0, draws)
        assert torch.equal(untouched.values, inputs.values)
        turned = kind.collate(_arrays(name)[::-1])
        if name != "audio":  # nothing of the input is left: another input gives the same
            swapped = [kind.corrupt(given, 1.0, draws) for given in (inputs, turned)]
            seen = [given.values if mask is None else torch.where(_over_values(mask & other, given.values),
                                                                  given.values, 0)
                    for given, mask, other in zip(swapped, (inputs.mask, turned.mask), (turned.mask, inputs.mask),
                                                  strict=True)]
            assert torch.equal(*seen)
        else:
            assert abs(np.corrcoef(kind.corrupt(inputs, 1.0, draws).values[1], inputs.values[1])[0, 1]) < 0.1

    def test_augmentation_zero_changes_nothing(self, name: str) -> None:
        inputs = MEASURED[name].collate(_arrays(name))
        still = MEASURED[name].model_copy(update={"augmentation": 0.0}).augment(inputs, Draws(0, 0, ROWS))
        assert torch.equal(still.values, inputs.values)
        assert (still.mask is None and inputs.mask is None) or torch.equal(still.mask, inputs.mask)

    @pytest.mark.parametrize("change", ["augment", "corrupt"])
    def test_draws_belong_to_the_row(self, name: str, change: str) -> None:
        kind, arrays = MEASURED[name].model_copy(update={"augmentation": 3.0}), _arrays(name)

        def changed(order: list[int], epoch: int = 0) -> Any:
            inputs, draws = kind.collate([arrays[i] for i in order]), Draws(0, epoch, ROWS[order])
            return kind.augment(inputs, draws) if change == "augment" else kind.corrupt(inputs, 0.7, draws)

        forward, backward, later = changed([0, 1, 2, 3, 4]), changed([4, 3, 2, 1, 0]), changed([0, 1, 2, 3, 4], epoch=1)
        for row in range(5):
            torch.testing.assert_close(forward.values[row].float(), backward.values[4 - row].float(), atol=1e-2, rtol=0)
            if forward.mask is not None:
                assert torch.equal(forward.mask[row], backward.mask[4 - row])
        same_mask = forward.mask is None or torch.equal(forward.mask, later.mask)
        assert not same_mask or not torch.equal(forward.values, later.values)

    def test_show_is_self_contained_escaped_html(self, name: str) -> None:
        for array in _arrays(name):
            page = MEASURED[name].show(array)
            assert isinstance(page, str) and page.startswith("<") and page.endswith(">")
            assert not re.search(r"https?://|<script|<b>|<i>|\bon\w+=", page)
            for source in re.findall(r'src="([^"]*)"', page):
                assert source.startswith("data:")

    def test_describe_has_a_fixed_length(self, name: str) -> None:
        described = [MEASURED[name].describe(array) for array in _arrays(name)]
        assert len({d.shape for d in described}) == 1 and described[0].ndim == 1
        assert all(d.dtype == np.float32 and not np.isinf(d).any() for d in described)
        assert len({d.tobytes() for d in described[:2]}) == 2

    def test_settings_survive_json(self, name: str) -> None:
        kept = MEASURED[name].model_copy(update={"augmentation": 0.25})
        again = type(kept).model_validate_json(kept.model_dump_json())
        if name == "text":  # its tokenizer is a file of its own in the model folder
            again = again.model_copy(update={"tokenizer": kept.tokenizer})
        assert again == kept
        for cell in CELLS[name]:
            assert _same(again.decode(cell), kept.decode(cell))

    def test_unknown_settings_are_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="colour"):
            KINDS[name].model_validate({"colour": 1})

    @settings(max_examples=40, deadline=None)
    @given(garbage=st.one_of(
        st.binary(max_size=200), st.text(max_size=60), st.integers(), st.floats(), st.none(), st.just([]), st.just({}),
        st.just(object()), st.tuples(st.text(max_size=9), st.binary(max_size=9), st.floats()),
        st.integers(0, 60).map(lambda n: CELLS["image"][0][:n] + b"\xff" * 40),
        st.integers(0, 60).map(lambda n: CELLS["audio"][0][:n] + b"\xff" * 40),
        st.integers(0, 1200).map(lambda n: CELLS["video"][0][:n] + b"\xff" * 40),
        st.integers(0, 250).map(lambda n: CELLS["points"][0][:n] + b"\xff" * 40),
        st.integers(0, 250).map(lambda n: CELLS["series"][0][:n] + b",,\n\xff\x00\"" * 20)))
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_garbage_raises_bad_cell_and_nothing_else(self, name: str, garbage: Any) -> None:
        if name in ("audio", "series") and isinstance(garbage, tuple):
            garbage = (np.full((3, 1 + (name == "series")), np.clip(garbage[2], -9, 9)), 8000)
        try:
            array = MEASURED[name].decode(garbage)
        except BadCell:
            return
        inputs = MEASURED[name].collate([array])
        assert inputs.values.float().isfinite().all() and MEASURED[name].show(array)
        MEASURED[name].measure([garbage])


# --- text -----------------------------------------------------------------------------------------------------------


def test_text_is_normalised_and_numbers_are_words() -> None:
    kind = MEASURED["text"]
    assert kind.decode("cafe\u0301 ") == kind.decode("café") == kind.decode("café".encode())
    assert kind.decode(12) == "12" and "\ud800" not in kind.decode("a\ud800")
    for cell, words in ((" \n", "blank"), (b"\xff", "not UTF-8"), (["a"], "found list"), (float("nan"), "found float")):
        with pytest.raises(BadCell, match=words):
            kind.decode(cell)


def test_a_tokenizer_knows_every_language_and_no_special_words() -> None:
    kind = MEASURED["text"]
    inputs = kind.collate(["[MASK] [PAD]", "हिन्दी 🎉 русский"])
    assert inputs.mask is not None and int(inputs.values[inputs.mask].min()) >= 4


def test_spans_are_places_in_the_text() -> None:
    kind = TextKind(vocabulary=400).measure(["red green red green"] * 5)
    inputs = kind.collate(["red green"])
    assert inputs.span is not None
    pieces = ["red green"[int(a) : int(b)] for a, b in inputs.span[0].tolist()]
    assert "".join(pieces).replace(" ", "") == "redgreen"


def test_a_very_long_text_is_cut_and_quick() -> None:
    kind = TextKind(vocabulary=400).measure(["some words of a text"] * 20 + ["many words " * 200_000])
    assert kind.max_tokens is not None and kind.max_tokens <= 256
    long = kind.collate(["many words " * 200_000])
    assert torch.equal(long.values, kind.collate(["many words " * 2000]).values)
    assert long.values.shape == (1, kind.max_tokens)


# --- pictures -------------------------------------------------------------------------------------------------------

FOUR = ImageKind(height=4, width=4, channels=3)


def _saved(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=form, **options)
    return buffer.getvalue()


def test_exif_rotation_is_applied() -> None:
    pixels = np.zeros((8, 16, 3), dtype=np.uint8)
    pixels[:, 8:] = 200  # bright on the right; orientation 6 turns the right side down
    exif = Image.Exif()
    exif[0x0112] = 6
    cell = _saved(Image.fromarray(pixels), exif=exif)
    measured = ImageKind().measure([cell])
    assert (measured.height, measured.width) == (16, 8)
    turned = measured.decode(cell)
    assert turned[:6].max() < 10 and turned[-6:].min() > 190


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode: str) -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    cell = _saved(clear.convert(mode)) if mode != "P" else _saved(Image.new("P", (4, 4), 0), transparency=0)
    assert (FOUR.decode(cell) == 255).all()


def test_sixteen_bits_cmyk_and_one_pixel() -> None:
    deep = np.linspace(0, 65535, 16).astype(np.uint16).reshape(4, 4)
    assert np.array_equal(ImageKind(height=4, width=4, channels=1).decode(_saved(Image.fromarray(deep)))[:, :, 0],
                          np.rint(deep / 257).astype(np.uint8))
    ink = FOUR.decode(_saved(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG", quality=95))
    assert (ink[..., 0] > 200).all() and (ink[..., 1:] < 60).all()
    assert (FOUR.decode(_saved(Image.new("RGB", (1, 1), (1, 2, 3)))) == (1, 2, 3)).all()
    assert (FOUR.decode(_saved(Image.new("1", (3, 9), 1))) == 255).all()


def test_grey_pictures_have_one_channel_unless_one_is_coloured() -> None:
    grey, coloured = _png((8, 8), "L"), _png((8, 8))
    assert ImageKind().measure([grey, grey]).channels == 1 and ImageKind().measure([grey, coloured]).channels == 3
    assert ImageKind(channels=3).measure([grey]).channels == 3


def test_pictures_in_memory_equal_their_files() -> None:
    array = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    for cell in (array, Image.fromarray(array), _saved(Image.fromarray(array))):
        assert np.array_equal(FOUR.decode(cell), array)


# --- sounds ---------------------------------------------------------------------------------------------------------

EIGHT = AudioKind(rate=8000, max_seconds=0.5)


def test_stereo_is_averaged() -> None:
    left, right = _tone(0.1), _tone(0.1, pitch=900)
    heard = EIGHT.decode(_wav(np.stack([left, right], axis=1), subtype="FLOAT"))
    np.testing.assert_allclose(heard, (left + right) / 2, atol=1e-6)


def test_resampling_keeps_pitch_and_loudness() -> None:
    for rate in (16000, 22050, 44100):
        heard = EIGHT.decode(_wav(_tone(0.4, rate), rate, "FLOAT"))
        assert abs(len(heard) - 3200) <= 2
        np.testing.assert_allclose(heard[200:3000], _tone(0.4)[200:3000], atol=0.02)


@pytest.mark.parametrize(("subtype", "error"), [("PCM_16", 1e-4), ("PCM_24", 1e-6), ("FLOAT", 1e-7), ("PCM_U8", 1e-2)])
def test_every_sample_format_is_the_same_sound(subtype: str, error: float) -> None:
    np.testing.assert_allclose(EIGHT.decode(_wav(_tone(0.1), subtype=subtype)), _tone(0.1), atol=error)


def test_sounds_that_are_none() -> None:
    for cell, words in ((_wav(np.zeros(0)), "without samples"), (_wav(np.array([0.1, np.nan]), subtype="FLOAT"),
                                                                  "not finite"), (b"", "broken sound")):
        with pytest.raises(BadCell, match=words):
            EIGHT.decode(cell)


def test_long_sounds_are_cut_and_short_ones_kept() -> None:
    assert len(EIGHT.decode(_wav(_tone(2.0)))) == 4000 and len(EIGHT.decode(_wav(_tone(0.01)))) == 80
    measured = AudioKind().measure([_wav(_tone(0.2)), _wav(_tone(0.4)), b"junk"])
    assert measured.rate == 8000 and measured.max_seconds == pytest.approx(0.5)


# --- tables ---------------------------------------------------------------------------------------------------------


def test_standardised_numbers_and_codes_by_frequency() -> None:
    kind = TableKind(columns=(TableColumn(name="n", type="number"), TableColumn(name="c", type="category")))
    kind = kind.measure([("1", "b"), ("3", "a"), ("NA", "b")])
    assert kind.columns[0].mean == 2.0 and kind.columns[0].std == 1.0 and kind.columns[1].categories == ("b", "a")
    np.testing.assert_array_equal(kind.decode(("5", "a")), [3.0, 1.0])
    np.testing.assert_array_equal(kind.decode((None, "b")), [np.nan, 0.0])
    with pytest.raises(BadCell, match="every column is missing"):
        kind.decode(("NA", "unseen"))


def test_augmentation_never_hides_the_last_cell_of_a_row() -> None:
    kind = MEASURED["table"].model_copy(update={"augmentation": 10.0})
    inputs = kind.collate(_arrays("table"))
    for epoch in range(20):
        mask = kind.augment(inputs, Draws(0, epoch, ROWS)).mask
        assert mask is not None and mask.any(dim=1).all() and not (mask & ~inputs.mask).any()


def test_a_sound_on_a_shared_clock_is_varied_without_losing_its_seconds() -> None:
    click = np.zeros(8000, dtype=np.float32)
    click[4000:4040] = 1.0
    for keep_time, moved in ((True, False), (False, True)):
        kind = AudioKind(rate=8000, max_seconds=1.0, augmentation=2.0, keep_time=keep_time)
        inputs = kind.collate([click] * 40)
        varied = kind.augment(inputs, Draws(0, 0, np.arange(40)))
        loudest = varied.values.abs().argmax(dim=1)
        assert bool(((loudest - 4020).abs() > 200).float().mean() > 0.2) == moved
        assert not keep_time or varied.values.shape == inputs.values.shape
