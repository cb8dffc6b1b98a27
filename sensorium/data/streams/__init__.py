"""Recordings with clocks of their own, put on one: readings, moments, windows, clock offsets, a table to train on."""

from sensorium.data.streams.align import Aligned, align
from sensorium.data.streams.aligned_table import write_table
from sensorium.data.streams.clocks import Offset, estimate_offset
from sensorium.data.streams.stream import Events, Stream

__all__ = ["Aligned", "Events", "Offset", "Stream", "align", "estimate_offset", "write_table"]
