"""The index of a server: opened, and refused where another model made it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sensorium.errors import ModelFolderError
from sensorium.serving.engine import Engine, ModelEngine

if TYPE_CHECKING:
    from sensorium.retrieval.index import Index


def open_index(folder: str | Path, engine: Engine) -> Index:
    """The index in a folder, to be searched with this model.

    Raises:
        ModelFolderError: it was made with another model.
    """
    from sensorium.retrieval.building import require_model
    from sensorium.retrieval.identity import model_identity
    from sensorium.retrieval.index import Index

    index = Index.open(folder)
    if isinstance(engine, ModelEngine):
        require_model(index.folder, index.manifest, model_identity(engine.model))
    elif index.width != engine.embedding_width:
        raise ModelFolderError(f"the index {str(folder)!r} holds {index.width} numbers a vector, this model makes "
                               f"{engine.embedding_width}: use the model that it was made with")
    return index
