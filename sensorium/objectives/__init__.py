"""Objectives: the terms of the joint loss."""

from sensorium.objectives.base import Aligner, Encoded, Judgement, Loss, Objective, Predictor, View
from sensorium.objectives.classify import Classify
from sensorium.objectives.contrast import Contrast
from sensorium.objectives.correlate import Correlate
from sensorium.objectives.distil import Distil, Lesson
from sensorium.objectives.regress import Regress

ALIGNERS: dict[str, type[Contrast | Correlate]] = {"contrast": Contrast, "correlate": Correlate}
OBJECTIVES: dict[str, type[Objective]] = {"classify": Classify, "regress": Regress, "distil": Distil, **ALIGNERS}

__all__ = ["ALIGNERS", "OBJECTIVES", "Aligner", "Classify", "Contrast", "Correlate", "Distil", "Encoded", "Judgement",
           "Lesson", "Loss", "Objective", "Predictor", "Regress", "View"]
