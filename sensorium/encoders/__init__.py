"""Encoders: one modality's inputs → tokens in a common width."""

from sensorium.encoders.audio import LogMelEncoder
from sensorium.encoders.base import Encoder, Tokens
from sensorium.encoders.image import ImageResNet
from sensorium.encoders.table import TableEncoder
from sensorium.encoders.text import TextTransformer

ENCODERS: dict[str, dict[str, type[Encoder]]] = {
    "image": {"resnet": ImageResNet},
    "audio": {"logmel": LogMelEncoder},
    "text": {"transformer": TextTransformer},
    "table": {"features": TableEncoder},
}

__all__ = ["ENCODERS", "Encoder", "ImageResNet", "LogMelEncoder", "TableEncoder", "TextTransformer", "Tokens"]
