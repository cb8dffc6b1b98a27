"""Which backbone serves which kind, with the processor of its folder."""

from __future__ import annotations

from typing import Any

from sensorium.data.kinds import AnyKind, AudioKind, ImageKind, TextKind, VideoKind
from sensorium.encoders.pretrained.backbone import Backbone, Loaded
from sensorium.encoders.pretrained.hearing import SoundBackbone
from sensorium.encoders.pretrained.pictures import pixel_rule, read_processor
from sensorium.encoders.pretrained.preprocessing import read_extractor
from sensorium.encoders.pretrained.reading import TextBackbone
from sensorium.encoders.pretrained.seeing import PictureBackbone, VideoBackbone
from sensorium.encoders.pretrained.source import PretrainedSource


def make_backbone(
    loaded: Loaded, source: PretrainedSource, kind: AnyKind, most: int | None,
) -> tuple[Backbone, Any]:
    """A backbone around a loaded model, and transformers' processor where it has one (None for text).

    Args:
        loaded: the model.
        source: where its processor is.
        kind: measured.
        most: tokens a cell. None: all.
    """
    if isinstance(kind, TextKind):
        return TextBackbone(loaded, most), None
    if isinstance(kind, AudioKind):
        extractor = read_extractor(source.folder, source.name)
        return SoundBackbone(loaded, extractor, most), extractor
    assert isinstance(kind, ImageKind | VideoKind)
    assert kind.height is not None and kind.width is not None and kind.channels is not None
    frames = isinstance(kind, VideoKind)
    processor = read_processor(source.folder, source.name)
    rule = pixel_rule(processor, source.name, frames=frames)
    backbone = VideoBackbone if frames else PictureBackbone
    return backbone(loaded, rule, size=(kind.height, kind.width), channels=kind.channels, most=most), processor
