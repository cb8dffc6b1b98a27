"""Small valid files of every form that is read, made on the spot."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

TIMES = "00:00:00,000 --> 00:00:01,500\n"
FORMS = {
    "image": ("png", "jpg", "gif", "webp", "bmp", "tiff", "ppm"),
    "audio": ("wav", "flac", "ogg", "mp3"),
    "video": ("mp4", "webm", "mkv", "avi", "mov"),
    "series": ("csv", "npy", "npz", "parquet"),
    "points": ("npy", "csv", "parquet"),
    "text": ("srt", "vtt"),
}
"""Kind → the forms of its files."""


def seeds(kind: str, form: str) -> list[bytes]:
    """Some different valid files of a form."""
    made: dict[str, Callable[[str], list[bytes]]] = {
        "image": _pictures, "audio": _sounds, "video": _films, "series": _recordings, "points": _clouds, "text": _texts}
    return _kept(made[kind], form)


@lru_cache(maxsize=64)
def _kept(make: Callable[[str], list[bytes]], form: str) -> list[bytes]:
    return make(form)


def _random() -> np.random.Generator:
    return np.random.default_rng(7)


def _pictures(form: str) -> list[bytes]:
    from PIL import Image

    noise = _random().integers(0, 256, (40, 56, 3), dtype=np.uint8)
    noise[:20] //= 64
    colour = Image.fromarray(noise)
    name = {"jpg": "JPEG"}.get(form, form.upper())
    given: list[tuple[Any, dict[str, Any]]] = [(colour, {}), (colour.convert("L"), {})]
    if form in ("png", "gif", "tiff", "webp"):
        given.append((colour.convert("RGBA" if form != "gif" else "P"), {}))
    if form in ("gif", "webp", "tiff", "png"):
        given.append((colour, {"save_all": True, "append_images": [colour.rotate(90 * k) for k in (1, 2)]}))
    if form == "jpg":
        given += [(colour, {"progressive": True}), (colour.convert("CMYK"), {}), (colour, {"exif": _turned()})]
    if form == "tiff":
        given += [(colour, {"compression": way}) for way in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
        given.append((Image.fromarray(noise[..., 0].astype(np.uint16) * 257), {}))
    if form == "png":
        given += [(colour.convert("1"), {}), (Image.fromarray(noise[..., 0].astype(np.uint16) * 257), {})]
    return [_written(partial(picture.save, format=name, **options)) for picture, options in given]


def _turned() -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def _written(save: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def _sounds(form: str) -> list[bytes]:
    import soundfile

    mono = 0.3 * np.sin(np.arange(4000) / 9.0) + 0.05 * _random().standard_normal(4000)
    stereo = np.stack([mono, mono[::-1]], axis=1)
    subtypes = {"wav": ("PCM_16", "FLOAT", "PCM_U8", "IMA_ADPCM", "MS_ADPCM", "ULAW"), "flac": ("PCM_16", "PCM_24"),
                "ogg": ("VORBIS", "OPUS"), "mp3": ("MPEG_LAYER_III",)}[form]

    def write(buffer: io.BytesIO, samples: Any, subtype: str) -> None:
        soundfile.write(buffer, samples, 16000, format=form.upper(), subtype=subtype)

    return [_written(partial(write, samples=samples, subtype=subtype)) for subtype in subtypes
            for samples in (mono, stereo)]


def _films(form: str) -> list[bytes]:
    codings = {"mp4": ("libx264", "mpeg4"), "mov": ("libx264", "mjpeg"), "webm": ("libvpx", "libvpx-vp9"),
               "mkv": ("ffv1", "libx264"), "avi": ("mpeg4", "rawvideo")}[form]
    sound = {"webm": "libopus", "avi": "libmp3lame"}.get(form, "aac")
    return [film(form, coding, sound) for coding in codings]


def film(form: str, coding: str, sound: str, size: tuple[int, int] = (64, 48), frames: int = 8) -> bytes:
    """A short video with sound."""
    import av

    buffer = io.BytesIO()
    name = {"mkv": "matroska"}.get(form, form)
    with av.open(buffer, "w", format=name) as container:
        picture = container.add_stream(coding, rate=10)
        picture.width, picture.height = size
        picture.pix_fmt = "yuvj420p" if coding == "mjpeg" else "yuv420p"
        picture.codec_context.thread_count = 1
        track = container.add_stream(sound, rate=48000, layout="mono")
        grain = _random()
        for number in range(frames):
            pixels = np.full((size[1], size[0], 3), 20 * number % 256, dtype=np.uint8)
            pixels[::3] = grain.integers(0, 256, (len(pixels[::3]), size[0], 3))
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(picture.encode())
        tone = (0.2 * np.sin(np.arange(24000) / 20.0)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.rate = 48000
        resampler = av.AudioResampler(format=track.format, layout="mono", rate=48000,
                                      frame_size=track.codec_context.frame_size or 960)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(track.encode(part))
        container.mux(track.encode())
    return buffer.getvalue()


def _table(columns: tuple[str, ...], rows: int) -> Any:
    import polars as pl

    values = np.round(_random().standard_normal((rows, len(columns))), 4)
    values[:, 0] = np.arange(rows) / 50.0
    return pl.DataFrame(values, schema=list(columns))


def _recordings(form: str) -> list[bytes]:
    return _saved(form, _table(("time", "hr", "spo2"), 200))


def _clouds(form: str) -> list[bytes]:
    return _saved(form, _table(("x", "y", "z", "doppler"), 60))


def _saved(form: str, table: Any) -> list[bytes]:
    array = table.to_numpy()
    if form == "npy":
        return [_written(partial(np.save, arr=array.astype(dtype))) for dtype in (np.float64, np.float32, np.int16)]
    if form == "npz":
        parts = {name: table[name].to_numpy() for name in table.columns}
        return [_written(lambda buffer: np.savez(buffer, **parts)),
                _written(lambda buffer: np.savez_compressed(buffer, data=array))]
    if form == "parquet":
        return [_written(partial(table.write_parquet, compression=way)) for way in ("zstd", "snappy", "gzip")]
    text = table.write_csv()
    return [text.encode(), text.replace(",", ";").encode("utf-16"), text.partition("\n")[2].replace(",", " ").encode()]


def _texts(form: str) -> list[bytes]:
    lines = [f"{number}\n{TIMES}some words, <i>number</i> {number} né\n\n" for number in range(1, 12)]
    text = "".join(lines)
    if form == "vtt":
        text = "WEBVTT\n\n" + text.replace(",000", ".000").replace(",500", ".500")
    return [text.encode(), text.encode("utf-16"), text.replace("\n", "\r\n").encode("utf-8-sig")]
