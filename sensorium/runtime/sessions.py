"""Graphs that run: onnxruntime sessions of one file each, which read no other file and run no code of the folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import ExportError, SensoriumError

Arrays = Mapping[str, npt.NDArray[Any]]
ELSEWHERE = b"\n\x08location\x12"  # how a graph names a file beside it that holds its weights
ERRORS_ONLY = 3


class Session:
    """A graph: named arrays in, named arrays out.

    Args:
        content: of the file.
        name: of the file, for errors.
        threads: that compute one call; None: what OMP_NUM_THREADS says, else as many as there are cores.

    Raises:
        ExportError: it is no graph, or keeps weights in other files.
        SensoriumError: onnxruntime is not there.
    """

    def __init__(self, content: bytes, name: str, *, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise SensoriumError("an exported model needs onnxruntime: pip install 'sensorium[runtime]'") from error
        if ELSEWHERE in content:
            raise ExportError(f"{name} keeps its weights in other files, which are not read")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _threads() if threads is None else threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises errors of its own for whatever is wrong with a file
            raise ExportError(f"{name} is no graph that onnxruntime runs: {str(error).splitlines()[0]}") from error
        self.inputs = frozenset(one.name for one in self._session.get_inputs())
        self.outputs = tuple(one.name for one in self._session.get_outputs())

    def __call__(self, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
        """Every output by name; arrays that the graph has no use for are left out."""
        given = {name: np.ascontiguousarray(array) for name, array in arrays.items() if name in self.inputs}
        return dict(zip(self.outputs, self._session.run(None, given), strict=True))


def _threads() -> int:
    """0 lets onnxruntime choose."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() else 0
