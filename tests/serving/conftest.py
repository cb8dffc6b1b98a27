"""A small world and an engine over it, for each module that serves one."""

from __future__ import annotations

from pathlib import Path

import pytest
from served import small_engine

from sensorium.serving.engine import ModelEngine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of the engine's rows lie, once the engine is there."""
    return tmp_path_factory.mktemp("world")


@pytest.fixture(scope="module")
def engine(folder: Path) -> ModelEngine:
    """An untrained model of pictures, sounds, notes and a table."""
    return small_engine(folder)
