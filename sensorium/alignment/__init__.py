"""Alignment: modalities agree on meaning, in closed form, deep, and by contrast."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "AlignmentPlan": "linear_training",
    "CCA": "cca",
    "DeepCCA": "deep_cca_estimator",
    "GeneralizedCCA": "generalized_cca",
    "KernelCCA": "kernel_cca",
    "LinearAlignment": "linear",
    "Temperature": "contrastive",
    "cca_loss": "deep_cca",
    "eckart_young_loss": "deep_cca",
    "eckart_young_of_halves": "deep_cca",
    "info_nce": "contrastive",
    "siglip": "contrastive",
    "train_alignment": "linear_training",
}


__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Names are imported when first used (PEP 562): scikit-learn's base classes take a second."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'sensorium.alignment' has no attribute {name!r}")
    value = getattr(import_module(f"sensorium.alignment.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_PUBLIC)
