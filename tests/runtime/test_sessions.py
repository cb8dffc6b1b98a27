"""What may be a graph: nothing that reads other files, and nothing that is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sensorium.errors import ExportError
from sensorium.runtime.placing import TokenArrays, nothing, placed
from sensorium.runtime.sessions import Session


def _graph(weights: onnx.TensorProto) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_graph_runs_and_leaves_out_what_it_has_no_use_for() -> None:
    session = Session(_graph(helper.make_tensor("w", TensorProto.FLOAT, [1], [2.0])).SerializeToString(), "g.onnx",
                      threads=1)
    found = session({"x": np.arange(6, dtype=np.float32)[::2], "other": np.zeros(1)})
    assert found["y"].tolist() == [2.0, 4.0, 6.0] and session.inputs == {"x"}


def test_weights_in_other_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.float32(2.0).tobytes())
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    entry = weights.external_data.add()
    entry.key, entry.value = "location", str(tmp_path / "w.bin")
    with pytest.raises(ExportError, match=r"g.onnx keeps its weights in other files"):
        Session(_graph(weights).SerializeToString(), "g.onnx")


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x0a" * 50])
def test_what_is_no_graph_is_refused(content: bytes) -> None:
    with pytest.raises(ExportError, match=r"g.onnx is no graph that onnxruntime runs"):
        Session(content, "g.onnx")


def test_tokens_are_placed_as_with_tensors() -> None:
    """Shared cells are repeated, lists stand side by side, rows without any are masked."""
    import torch

    from sensorium.data.batch import Packed
    from sensorium.data.kinds.base import Inputs
    from sensorium.encoders.base import Tokens
    from sensorium.placing import placed as with_tensors

    random = np.random.default_rng(0)
    values, mask = random.normal(size=(3, 4, 5)).astype(np.float32), random.random((3, 4)) < 0.6
    span = random.random((3, 4, 2)).astype(np.float32)
    for cells in (np.array([[2], [0], [2]]), np.array([[0, -1], [1, 2], [0, 0]])):
        rows = np.array([1, 2, 4])
        found = placed(TokenArrays(values, mask, span), rows, cells, 6)
        tensors = Tokens(*map(torch.from_numpy, (values, mask, span)))
        packed = Packed(Inputs(tensors.values), torch.from_numpy(rows), torch.from_numpy(cells))
        expected = with_tensors(tensors, packed, 6)
        assert expected.span is not None and found.span is not None
        for one, other in ((found.values, expected.values), (found.mask, expected.mask), (found.span, expected.span)):
            np.testing.assert_array_equal(one, other.numpy())
    assert not nothing(2, 5, timed=True).mask.any()
