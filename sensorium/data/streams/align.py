"""Several recordings on one clock: what each of them says at chosen moments, or in a window around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from sensorium.data.streams.sampling import Method, Sampled, Windows, sample_stream, window_stream
from sensorium.data.streams.stamps import Seconds, to_seconds
from sensorium.data.streams.stream import Events, Stream
from sensorium.errors import DataError, unknown_name

MOST_SAMPLES = 200_000_000
Setting = TypeVar("Setting")


@dataclass(frozen=True)
class Aligned:
    """Streams at common moments.

    Args:
        times: (sample,) seconds on the common clock.
        parts: stream → its readings, or its windows, at these moments.
        columns: what else is known about each sample: the events' columns.
        notes: what was dropped, merged and absent, a line each.
    """

    times: Seconds
    parts: Mapping[str, Sampled | Windows]
    columns: pl.DataFrame
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The streams, in the order in which they were given: the order of `presence`."""
        return tuple(self.parts)

    @property
    def presence(self) -> npt.NDArray[np.bool_]:
        """(sample, stream) whether the stream has anything near enough."""
        return np.stack([part.presence for part in self.parts.values()], axis=1)

    def values(self, name: str) -> npt.NDArray[Any]:
        """(sample, channel) numbers, NaN = absent, or (sample,) files or texts, None = absent."""
        part = self._part(name)
        if isinstance(part, Windows):
            raise DataError(f"stream {name!r} was aligned as windows: use windows({name!r})")
        return part.values

    def windows(self, name: str) -> Windows:
        """The stream's windows."""
        part = self._part(name)
        if isinstance(part, Sampled):
            raise DataError(f"stream {name!r} was aligned without a window: use values({name!r}), or align with "
                            f"window={{{name!r}: (before, after)}}")
        return part

    def _part(self, name: str) -> Sampled | Windows:
        if name not in self.parts:
            raise DataError(str(unknown_name("stream", name, list(self.parts))))
        return self.parts[name]

    def to_table(self, folder: str | Path, *, format: Literal["parquet", "csv"] = "parquet") -> Path:
        """Write the samples as a table that `sensorium.read` and `sensorium train` read; see `write_table`."""
        from sensorium.data.streams.aligned_table import write_table

        return write_table(folder, {"": self}, format=format)

    def __len__(self) -> int:
        return len(self.times)

    def __str__(self) -> str:
        return "\n".join([f"{len(self):,} samples of {len(self.parts)} streams", *self.notes])


def align(
    streams: Sequence[Stream], *, at: Any = None, every: float | None = None, events: Events | None = None,
    method: Method | Mapping[str, Method] = "nearest", tolerance: float | Mapping[str, float] | None = None,
    window: tuple[float, float] | Mapping[str, tuple[float, float]] | None = None,
) -> Aligned:
    """Read several streams at common moments. What has nothing near enough is absent, never guessed.

    Args:
        streams: each with its own stamps and rate; their clocks must agree (`Stream.shifted`, `estimate_offset`).
        at: (sample,) the moments, as stamps of any notation; or the name of a stream, for its own stamps.
        every: or so many seconds apart, at whole multiples, from the first stamp of any stream to the last.
        events: or where something happened; the events' columns go with the samples.
        method: nearest (of two equally near readings the earlier), previous (never looks ahead), or interpolate (linear
            between the two readings around the moment, numbers only); one for all, or by stream (others: nearest).
        tolerance: seconds: how far a reading may be away, and the longest gap that is bridged; left out, or for streams
            not named: 1.5 typical intervals of the stream. Moments within a nanosecond, or the stamps' own rounding,
            are the same.
        window: (before, after) seconds around each moment, for all streams or by stream: as many readings as there
            are, instead of one.

    Raises:
        DataError: no moments or several kinds of them, unknown names, a method that does not fit.

    Example:
        >>> camera = Stream("camera", [0.0, 0.1, 0.2, 0.7], ["a.png", "b.png", "c.png", "d.png"])
        >>> gps = Stream("gps", [0.0, 1.0], {"x": [5.0, 7.0]})
        >>> ecg = Stream("ecg", np.arange(250) / 250, np.zeros(250))
        >>> samples = align([camera, gps, ecg], at=[0.1, 0.5, 1.2], method={"gps": "interpolate"},
        ...                 tolerance={"camera": 0.06}, window={"ecg": (0.2, 0.0)})
        >>> samples.values("camera").tolist(), samples.values("gps")[:, 0].tolist()
        (['b.png', None, None], [5.2, 6.0, nan])
        >>> samples.presence.tolist()
        [[True, True, True], [False, True, True], [False, False, False]]
        >>> [len(times) for times, values in samples.windows("ecg")]
        [26, 50, 0]
        >>> samples.windows("ecg").grid(rate=250).shape
        (3, 50, 1)
    """
    names = _names(streams)
    times, notes = _moments(streams, at, every, events)
    methods: dict[str, Method] = _by_stream("method", method, names)
    tolerances = _by_stream("tolerance", tolerance, names)
    windows = _by_stream("window", window, names)
    parts: dict[str, Sampled | Windows] = {}
    for stream in streams:
        how: Method = methods.get(stream.name, "nearest")
        near = tolerances.get(stream.name)
        around = windows.get(stream.name)
        parts[stream.name] = part = sample_stream(stream, times, how, near) if around is None \
            else window_stream(stream, times, around, how, near)
        notes += [f"{stream.name}: {line}" for line in stream.cleaning.lines()]
        notes.append(_presence_note(part, times))
    columns = events.columns if events is not None else pl.DataFrame()
    return Aligned(times, parts, columns, tuple(notes))


def _names(streams: Sequence[Stream]) -> list[str]:
    if isinstance(streams, Stream) or not streams or not all(isinstance(stream, Stream) for stream in streams):
        raise DataError(f"align: expected a list of Stream, found {type(streams).__name__} of {len(streams)}")
    names = [stream.name for stream in streams]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"align: two streams are called {twice!r}: give each a name of its own")
    return names


def _by_stream(what: str, given: Setting | Mapping[str, Setting] | None, names: list[str]) -> dict[str, Setting]:
    """A setting for every stream that has one."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return dict.fromkeys(names, given)
    for name in given:
        if name not in names:
            raise DataError(f"align, {what}: {unknown_name('stream', str(name), names)}")
    return dict(cast(Mapping[str, Setting], given))


def _moments(
    streams: Sequence[Stream], at: Any, every: float | None, events: Events | None,
) -> tuple[Seconds, list[str]]:
    """The samples' times, by the one way that was chosen, and what to say about them."""
    given = [name for name, value in (("at", at), ("every", every), ("events", events)) if value is not None]
    if len(given) != 1:
        raise DataError(f"align: expected one of at=, every= and events=, found {' and '.join(given) or 'none'}")
    if events is not None:
        return events.times, list(events.notes)
    if every is not None:
        return _even_times(streams, every), []
    if isinstance(at, str):
        by_name = {stream.name: stream for stream in streams}
        if at not in by_name:
            raise DataError(f"align, at: {unknown_name('stream', at, list(by_name))}")
        return by_name[at].times, []
    times = to_seconds(at, what="align, at")
    if len(times) == 0:
        raise DataError("align: at= holds no moment")
    if not np.isfinite(times).all():
        wrong = int(np.flatnonzero(~np.isfinite(times))[0])
        raise DataError(f"align: moment {wrong + 1} of at= is no time: {at[wrong]!r}; leave it out")
    return times, []


def _even_times(streams: Sequence[Stream], every: float) -> Seconds:
    """Whole multiples of `every` from the first stamp to the last."""
    first = min(streams, key=lambda stream: stream.times[0])
    last = max(streams, key=lambda stream: stream.times[-1])
    start, stop = float(first.times[0]), float(last.times[-1])
    if not isinstance(every, int | float) or not 0 < every < np.inf:
        raise DataError(f"align: expected every= as seconds above 0, found {every!r}")
    if (stop - start) / every > MOST_SAMPLES:
        raise DataError(f"align: every={every:g} s from {start:.6g} s (stream {first.name!r}) to {stop:.6g} s (stream "
                        f"{last.name!r}) would be {(stop - start) / every:.3g} samples: do the streams share a clock "
                        f"and a unit? (Stream(…, offset=…, unit=…))")
    times = np.arange(np.ceil(start / every - 1e-9), np.floor(stop / every + 1e-9) + 1) * every
    if len(times) == 0:
        raise DataError(f"align: there is no multiple of every={every:g} s between {start:.6g} s and {stop:.6g} s, "
                        f"where the streams lie")
    return times


def _presence_note(part: Sampled | Windows, times: Seconds) -> str:
    present, stream = int(part.presence.sum()), part.stream
    said = f"{stream.name}: present in {present:,} of {len(times):,} samples"
    if present == 0:
        return (f"{said}: its stamps run from {stream.times[0]:.6g} to {stream.times[-1]:.6g} s, the samples from "
                f"{times.min():.6g} to {times.max():.6g} s")
    if present == len(times):
        return said
    why = f"no reading within {part.tolerance:.4g} s" if isinstance(part, Sampled) else "no reading in the window"
    if isinstance(part, Sampled) and part.method == "interpolate":
        why = f"not between two readings at most {part.tolerance:.4g} s apart"
    return f"{said}; else {why}"
