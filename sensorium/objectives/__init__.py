"""Objectives: the terms of the joint loss."""

from sensorium.objectives.base import Aligner, Encoded, Judgement, Loss, Objective, Predictor, View
from sensorium.objectives.classify import Classify
from sensorium.objectives.contrast import Contrast
from sensorium.objectives.correlate import Correlate
from sensorium.objectives.regress import Regress

OBJECTIVES: dict[str, type[Objective]] = {
    "classify": Classify, "contrast": Contrast, "correlate": Correlate, "regress": Regress}

__all__ = ["OBJECTIVES", "Aligner", "Classify", "Contrast", "Correlate", "Encoded", "Judgement", "Loss", "Objective",
           "Predictor", "Regress", "View"]
