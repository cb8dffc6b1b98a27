"""Videos: the frames that a player would show, their seconds, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from films import film, moving_square

from sensorium.data.decoding import media
from sensorium.data.kinds import AudioKind, Clip, VideoKind
from sensorium.errors import BadCell
from sensorium.keyed import Draws

ROWS = np.array([3, 8])


def _steps(num_frames: int, size: tuple[int, int] = (16, 24)) -> Any:
    """Flat grey frames of rising brightness: 10, 30, 50 …"""
    levels = 10 + 20 * np.arange(num_frames, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (num_frames, *size, 3)).copy()


def _levels(clip: Clip) -> list[int]:
    """Which of `_steps` each frame shows."""
    return [round((float(frame.mean()) - 10) / 20) for frame in clip.frames]


@pytest.mark.parametrize(("container", "codec", "pix_fmt"), [
    ("mp4", "mpeg4", "yuv420p"), ("mp4", "libx264", "yuv420p"), ("webm", "libvpx-vp9", "yuv420p"),
    ("matroska", "ffv1", "yuv420p"), ("avi", "mpeg4", "yuv420p"), ("mov", "mpeg4", "yuv420p"), ("gif", "gif", "rgb8")])
def test_every_container_is_the_same_film(tmp_path: Path, container: str, codec: str, pix_fmt: str) -> None:
    cell = film(moving_square(10), container=container, codec=codec, pix_fmt=pix_fmt)
    file = tmp_path / "a film"
    file.write_bytes(cell)
    kind = VideoKind().measure([cell])
    assert (kind.height, kind.width, kind.channels) == (24, 32, 3) and kind.rate == pytest.approx(10, rel=1e-3)
    clip = kind.decode(cell)
    assert np.array_equal(kind.decode(str(file)).frames, clip.frames)
    assert clip.frames.shape[0] in (9, 10)  # the last frame of an AVI or a GIF may have no duration
    np.testing.assert_allclose(clip.times[:, 0], np.arange(len(clip.times)) / 10, atol=2e-3)
    for frame, wanted in zip(clip.frames, moving_square(10), strict=False):
        right = np.abs(frame.astype(int) - wanted).max(axis=2) < 90
        assert right.mean() > 0.97  # codecs are not exact at edges


def test_frames_are_those_a_player_shows() -> None:
    frames = _steps(10)
    cell = film(frames, 10.0, codec="ffv1", container="matroska")
    kind = VideoKind(height=16, width=24, channels=1, max_seconds=5.0)
    for rate, wanted in ((10.0, list(range(10))), (5.0, [0, 2, 4, 6, 8]), (20.0, [n // 2 for n in range(20)]),
                         (4.0, [0, 2, 5, 7])):
        clip = kind.model_copy(update={"rate": rate}).decode(cell)
        assert _levels(clip) == wanted
        assert _levels(kind.model_copy(update={"rate": rate}).decode((frames, 10.0))) == wanted
        np.testing.assert_allclose(clip.times[:, 0], np.arange(len(wanted)) / rate, atol=1e-6)
        np.testing.assert_allclose(clip.times[:, 1] - clip.times[:, 0], 1 / rate, atol=1e-6)


def test_a_variable_frame_rate_is_followed_by_the_stamps() -> None:
    cell = film(_steps(4), 10.0, codec="ffv1", container="matroska", times=[0.0, 0.1, 0.7, 0.8])
    clip = VideoKind(height=16, width=24, channels=1, rate=10.0, max_seconds=5.0).decode(cell)
    assert _levels(clip)[:8] == [0, 1, 1, 1, 1, 1, 1, 2] and _levels(clip)[8:] == [3] * (len(clip.frames) - 8)


def test_no_more_is_decoded_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = film(_steps(12), 4.0, codec="ffv1", container="matroska")
    seen: list[float] = []
    timed = media._timed

    def counted(*given: Any) -> Any:
        for frame, time in timed(*given):
            seen.append(time)
            yield frame, time

    monkeypatch.setattr(media, "_timed", counted)
    clip = VideoKind(height=16, width=24, channels=1, rate=4.0, max_seconds=1.0).decode(cell)
    assert len(clip.frames) == 4 and len(seen) == 5


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_film_is_turned_as_its_metadata_say(rotation: int) -> None:
    frames = np.full((4, 16, 32, 3), 20, dtype=np.uint8)
    frames[:, :, :16] = 220  # bright on the left
    cell = film(frames, rotation=rotation)
    kind = VideoKind().measure([cell])
    assert (kind.height, kind.width) == ((16, 32) if rotation == 180 else (32, 16))
    turned = kind.decode(cell).frames[0, :, :, 0].astype(float)
    wanted = np.rot90(frames[0, :, :, 0], rotation // 90).astype(float)
    assert np.abs(turned - wanted).mean() < 12


def test_measured_sizes_rates_and_colours() -> None:
    grey = film(moving_square(30, (48, 200), coloured=False), 20.0)
    coloured = film(moving_square(10, (48, 200)), 20.0)
    assert VideoKind().measure([grey, grey]).channels == 1 and VideoKind().measure([grey, coloured]).channels == 3
    kind = VideoKind(max_side=50).measure([grey, grey, b"junk"])
    assert (kind.height, kind.width, kind.rate) == (12, 50, 20.0) and kind.max_seconds == pytest.approx(1.875, rel=0.01)
    assert VideoKind(max_frames=15).measure([grey]).rate == pytest.approx(10.0, rel=0.05)
    late = film(np.concatenate([np.zeros((12, 24, 32, 3), np.uint8), moving_square(8)]), 10.0)
    assert VideoKind().measure([late]).channels == 3, "a film that begins in the dark is not grey"


def test_films_that_are_none(tmp_path: Path) -> None:
    kind = VideoKind(height=16, width=24, channels=3, rate=10.0, max_seconds=2.0)
    sound = film(np.zeros((0, 8, 8, 3)), sound=np.zeros(4000))
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path / 'a.mp4'}\n#EXT-X-ENDLIST\n")
    (tmp_path / "a.mp4").write_bytes(film(_steps(3)))
    whole = film(_steps(6))
    for cell, words in (
        (sound, "without a video stream"), (b"junk" * 9, "broken video"), (str(tmp_path / "list.mp4"), "broken video"),
        (whole[: len(whole) // 3], "broken video|without"), (str(tmp_path / "no.mp4"), "no such file"),
        (3, "found int"),
        (np.zeros((3, 8, 8, 3)), "found an|as float64"), (np.zeros((3, 8), np.uint8), "shape"),
        ((np.zeros((3, 8, 8), np.uint8), 0), "number above 0"), (np.zeros((0, 8, 8), np.uint8), "shape"),
    ):
        with pytest.raises(BadCell, match=words):
            kind.decode(cell)


def test_giant_declared_sizes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = film(_steps(3, (64, 64)))
    monkeypatch.setattr(media, "MOST_PIXELS", 64 * 63)
    with pytest.raises(BadCell, match=r"64 by 64 pixels|broken video"):
        VideoKind(height=8, width=8, channels=3, rate=10.0, max_seconds=1.0).decode(cell)


def _two(kind: VideoKind) -> Any:
    return kind.collate([kind.decode(moving_square(8)), kind.decode(moving_square(5))])


def test_a_video_is_moved_alike_in_all_its_frames() -> None:
    kind = VideoKind(rate=10.0, augmentation=1.0).measure([moving_square(8)])
    still = kind.collate([kind.decode(np.repeat(moving_square(1), 8, axis=0))] * 2)
    moved = kind.augment(still, Draws(0, 0, ROWS))
    assert moved.mask is not None
    for row in range(2):
        blurred, before = (torch.nn.functional.avg_pool2d(frames[:, :1].float(), 8, 1)
                           for frames in (moved.values[row][moved.mask[row]], still.values[row]))
        assert blurred.std(dim=0).max() < 12, "but for noise, the frames of a still film stay equal"
        assert np.corrcoef(blurred[0].flatten(), before[0].flatten())[0, 1] < 0.99
    assert (moved.values[~moved.mask] == 0).all() and (moved.span[~moved.mask] == 0).all()


def test_frames_keep_their_seconds_where_ends_are_cut() -> None:
    kind = VideoKind(rate=10.0, augmentation=3.0, height=16, width=24, channels=1, max_seconds=3.0)
    inputs = kind.collate([kind.decode((_steps(12), 10.0))] * 2)
    cut = [kind.augment(inputs, Draws(0, epoch, ROWS)) for epoch in range(8)]
    firsts = {float(one.span[row, 0, 0]) for one in cut for row in range(2)}
    assert len(firsts) > 2 and min(firsts) >= 0 and max(firsts) <= 0.4
    for one in cut:
        starts = one.span[0, :, 0][one.mask[0]]
        torch.testing.assert_close(starts.diff(), torch.full_like(starts[1:], 0.1))


def test_augmentation_does_not_depend_on_the_padding() -> None:
    kind = VideoKind(rate=10.0, augmentation=1.5).measure([moving_square(8)])
    together = kind.augment(_two(kind), Draws(0, 0, ROWS))
    alone = kind.augment(kind.collate([kind.decode(moving_square(5))]), Draws(0, 0, ROWS[1:]))
    count = alone.values.shape[1]
    torch.testing.assert_close(together.values[1, :count], alone.values[0], atol=1e-3, rtol=0)
    assert torch.equal(together.mask[1, :count], alone.mask[0]) and not together.mask[1, count:].any()


def test_description_sees_where_and_when_it_moves() -> None:
    kind = VideoKind(rate=10.0).measure([moving_square(8)])
    there, back = (kind.describe(kind.decode(frames)) for frames in (moving_square(8), moving_square(8)[::-1].copy()))
    assert there.shape == back.shape == kind.describe(kind.decode(moving_square(1))).shape
    num_pixels = len(there) // 17
    np.testing.assert_allclose(there[:num_pixels], back[:num_pixels], atol=1e-6)
    assert np.abs(there - back).max() > 0.3


# --- sound tracks ---------------------------------------------------------------------------------------------------

TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)


@pytest.mark.parametrize(("container", "codec", "rate"), [("mp4", "aac", 8000), ("matroska", "pcm_s16le", 8000),
                                                            ("adts", "aac", 8000), ("ipod", "aac", 16000)])
def test_the_sound_of_a_container_is_heard(container: str, codec: str, rate: int) -> None:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    frames = () if container in ("adts", "ipod") else moving_square(10)
    cell = film(np.asarray(frames), container=container, sound=wave, sound_rate=rate, sound_codec=codec)
    kind = AudioKind().measure([cell])
    assert kind.rate == rate and kind.max_seconds == pytest.approx(1.25, rel=0.3)
    heard = kind.decode(cell)
    assert abs(len(heard) - rate) <= 2200
    spectrum = np.abs(np.fft.rfft(heard[rate // 4 : rate // 4 + rate // 2]))
    assert abs(2 * int(spectrum.argmax()) - 440) <= 4
    assert heard[rate // 4 : 3 * rate // 4].std() == pytest.approx(0.5 / 2**0.5, rel=0.08)


def test_a_late_track_has_silence_before_it() -> None:
    cell = film(moving_square(10), sound=TONE[:4000], sound_start=0.3)
    heard = AudioKind(rate=8000, max_seconds=3.0).decode(cell)
    assert np.flatnonzero(np.abs(heard) > 0.2)[0] / 8000 == pytest.approx(0.3, abs=0.02)
    assert len(AudioKind(rate=8000, max_seconds=0.5).decode(cell)) == 4000


def test_films_without_sound_say_so() -> None:
    silent, loud = film(moving_square(3)), film(moving_square(3), sound=TONE)
    assert media.has_sound(loud) and not media.has_sound(silent) and not media.has_sound(b"junk" * 9)
    with pytest.raises(BadCell, match="without a sound track"):
        AudioKind(rate=8000, max_seconds=1.0).decode(silent)
    with pytest.raises(BadCell, match="broken sound"):
        AudioKind(rate=8000, max_seconds=1.0).decode(b"RIFF" + b"\0" * 60)


@pytest.mark.data
def test_real_films_of_a_speaker(shared_data: Path) -> None:
    files = sorted((shared_data / "grid" / "clip").glob("*.mp4"))[:8]
    video, audio = VideoKind().measure(files), AudioKind().measure(files)
    assert (video.height, video.width, video.rate, audio.rate) == (36, 64, 12.5, 16000)
    for file in files:
        clip, heard = video.decode(file), audio.decode(file)
        assert len(clip.frames) in (37, 38) and clip.frames.std() > 10
        assert len(heard) / 16000 == pytest.approx(3.0, abs=0.1) and heard.std() > 0.005
