"""sensorium: one model for everything you know about a sample. Any subset of modalities in, any answer out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Aligned": "sensorium.data.streams.align",
    "Client": "sensorium.serving.client",
    "Data": "sensorium.data.read",
    "DataError": "sensorium.errors",
    "Events": "sensorium.data.streams.stream",
    "Index": "sensorium.retrieval.index",
    "Model": "sensorium.model",
    "Offset": "sensorium.data.streams.clocks",
    "Recipe": "sensorium.recipe",
    "Runtime": "sensorium.runtime",
    "Sampling": "sensorium.made",
    "SensoriumError": "sensorium.errors",
    "Stream": "sensorium.data.streams.stream",
    "align": "sensorium.aligning",
    "attribute": "sensorium.evaluation.attribution",
    "compare": "sensorium.evaluation.comparing",
    "estimate_offset": "sensorium.data.streams.clocks",
    "evaluate": "sensorium.evaluation.evaluate",
    "fit": "sensorium.training.fit",
    "read": "sensorium.data.read",
    "write_table": "sensorium.data.streams.aligned_table",
    "zero_shot": "sensorium.evaluation.zero_shot",
}

if TYPE_CHECKING:
    from sensorium.aligning import align
    from sensorium.data.read import Data, read
    from sensorium.data.streams.align import Aligned
    from sensorium.data.streams.aligned_table import write_table
    from sensorium.data.streams.clocks import Offset, estimate_offset
    from sensorium.data.streams.stream import Events, Stream
    from sensorium.errors import DataError, SensoriumError
    from sensorium.evaluation.attribution import attribute
    from sensorium.evaluation.comparing import compare
    from sensorium.evaluation.evaluate import evaluate
    from sensorium.evaluation.zero_shot import zero_shot
    from sensorium.made import Sampling
    from sensorium.model import Model
    from sensorium.recipe import Recipe
    from sensorium.retrieval.index import Index
    from sensorium.runtime import Runtime
    from sensorium.serving.client import Client
    from sensorium.training.fit import fit

__all__ = ["Aligned", "Client", "Data", "DataError", "Events", "Index", "Model", "Offset", "Recipe", "Runtime",
           "Sampling", "SensoriumError", "Stream", "__version__", "align", "attribute", "compare", "estimate_offset",
           "evaluate", "fit", "read", "write_table", "zero_shot"]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used (PEP 562), so that `import sensorium` stays quick."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'sensorium' has no attribute {name!r}")
    try:
        value = getattr(import_module(_PUBLIC[name]), name)
    except ModuleNotFoundError as error:
        from sensorium.errors import install_command

        if error.name is None or error.name.startswith("sensorium"):
            raise
        raise ImportError(f"sensorium.{name} {install_command(error.name)}", name=error.name) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
