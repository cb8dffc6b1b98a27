"""sensorium: one model for everything you know about a sample. Any subset of modalities in, any answer out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Data": "sensorium.data.read",
    "DataError": "sensorium.errors",
    "Model": "sensorium.model",
    "Recipe": "sensorium.recipe",
    "SensoriumError": "sensorium.errors",
    "evaluate": "sensorium.evaluation.evaluate",
    "fit": "sensorium.training.fit",
    "read": "sensorium.data.read",
}

if TYPE_CHECKING:
    from sensorium.data.read import Data, read
    from sensorium.errors import DataError, SensoriumError
    from sensorium.evaluation.evaluate import evaluate
    from sensorium.model import Model
    from sensorium.recipe import Recipe
    from sensorium.training.fit import fit

__all__ = ["Data", "DataError", "Model", "Recipe", "SensoriumError", "__version__", "evaluate", "fit", "read"]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used (PEP 562), so that `import sensorium` stays quick."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'sensorium' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
