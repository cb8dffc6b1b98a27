"""`export_model`: a folder of graphs, compared with torch before it is kept; it appears whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import sensorium
from sensorium.card import model_card
from sensorium.data.kinds import TextKind
from sensorium.errors import ExportError
from sensorium.exporting.generated import made_up_samples
from sensorium.exporting.graphs import EmbeddingGraph, FusedGraph, embeds_apart
from sensorium.exporting.parity import Parity, compare
from sensorium.exporting.rows import rows_to_compare
from sensorium.exporting.tracing import OPSET, TRACED_ROWS, encoder_graph, fused_graph, read_and_timed
from sensorium.folder import whole_folder
from sensorium.model import Model
from sensorium.runtime import Runtime
from sensorium.runtime.manifest import (
    CARD,
    EMBEDDING,
    FAMILIAR,
    FORMAT,
    FUSION,
    MANIFEST,
    SCHEMA,
    Manifest,
    digest_of,
    encoder_file,
    is_exported,
    tokenizer_file,
)

Said = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        folder: where.
        sizes: file → bytes.
        parity: how it compares with torch.
        notes: what was left out or is to be known, a line each.
    """

    folder: Path
    sizes: dict[str, int]
    parity: Parity
    notes: tuple[str, ...]


def export_model(
    model: Model, folder: str | Path, *, rows: str | Path | None = None, name: str | None = None,
    allow_outside: bool = False, overwrite: bool = False, say: Said = lambda line: None,
) -> Exported:
    """Write a model as ONNX graphs that `sensorium.runtime.Runtime` runs without torch.

    One graph for each encoder, with the preprocessing of its tensors, and one for fusion and heads. They are compared
    with torch on every subset of the modalities before the folder appears.

    Args:
        model: trained, on the CPU.
        folder: where; it must not exist, unless `overwrite` and it is an exported folder.
        rows: a table to compare on; None: the training table, where it is still there, and made-up rows.
        name: of the model; None: the folder's.
        allow_outside: whether cells of the table may name files outside its folder.
        overwrite: replace an exported folder that is there.
        say: told what is being done, a line at a time.

    Raises:
        ExportError: something of it cannot be made a graph, or the graphs answer otherwise than torch: nothing is left.
        DataError: the table cannot be read.

    Example: export_model(Model.load("runs/x"), "out", rows="data.csv")
    """
    target = Path(folder)
    _refuse_taken(target, overwrite=overwrite)
    if model.device.type != "cpu":
        raise ExportError(f"the model is on {model.device}: move it to the CPU first, model.cpu()")
    model.eval()
    compared, notes = rows_to_compare(model, rows, allow_outside=allow_outside)
    with whole_folder(target) as part:
        files = _graphs(model, say) | _others(model)
        for file, content in files.items():
            (part / file).write_bytes(content)
        manifest = _manifest(model, name or target.resolve().name, files)
        (part / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        say("comparing with torch")
        parity = compare(model, Runtime.load(part), compared)
        manifest = manifest.model_copy(update={"parity": parity.to_json()})
        (part / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    return Exported(target, {file: len(content) for file, content in files.items()}, parity,
                    (*notes, *_left_out(model)))


def _graphs(model: Model, say: Said) -> dict[str, bytes]:
    """File → graph."""
    read, timed = read_and_timed(model)
    samples = made_up_samples(model.schema, TRACED_ROWS)
    files = {}
    for place, name in enumerate(model.schema.names):
        if name in read:
            say(f"encoder of {name}")
            cells = samples.cells[name]
            inputs = cells.kind.collate(cells.arrays.get(range(TRACED_ROWS)))
            files[encoder_file(place)] = encoder_graph(model.encoders[place], model.schema.modalities[place], inputs,
                                                       timed=name in timed)
    say("fusion and heads")
    files[FUSION] = fused_graph(model, FusedGraph(model, read), timed)
    if embeds_apart(model):
        say("embedding")
        files[EMBEDDING] = fused_graph(model, EmbeddingGraph(model, read), timed)
    return files


def _others(model: Model) -> dict[str, bytes]:
    """File → what is beside the graphs: schema, tokenizers, what is familiar, the card."""
    files = {SCHEMA: model.schema.model_dump_json(indent=1).encode(), CARD: _card(model).encode()}
    for place, modality in enumerate(model.schema.modalities):
        if isinstance(modality.kind, TextKind) and modality.kind.tokenizer is not None:
            files[tokenizer_file(place)] = modality.kind.tokenizer.encode()
    if model.familiar is not None:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **model.familiar.arrays())
        files[FAMILIAR] = buffer.getvalue()
    return files


def _card(model: Model) -> str:
    """The model card, and what the folder is."""
    pretrained = {name: options.name for name, options in model.recipe.model.encoders.items() if "/" in options.name}
    lines = [f"- {name}: weights of {Path(source).name}, under the licence they came with"
             for name, source in pretrained.items()]
    return "\n".join([
        model_card(model.schema, model.recipe, model.facts), "## This folder", "",
        "ONNX graphs of the model, read by onnxruntime without torch: `pip install 'sensorium[runtime]'`, then "
        "`sensorium predict FOLDER rows.csv` or `sensorium.runtime.Runtime.load(FOLDER)`. `export.json` says how far "
        "they were off when they were compared with torch. Loading the folder executes no code from it.", "",
        "## Licence", "", "The graphs hold the weights of the model, which belong to whoever trained it.", *lines, ""])


def _manifest(model: Model, name: str, files: dict[str, bytes]) -> Manifest:
    read, timed = read_and_timed(model)
    return Manifest(
        format=FORMAT, id=name, version=sensorium.__version__, opset=OPSET, read=read, timed=timed,
        asking=tuple(one for one in model.schema.names if one in model.asking), aligned=model.aligned,
        width=model.recipe.model.width, embedding_width=model.embedding_width, balance=model.recipe.training.balance,
        temperatures=model.temperatures, conformal={key: one.to_json() for key, one in model.conformal.items()},
        familiar=None if model.familiar is None else model.familiar.to_json(),
        digests={file: digest_of(content) for file, content in files.items()}, parity={})


def _left_out(model: Model) -> list[str]:
    """What the model can do and the exported folder cannot."""
    makers = [f"{maker.name} ({maker.to_name})" for maker in model.generative()]
    return [f"not exported: {', '.join(makers)}; predictions and embeddings are"] if makers else []


def _refuse_taken(target: Path, *, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise ExportError(f"{str(target)!r} is there already: choose another folder, or --overwrite to replace it")
    if not is_exported(target):
        raise ExportError(f"{str(target)!r} is not an exported folder, so it is not overwritten")
