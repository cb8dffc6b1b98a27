"""Fusions: the tokens of any subset of modalities → one representation."""

from sensorium.fusion.attention import AttentionFusion
from sensorium.fusion.base import Fused, Fusion
from sensorium.fusion.concat import ConcatFusion

FUSIONS: dict[str, type[Fusion]] = {"attention": AttentionFusion, "concat": ConcatFusion}

__all__ = ["FUSIONS", "AttentionFusion", "ConcatFusion", "Fused", "Fusion"]
