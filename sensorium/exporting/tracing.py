"""A module → an ONNX graph of any number of rows and any lengths, by torch.export."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sensorium.data.kinds.base import Inputs, first_line
from sensorium.data.schema import Modality, Schema
from sensorium.errors import ExportError, SensoriumError
from sensorium.exporting.graphs import EmbeddingGraph, EncoderGraph, FusedGraph
from sensorium.model import Model

OPSET = 20
TRACED_ROWS, TRACED_TOKENS = 3, 5
ANY = torch.export.Dim.DYNAMIC
FIXED_LENGTH = frozenset({"image", "table"})


def encoder_graph(encoder: nn.Module, modality: Modality, inputs: Inputs, *, timed: bool) -> bytes:
    """The graph of one modality's encoder.

    Args:
        encoder: in evaluation mode, on the CPU.
        modality: with its measured kind.
        inputs: two or more cells of different lengths, to trace it with.
        timed: whether spans are among what it gives.

    Raises:
        ExportError: naming the modality.
    """
    kind, name = modality.kind, modality.name
    module = EncoderGraph(encoder, kind, name, timed=timed)
    given = {"values": inputs.values, "mask": inputs.mask, "span": inputs.span}
    arrays = {key: value for key, value in given.items() if value is not None}
    free = {0: ANY} if kind.name in FIXED_LENGTH else {0: ANY, 1: ANY}
    sizes = [{**free, **_sides(kind.name)} if key == "values" else free for key in arrays]
    outputs = ["tokens", "tokens_mask", *(["tokens_span"] if timed else [])]
    return _traced(module, tuple(arrays.values()), tuple(sizes), list(arrays), outputs, f"modality {name!r}")


def _sides(kind_name: str) -> dict[int, Any]:
    """The axes of height and width: pictures of any size are fitted."""
    return {"image": {2: ANY, 3: ANY}, "video": {3: ANY, 4: ANY}}.get(kind_name, {})


def fused_graph(model: Model, graph: FusedGraph | EmbeddingGraph, timed: Sequence[str]) -> bytes:
    """The graph of fusion and heads, or of the embedding. Raises ExportError."""
    places = [model.schema.names.index(name) for name in graph.read]
    parts, sizes, names = [], [], ["presence"]
    generator = torch.Generator().manual_seed(0)
    for number, (place, name) in enumerate(zip(places, graph.read, strict=True)):
        count = TRACED_TOKENS + number
        mask = torch.ones(TRACED_ROWS, count, dtype=torch.bool)
        mask[0, 2:] = False
        part = [torch.randn(TRACED_ROWS, count, model.recipe.model.width, generator=generator), mask]
        if name in timed:
            part.append(torch.arange(count)[None, :, None] + torch.tensor([0.0, 1.0]).expand(TRACED_ROWS, count, 2))
        parts.append(tuple(part))
        sizes.append(tuple({0: ANY, 1: ANY} for _ in part))
        names += [f"{key}_{place}" for key in ("tokens", "mask", "span")[: len(part)]]
    presence = torch.zeros(TRACED_ROWS, len(model.schema.names), dtype=torch.bool)
    presence[:, places] = True
    outputs = ["embedding"]
    if isinstance(graph, FusedGraph):
        told = [f"output_{place}" for place in range(len(model.schema.targets))]
        outputs = ["vector", *told, *(["embedding"] if graph.embeds else [])]
    return _traced(graph, (presence, tuple(parts)), ({0: ANY}, tuple(sizes)), names, outputs,
                   f"fusion {model.recipe.model.fusion!r}")


def _traced(
    module: nn.Module, arguments: tuple[Any, ...], sizes: tuple[Any, ...], inputs: list[str], outputs: list[str],
    what: str,
) -> bytes:
    """The graph as the bytes of one file."""
    try:
        with _undisturbed(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            program: Any = torch.onnx.export(
                module.eval(), arguments, dynamo=True, dynamic_shapes=sizes, input_names=inputs, output_names=outputs,
                opset_version=OPSET, external_data=False, verbose=False)
            return bytes(program.model_proto.SerializeToString())
    except ModuleNotFoundError as error:
        raise SensoriumError(f"exporting needs {error.name}: pip install 'sensorium[train,export]'") from error
    except SensoriumError:
        raise
    except Exception as error:  # torch.export and the converter raise whatever they meet
        reason = first_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        raise ExportError(f"{what} cannot be exported: it cannot be made a graph ({type(error).__name__}: {reason})"
                          ) from error


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The exporter does not speak, and no shape is checked: a size that is compared would be fixed in the graph."""
    import jaxtyping

    unchecked = jaxtyping.config.jaxtyping_disable
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.fx", "torch.export", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            jaxtyping.config.update("jaxtyping_disable", True)
            yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", unchecked)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def read_and_timed(model: Model) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The modalities that are encoded, and of these the ones whose spans the fusion reads."""
    schema: Schema = model.schema
    read = tuple(name for name in schema.names if name in model.read)
    return read, tuple(name for name in read if name in model.fusion.timed)
