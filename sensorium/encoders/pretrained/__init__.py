"""Pretrained encoders: any Hugging Face folder or hub name whose model returns hidden states."""

from sensorium.encoders.pretrained.encoder import PretrainedEncoder
from sensorium.encoders.pretrained.preprocessing import adapt_kind
from sensorium.encoders.pretrained.source import Matched, PretrainedSource, describe_source, kinds_of, match_folders

__all__ = ["Matched", "PretrainedEncoder", "PretrainedSource", "adapt_kind", "describe_source", "kinds_of",
           "match_folders"]
