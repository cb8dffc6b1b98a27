"""Fusions: the tokens of any subset of modalities → one representation."""

from sensorium.fusion.attention import AttentionFusion
from sensorium.fusion.base import Fused, Fusion
from sensorium.fusion.bottleneck import BottleneckFusion
from sensorium.fusion.concat import ConcatFusion
from sensorium.fusion.cross_attention import CrossAttentionFusion
from sensorium.fusion.experts import ExpertsFusion
from sensorium.fusion.gated import GatedFusion
from sensorium.fusion.low_rank import LowRankFusion
from sensorium.fusion.tensor import TensorFusion
from sensorium.fusion.transformer import TransformerFusion
from sensorium.fusion.two_stream import TwoStreamFusion

FUSIONS: dict[str, type[Fusion]] = {
    "attention": AttentionFusion,
    "concat": ConcatFusion,
    "two_stream": TwoStreamFusion,
    "gated": GatedFusion,
    "cross_attention": CrossAttentionFusion,
    "bottleneck": BottleneckFusion,
    "transformer": TransformerFusion,
    "tensor": TensorFusion,
    "low_rank": LowRankFusion,
    "experts": ExpertsFusion,
}

__all__ = ["FUSIONS", "AttentionFusion", "BottleneckFusion", "ConcatFusion", "CrossAttentionFusion", "ExpertsFusion",
           "Fused", "Fusion", "GatedFusion", "LowRankFusion", "TensorFusion", "TransformerFusion", "TwoStreamFusion"]
