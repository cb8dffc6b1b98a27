"""Objectives: the terms of the joint loss."""

from sensorium.objectives.base import Aligner, Encoded, Judgement, Loss, Objective, Predictor, View
from sensorium.objectives.caption import Caption
from sensorium.objectives.classify import Classify
from sensorium.objectives.contrast import Contrast
from sensorium.objectives.correlate import Correlate
from sensorium.objectives.distil import Distil, Lesson
from sensorium.objectives.generative import Condition, Generative
from sensorium.objectives.paint import Paint
from sensorium.objectives.paint_flow import PaintFlow
from sensorium.objectives.paint_gan import PaintGAN
from sensorium.objectives.regress import Regress

ALIGNERS: dict[str, type[Contrast | Correlate]] = {"contrast": Contrast, "correlate": Correlate}
OBJECTIVES: dict[str, type[Objective]] = {
    "classify": Classify, "regress": Regress, "distil": Distil, "caption": Caption, "answer": Caption,
    "paint": PaintFlow, **ALIGNERS}

__all__ = ["ALIGNERS", "OBJECTIVES", "Aligner", "Caption", "Classify", "Condition", "Contrast", "Correlate", "Distil",
           "Encoded", "Generative", "Judgement", "Lesson", "Loss", "Objective", "Paint", "PaintFlow", "PaintGAN",
           "Predictor", "Regress", "View"]
