"""The kinds of modality: text, image, audio, table."""

from typing import Annotated

from pydantic import Field

from sensorium.data.kinds.audio import AudioKind
from sensorium.data.kinds.base import Html, Inputs, Kind
from sensorium.data.kinds.image import ImageKind
from sensorium.data.kinds.table import TableColumn, TableKind
from sensorium.data.kinds.text import TextKind

AnyKind = Annotated[TextKind | ImageKind | AudioKind | TableKind, Field(discriminator="kind")]
KINDS: dict[str, type[TextKind | ImageKind | AudioKind | TableKind]] = {
    "text": TextKind, "image": ImageKind, "audio": AudioKind, "table": TableKind,
}

__all__ = ["KINDS", "AnyKind", "AudioKind", "Html", "ImageKind", "Inputs", "Kind", "TableColumn", "TableKind",
           "TextKind"]
