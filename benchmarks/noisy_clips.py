"""Copies of a table's videos with white noise on their sound, as loud as the sound itself (0 dB) or as asked.

The pictures' packets are copied as they are; the sound becomes 16-bit PCM in a .mkv file. Noise is keyed by the row.

    python benchmarks/noisy_clips.py TABLE COLUMN OUT_FOLDER [--decibels 0]
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import polars as pl

from sensorium.data.decoding.media import track_samples
from sensorium.keyed import Draws


def noisy_copy(source: Path, target: Path, row: int, decibels: float) -> None:
    """One video with noise on its sound."""
    waveform, rate = track_samples(str(source), 3600.0)
    sound = waveform.mean(axis=1) if waveform.ndim == 2 else waveform
    loudness = float(np.sqrt(np.mean(sound**2)))
    noise = Draws(0, 0, np.array([row])).normal("noise", len(sound))[0]
    mixed = sound + noise * loudness * 10.0 ** (-decibels / 20.0)
    mixed *= 0.9 / max(1.0, float(np.abs(mixed).max()))
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        pictures = read.streams.video[0]
        copied = write.add_stream_from_template(pictures)
        heard = write.add_stream("pcm_s16le", rate=rate, layout="mono")
        for packet in read.demux(pictures):
            if packet.dts is not None:
                packet.stream = copied
                write.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.rint(32767 * mixed).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for packet in [*heard.encode(frame), *heard.encode(None)]:
            write.mux(packet)


def main() -> None:
    """Write the copies and a table beside them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("column")
    parser.add_argument("out", type=Path)
    parser.add_argument("--decibels", type=float, default=0.0)
    given = parser.parse_args()
    frame = pl.read_csv(given.table, infer_schema=False)
    (given.out / "clip").mkdir(parents=True, exist_ok=True)
    names = []
    for row, cell in enumerate(frame[given.column].to_list()):
        names.append(f"clip/{Path(cell).stem}.mkv")
        noisy_copy(given.table.parent / cell, given.out / names[-1], row, given.decibels)
    frame.with_columns(pl.Series(given.column, names)).write_csv(given.out / given.table.name)


if __name__ == "__main__":
    main()
