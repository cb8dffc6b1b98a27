"""The model folder: what a run leaves. Safetensors, YAML and JSON; loading it executes no code from it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from sensorium.alignment.linear import LinearAlignment
from sensorium.card import model_card
from sensorium.data.kinds import TextKind
from sensorium.data.schema import Schema
from sensorium.encoders.base import StagedEncoder
from sensorium.errors import ModelFolderError, SensoriumError
from sensorium.fusion.base import Fusion
from sensorium.fusion.imputation import Imputer
from sensorium.metrics.conformal import Conformal
from sensorium.metrics.familiarity import Familiarity
from sensorium.model import Model, encoder_folder
from sensorium.objectives import Objective
from sensorium.recipe import Recipe
from sensorium.runtime.manifest import is_exported

FORMAT = 2
WEIGHTS, RECIPE, SCHEMA, FACTS, REPORT, CARD = (
    "model.safetensors", "recipe.yaml", "schema.json", "metrics.json", "report.html", "README.md")
TYPICAL = "typical.safetensors"
PICTURES = "pictures.png"
FAMILIAR = "familiar.safetensors"


def save_model(model: Model, folder: str | Path, *, report: str | None = None, overwrite: bool = False) -> Path:
    """Write a model folder. It appears whole or not at all: written beside, then renamed.

    Args:
        model: any model.
        folder: where; it must not exist, unless `overwrite` and it is a model folder.
        report: the HTML report to keep with it.
        overwrite: replace a model folder that is there.

    Raises:
        ModelFolderError: something is there already.
    """
    target = Path(folder)
    refuse_taken(target, overwrite=overwrite)
    with whole_folder(target) as part:
        _write(model, part, report)
    return target


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A new folder beside the target, which takes its place at the end; after an error nothing is left of it.

    What was there goes only when the new folder is in its place.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.saving-", dir=target.parent))
    try:
        yield part
        os.chmod(part, 0o755)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
            os.replace(target, old / "old")
            os.replace(part, target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(part, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def refuse_taken(target: Path, *, overwrite: bool) -> None:
    """Raise ModelFolderError where writing a model folder would destroy something."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise ModelFolderError(f"{str(target)!r} is there already: choose another --out, or --overwrite to replace it")
    if not (target / WEIGHTS).exists():
        raise ModelFolderError(f"{str(target)!r} is not a model folder, so it is not overwritten")


def _write(model: Model, part: Path, report: str | None) -> None:
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    save_file(tensors, part / WEIGHTS)
    if model.typical:
        save_file({name: value.cpu().contiguous() for name, value in model.typical.items()}, part / TYPICAL)
    if model.familiar is not None:
        save_arrays(model.familiar.arrays(), part / FAMILIAR)
    (part / RECIPE).write_text(model.recipe.to_yaml(), encoding="utf-8")
    (part / SCHEMA).write_text(model.schema.model_dump_json(indent=1), encoding="utf-8")
    for number, modality in enumerate(model.schema.modalities):
        if isinstance(modality.kind, TextKind) and modality.kind.tokenizer is not None:
            (part / _tokenizer_file(number)).write_text(modality.kind.tokenizer, encoding="utf-8")
    for name, words in model.schema.words.items():
        (part / _words_file(model.schema.names.index(name))).write_text(words, encoding="utf-8")
    for number, encoder in enumerate(model.encoders):
        if isinstance(encoder, StagedEncoder):
            encoder.save_config(part / encoder_folder(number))
    facts = {"format": FORMAT, "fusion_given": model.fusion_given,
             "objectives_given": [type(one).__name__ for one in model.other_objectives() if not one.training_only],
             "alignment": None if model.alignment is None else {
                 "widths": dict(model.alignment.widths), "width": model.alignment.width},
             "imputer": None if model.imputer is None else model.imputer.to_json(),
             "temperatures": model.temperatures,
             "conformal": {name: one.to_json() for name, one in model.conformal.items()},
             "familiar": None if model.familiar is None else model.familiar.to_json(),
             "facts": model.facts, "history": model.history}
    (part / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    (part / CARD).write_text(model_card(model.schema, model.recipe, model.facts), encoding="utf-8")
    if model.course:
        (part / PICTURES).write_bytes(model.course)
    if report is not None:
        (part / REPORT).write_text(report, encoding="utf-8")


def _tokenizer_file(number: int) -> str:
    return f"tokenizer_{number}.json"


def _words_file(number: int) -> str:
    return f"words_{number}.json"


def load_model(
    folder: str | Path, *, fusion: Fusion | None = None, objectives: Sequence[Objective] = (),
) -> Model:
    """Read a model folder.

    Args:
        folder: written by `save_model`.
        fusion: a fresh fusion of the same make, where the model was made with a fusion object.
        objectives: fresh ones of the same make, where the model was made with objectives as objects.

    Raises:
        ModelFolderError: it is missing, incomplete, broken, or of another format.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ModelFolderError(f"no model folder at {str(folder)!r}")
    lacking = [name for name in (WEIGHTS, RECIPE, SCHEMA, FACTS) if not (path / name).is_file()]
    if lacking and is_exported(path):
        raise ModelFolderError(f"{str(folder)!r} is an exported model, not a model folder: `sensorium predict` and "
                               f"`sensorium serve --onnx` take it; for all else name the run it was made of")
    if lacking:
        raise ModelFolderError(f"{str(folder)!r} is not a model folder: it lacks {', '.join(lacking)}")
    try:
        kept: dict[str, Any] = json.loads((path / FACTS).read_text(encoding="utf-8"))
        if kept.get("format") != FORMAT:
            raise ModelFolderError(f"{str(folder)!r} has format {kept.get('format')!r}; this version reads {FORMAT}")
        recipe = Recipe.read(path / RECIPE)
        schema = _with_tokenizers(Schema.model_validate_json((path / SCHEMA).read_text(encoding="utf-8")), path)
        if kept["fusion_given"] and fusion is None:
            raise ModelFolderError(f"{str(folder)!r} was trained with a fusion object: pass one of the same make, "
                                   f"Model.load(folder, fusion=...)")
        lacking = kept.get("objectives_given", [])
        if len(lacking) != len(objectives):
            raise ModelFolderError(f"{str(folder)!r} was trained with {len(lacking)} objectives as objects "
                                   f"({', '.join(lacking) or 'none'}), {len(objectives)} are given: pass the same, "
                                   f"Model.load(folder, objectives=[...])")
        model = Model(schema, recipe, fusion=fusion, objectives=objectives, saved=path)
        if kept.get("alignment") is not None:
            model.alignment = LinearAlignment(kept["alignment"]["widths"], kept["alignment"]["width"])
        if kept.get("imputer") is not None:
            model.imputer = Imputer.from_json(kept["imputer"], schema.names, recipe.model.width, model.fusion.timed)
        model.load_state_dict(load_file(path / WEIGHTS))
        model.typical = load_file(path / TYPICAL) if (path / TYPICAL).is_file() else {}
        model.temperatures = {str(name): float(value) for name, value in kept["temperatures"].items()}
        model.conformal = {str(name): Conformal.from_json(one) for name, one in kept["conformal"].items()}
        if kept.get("familiar") is not None:
            model.familiar = Familiarity.restored(schema.names, kept["familiar"], load_arrays(path / FAMILIAR))
        model.facts, model.history = kept["facts"], kept["history"]
        model.course = (path / PICTURES).read_bytes() if (path / PICTURES).is_file() else b""
    except SensoriumError:
        raise
    except (OSError, ValueError, KeyError, ValidationError, SafetensorError, RuntimeError) as error:
        raise ModelFolderError(f"the model folder {str(folder)!r} is broken: {str(error).splitlines()[0]}") from error
    return model.eval()


def load_schema(folder: str | Path) -> Schema:
    """Only the schema of a model folder, without its tokenizers. Raises ModelFolderError."""
    path = Path(folder)
    if not (path / WEIGHTS).is_file():
        raise ModelFolderError(f"no model folder at {str(folder)!r}")
    try:
        return Schema.model_validate_json((path / SCHEMA).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"the model folder {str(folder)!r} is broken: {str(error).splitlines()[0]}") from error


def _with_tokenizers(schema: Schema, path: Path) -> Schema:
    modalities = []
    for number, modality in enumerate(schema.modalities):
        if isinstance(modality.kind, TextKind):
            text = (path / _tokenizer_file(number)).read_text(encoding="utf-8")
            modality = modality.model_copy(update={"kind": modality.kind.model_copy(update={"tokenizer": text})})
        modalities.append(modality)
    words = {name: (path / _words_file(number)).read_text(encoding="utf-8") for number, name in enumerate(schema.names)
             if (path / _words_file(number)).is_file()}
    return schema.model_copy(update={"modalities": tuple(modalities), "words": words})
