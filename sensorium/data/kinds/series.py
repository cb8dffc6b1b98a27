"""Recordings of sensors: files of channels with a rate or a time column → readings on a uniform grid, gaps kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sensorium.data.kinds.base import Cell, Html, Inputs, Padded
from sensorium.data.numeric.columns import Columns
from sensorium.data.numeric.grid import in_order, on_grid, typical_interval
from sensorium.data.numeric.recordings import (
    channel_scales,
    chosen_channels,
    read_recording,
    read_sample,
    usual_channels,
)
from sensorium.data.numeric.time_column import beginning, seconds, time_column
from sensorium.data.numeric.traces import channel_label, channel_line, described_channel
from sensorium.errors import BadCell

if TYPE_CHECKING:
    from torch import Tensor

    from sensorium.keyed import Draws

Numbers = npt.NDArray[np.float64]
MOST_STEPS = 1024
MOST_DEVIATIONS = 1e6
SHOWN_CHANNELS = 8
COLOURS = ("#0b6e99", "#c4541a", "#3c7a3c", "#7b4fa3", "#a33a55", "#6b6b2e", "#2f6f73", "#555555")


@dataclass(frozen=True)
class Recording:
    """A decoded recording.

    Args:
        values: (step, channel) float32 standardised readings; NaN where there is none.
        start: when the first step begins, in seconds on the file's clock.
    """

    values: npt.NDArray[np.float32]
    start: float


class SeriesKind(BaseModel):
    """Channels of numbers over time: CSV, TSV, Parquet, NPY or NPZ files, arrays, (array, rate) pairs or data frames.

    Readings at irregular times are averaged or interpolated on a grid of one rate; where nothing was read the gap stays
    a gap. Times count as written where they begin near 0, else from the first reading.

    Args:
        channels: the columns that are read; numbers from 0 where files name none. Empty until measured: those of
            numbers that at least half of the training recordings have.
        time: the column of times ("" = none): seconds, or the unit that its name ends in (ms, us, ns), or dates. None
            until measured: one that is named like it and rises.
        rate: steps per second of the grid. None until measured: the training recordings' median rate, or less, so that
            nine of ten have at most 1,024 steps.
        source_rate: readings per second of files without times. None until measured: `rate` where that is set, else 1.
        max_steps: longer recordings are cut to their first so many steps. None until measured: a quarter more than the
            longest of the training sample, at most 1,024.
        mean, std: of each channel over the training recordings; empty until measured.
        augmentation: how far training recordings are varied, 0 = not at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str] = "series"
    kind: Literal["series"] = "series"
    channels: tuple[str, ...] = ()
    time: str | None = None
    rate: float | None = Field(default=None, gt=0, le=1e6)
    source_rate: float | None = Field(default=None, gt=0, le=1e6)
    max_steps: int | None = Field(default=None, ge=1, le=1 << 20)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    augmentation: float = Field(default=1.0, ge=0.0)

    def measure(self, cells: Sequence[Cell]) -> SeriesKind:
        """Channels, time column, rate, length and scales from a sample of cells."""
        read = read_sample(cells)
        time = self.time
        if time is None:
            stamped = Counter(time_column(columns) for columns, rate in read if rate is None)
            time = stamped.most_common(1)[0][0] if stamped else ""
        channels = self.channels or usual_channels([columns for columns, _ in read], time)
        kind = self.model_copy(update={"channels": channels, "time": time,
                                       "source_rate": self.source_rate or self.rate or 1.0})
        found = [readings for one in read if (readings := kind._tried(one)) is not None]
        update: dict[str, float | tuple[float, ...]] = {**kind._paces([times for times, _ in found])}
        if len(self.mean) != len(channels) or len(self.std) != len(channels):
            mean, std = channel_scales([values for _, values in found], len(channels))
            update |= {"mean": mean, "std": std}
        return kind.model_copy(update=update)

    def _tried(self, read: tuple[Columns, float | None]) -> tuple[Numbers, Numbers] | None:
        try:
            return self._readings(*read)
        except BadCell:
            return None

    def _paces(self, times: Sequence[Numbers]) -> dict[str, float]:
        """Rate and length that suit these recordings."""
        assert self.source_rate is not None
        intervals = [interval for one in times if np.isfinite(interval := typical_interval(one))]
        usual = 1.0 / float(np.median(intervals)) if intervals else self.source_rate
        lasting = [float(one[-1] - one[0]) for one in times] or [0.0]
        longest = max(float(np.quantile(lasting, 0.9)), 1e-9)
        rate = self.rate or float(f"{min(usual, (MOST_STEPS - 1) / longest, 1e6):.6g}")
        steps = int(min(MOST_STEPS, 1.25 * (max(lasting) * rate + 1.0)))
        return {"rate": rate, "max_steps": self.max_steps or max(8, steps)}

    def decode(self, cell: Cell) -> Recording:
        """Standardised readings (step, channel) float32, NaN where there is none, and when the first is taken."""
        assert self.rate is not None and self.max_steps is not None
        times, values = self._readings(*read_recording(cell))
        count = int(min(self.max_steps, np.floor((times[-1] - times[0]) * self.rate + 1e-3) + 1))
        last = np.searchsorted(times, times[0] + (count + 1) / self.rate, side="right") + 1
        grid = on_grid(times[:last], values[:last], start=float(times[0]), rate=self.rate, count=count)
        with np.errstate(over="ignore"):
            standard = np.clip((grid - np.array(self.mean)) / np.array(self.std), -MOST_DEVIATIONS, MOST_DEVIATIONS)
        if not np.isfinite(standard).any():
            raise BadCell("a recording without readings in its first part that is read")
        return Recording(standard.astype(np.float32), beginning(times))

    def _readings(self, columns: Columns, rate: float | None) -> tuple[Numbers, Numbers]:
        """(reading,) increasing seconds and (reading, channel) values, at least one of them there. Raises BadCell."""
        assert self.source_rate is not None
        values = chosen_channels(columns, self.channels, self.time or "")
        if rate is None and self.time:
            times = seconds(columns, self.time)
        else:
            times = np.arange(len(values)) / (rate or self.source_rate)
        times, values = in_order(times, values)
        if len(times) == 0 or not np.isfinite(values).any():
            raise BadCell("a recording without readings")
        return times, values

    def length(self, array: Recording) -> int:
        """Steps."""
        return len(array.values)

    def pad(self, arrays: Sequence[Recording]) -> Padded:
        """(row, step, 2·channel) float32: readings, 0 where there is none, then 1 where there is one; mask; seconds."""
        assert self.rate is not None
        lengths = np.array([len(array.values) for array in arrays])
        longest, channels = int(lengths.max()), arrays[0].values.shape[1]
        values = np.zeros((len(arrays), longest, 2 * channels), dtype=np.float32)
        span = np.zeros((len(arrays), longest, 2), dtype=np.float32)
        for row, array in enumerate(arrays):
            there = np.isfinite(array.values)
            values[row, : lengths[row], :channels] = np.where(there, array.values, 0.0)
            values[row, : lengths[row], channels:] = there
            edges = array.start + np.arange(lengths[row] + 1) / self.rate
            span[row, : lengths[row]] = np.stack([edges[:-1], edges[1:]], axis=1)
        mask = np.arange(longest)[None, :] < lengths[:, None]
        return Padded(values, mask, span)

    def collate(self, arrays: Sequence[Recording]) -> Inputs:
        """The same as tensors."""
        return self.pad(arrays).inputs()

    def augment(self, inputs: Inputs, draws: Draws) -> Inputs:
        """Another time, by another sensor: cut, faster or slower, stronger or weaker, noisier, with a hole in it.

        At augmentation 1: up to 6 % of either end cut; speed by up to 10 %; each channel's deviation from its mean by
        up to 20 %, and shifted by up to a tenth of the standard deviation; noise of up to .15 standard deviations; up
        to 15 % of the steps without readings. Amounts above 2 count as 2. The steps keep the seconds of what they show.
        A quarter of the recordings stay as they are.
        """
        if self.augmentation == 0:
            return inputs
        import torch

        amount = min(self.augmentation, 2.0)
        varied = torch.from_numpy(draws.uniform("series/untouched") >= 0.25).float()[:, None]
        played = _replayed(inputs, draws, amount * varied)
        assert played.mask is not None
        rows, steps, channels = len(played), played.values.shape[1], len(self.channels)
        readings, there = played.values[..., :channels], played.values[..., channels:]
        gain, shift = (torch.from_numpy(draws.uniform(f"series/{purpose}", channels, low=-1.0, high=1.0)).float()
                       * amount * varied for purpose in ("gain", "shift"))
        level, hole = (torch.from_numpy(draws.uniform(f"series/{purpose}", 2)).float() for purpose in ("level", "hole"))
        noise = torch.from_numpy(draws.normal("series/noise", steps, channels)).float()
        readings = readings * torch.exp2(0.27 * gain)[:, None] + 0.1 * shift[:, None]
        readings = readings + (0.15 * amount * varied * level[:, :1])[:, :, None] * noise
        lengths = played.mask.sum(dim=1, keepdim=True)
        place = torch.arange(steps)
        first = (hole[:, :1] * lengths).long()
        last = first + (0.15 * amount * varied * hole[:, 1:] * lengths).long()
        there = there * ~((place >= first) & (place < last))[:, :, None]
        changed = torch.cat([readings * there, there], dim=2)
        kept = varied.reshape(rows, 1, 1) == 0
        return Inputs(torch.where(kept, played.values, changed), played.mask, played.span)

    def corrupt(self, inputs: Inputs, severity: float, draws: Draws) -> Inputs:
        """Noise of the channels' deviation mixed in: √(1 − s) of the readings, √s of the noise.

        This share of the gaps is filled with noise, so that at severity 1 nothing is left, not even where gaps were.
        """
        if severity == 0:
            return inputs
        import torch

        assert inputs.mask is not None
        steps, channels = inputs.values.shape[1], inputs.values.shape[2] // 2
        noise = torch.from_numpy(draws.normal("series/corrupt", steps, channels)).float()
        filled = torch.from_numpy(draws.uniform("series/filled", steps, channels) < severity)
        there = ((inputs.values[..., channels:] > 0) | filled) & inputs.mask[:, :, None]
        mixed = (1.0 - severity) ** 0.5 * inputs.values[..., :channels] + severity ** 0.5 * noise
        return Inputs(torch.cat([torch.where(there, mixed, 0.0), there.float()], dim=2), inputs.mask, inputs.span)

    def show(self, array: Recording) -> Html:
        """A line for each of at most eight channels, in its own unit and range; gaps stay open."""
        assert self.rate is not None
        shown = array.values[:, :SHOWN_CHANNELS].astype(np.float64)
        raw = shown * np.array(self.std)[:SHOWN_CHANNELS] + np.array(self.mean)[:SHOWN_CHANNELS]
        lines = [channel_line(raw[:, place], 30 * place, COLOURS[place]) for place in range(raw.shape[1])]
        labels = [channel_label(name, raw[:, place], COLOURS[place])
                  for place, name in enumerate(self.channels[:SHOWN_CHANNELS])]
        more = f"<li>and {len(self.channels) - SHOWN_CHANNELS} more</li>" if len(self.channels) > SHOWN_CHANNELS else ""
        stop = array.start + len(raw) / self.rate
        return (f'<figure class="series"><svg class="lines" viewBox="0 0 240 {30 * raw.shape[1]}" role="img" '
                f'preserveAspectRatio="none" aria-label="{len(self.channels)} channels">{"".join(lines)}</svg>'
                f'<figcaption>{array.start:.4g} to {stop:.4g} s<ul>{"".join(labels)}{more}</ul></figcaption></figure>')

    def describe(self, array: Recording) -> npt.NDArray[np.float32]:
        """Of each channel: 32 time-normalised readings, mean, deviation, least, most, how much is missing, 8 bands.

        The bands are the logarithms of the spectrum's energy, in octaves of the time-normalised frequency.
        """
        return np.concatenate([described_channel(array.values[:, channel].astype(np.float64))
                               for channel in range(array.values.shape[1])]).astype(np.float32)


def _replayed(inputs: Inputs, draws: Draws, amount: Tensor) -> Inputs:
    """Every recording from another start to another end at another speed, by linear interpolation; amount (row, 1)."""
    import torch

    assert inputs.mask is not None and inputs.span is not None
    unit = torch.from_numpy(draws.uniform("series/replay", 3)).float()
    lengths = inputs.mask.sum(dim=1, keepdim=True).float()
    start, stop = (0.06 * amount * unit[:, place : place + 1] * (lengths - 1.0) for place in (0, 1))
    stop = lengths - 1.0 - stop
    speed = torch.exp2(0.14 * amount * (2.0 * unit[:, 2:] - 1.0))
    new_lengths = ((stop - start) / speed + 1e-3).floor().clamp(min=0.0) + 1.0
    place = torch.arange(int(new_lengths.max()))
    mask = place < new_lengths
    source = torch.where(mask, start + place * speed, 0.0).clamp(min=0.0)
    source = torch.minimum(source, lengths - 1.0)
    low = source.long()
    high = torch.minimum(low + 1, lengths.long() - 1)
    share = (source - low)[:, :, None]
    rows = torch.arange(len(low))[:, None]
    channels = inputs.values.shape[2] // 2
    below, above = inputs.values[rows, low], inputs.values[rows, high]
    there = (below[..., channels:] > 0) & ((above[..., channels:] > 0) | (share == 0))
    between = torch.where(share == 0, below, torch.lerp(below, above, share))[..., :channels]
    values = torch.cat([torch.where(there, between, 0.0), there.float()], dim=2) * mask[:, :, None]
    span = torch.lerp(inputs.span[rows, low], inputs.span[rows, high], share) * mask[:, :, None]
    return Inputs(values, mask, span)
