"""Encoders: one modality's inputs → tokens in a common width."""

from sensorium.encoders.audio import LogMelEncoder
from sensorium.encoders.base import Encoder, Tokens
from sensorium.encoders.image import ImageResNet
from sensorium.encoders.point_transformer import PointTransformer
from sensorium.encoders.points import PointNet
from sensorium.encoders.series import SeriesPatches, SeriesTCN
from sensorium.encoders.table import TableEncoder
from sensorium.encoders.text import TextTransformer
from sensorium.encoders.vgg import VGG
from sensorium.encoders.video import VideoFrames, VideoR2Plus1D
from sensorium.encoders.wavenet import WaveNet

ENCODERS: dict[str, dict[str, type[Encoder]]] = {
    "image": {"resnet": ImageResNet, "vgg": VGG},
    "audio": {"logmel": LogMelEncoder, "wavenet": WaveNet},
    "text": {"transformer": TextTransformer},
    "table": {"features": TableEncoder},
    "video": {"frames": VideoFrames, "r2plus1d": VideoR2Plus1D},
    "series": {"patches": SeriesPatches, "tcn": SeriesTCN},
    "points": {"pointnet": PointNet, "point_transformer": PointTransformer},
}

__all__ = ["ENCODERS", "VGG", "Encoder", "ImageResNet", "LogMelEncoder", "PointNet", "PointTransformer",
           "SeriesPatches", "SeriesTCN", "TableEncoder", "TextTransformer", "Tokens", "VideoFrames", "VideoR2Plus1D",
           "WaveNet"]
