"""Objectives: the terms of the joint loss."""

from sensorium.objectives.base import Encoded, Loss, Objective, Predictor, View
from sensorium.objectives.classify import Classify
from sensorium.objectives.regress import Regress

OBJECTIVES = {"classify": Classify, "regress": Regress}

__all__ = ["OBJECTIVES", "Classify", "Encoded", "Loss", "Objective", "Predictor", "Regress", "View"]
