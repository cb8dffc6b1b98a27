"""The kinds of modality: text, image, audio, video, series, points, table."""

from typing import Annotated

from pydantic import Field

from sensorium.data.kinds.audio import AudioKind
from sensorium.data.kinds.base import Html, Inputs, Kind, Padded
from sensorium.data.kinds.image import ImageKind
from sensorium.data.kinds.points import PointsKind
from sensorium.data.kinds.series import Recording, SeriesKind
from sensorium.data.kinds.table import TableColumn, TableKind
from sensorium.data.kinds.text import TextKind
from sensorium.data.kinds.video import Clip, VideoKind

OneKind = TextKind | ImageKind | AudioKind | VideoKind | SeriesKind | PointsKind | TableKind
AnyKind = Annotated[OneKind, Field(discriminator="kind")]
KINDS: dict[str, type[OneKind]] = {
    "text": TextKind, "image": ImageKind, "audio": AudioKind, "video": VideoKind, "series": SeriesKind,
    "points": PointsKind, "table": TableKind,
}
TIMED = frozenset({"audio", "video", "series"})
"""Kinds whose spans are seconds; two such modalities of a sample share its clock."""

__all__ = ["KINDS", "TIMED", "AnyKind", "AudioKind", "Clip", "Html", "ImageKind", "Inputs", "Kind", "Padded",
           "PointsKind", "Recording", "SeriesKind", "TableColumn", "TableKind", "TextKind", "VideoKind"]
