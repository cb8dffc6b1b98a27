"""Attribution: how much each token of a row moved the model's answer, by integrated gradients through fusion and head.

Explained is the calibrated log-probability of a class, in bits, or a number in its own unit. The attributions of a
row's tokens add up to its value minus that of neutral tokens in their places (`training/typical.py`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sensorium.data.batch import Batch, make_batch
from sensorium.data.read import Data, as_samples
from sensorium.data.samples import Samples
from sensorium.data.schema import Target
from sensorium.encoders.base import Tokens
from sensorium.errors import DataError, RecipeError, unknown_name
from sensorium.evaluation.integrated_gradients import Function, integrated
from sensorium.model import Model
from sensorium.objectives import Encoded, Predictor
from sensorium.training.typical import typical_tokens

Floats = npt.NDArray[np.float64]
ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class TokenAttribution:
    """What each token of one modality of a row did. Padding is left out: every token is a real one.

    Args:
        values: (token,) bits, or the number's unit.
        span: (token, 2 or 4) where or when each token is, as its encoder says: a box in 0…1, seconds, character
            offsets, the table's column, x and y of a cloud; None where the encoder knows no places.
        cell: (token,) which of the row's cells it is from, 0 but for lists.
    """

    values: Floats
    span: Floats | None
    cell: npt.NDArray[np.int64]

    @property
    def total(self) -> float:
        """What the whole modality did."""
        return float(self.values.sum())


@dataclass(frozen=True)
class Attribution:
    """Why a row was answered as it was.

    Args:
        row: its number in the table, from 0.
        target: the target that is explained.
        class_: the class that is explained; None for numbers.
        unit: "bits" for classes, "" (the number's own unit) for numbers.
        value: log₂ of the calibrated probability of the class, or the predicted number.
        baseline: the same for neutral tokens in place of the row's: about the class's frequency, or the mean.
        tokens: modality → attribution; absent modalities, and those not to be read, are not there.
        points: how many points of the path were looked at.
    """

    row: int
    target: str
    class_: str | None
    unit: str
    value: float
    baseline: float
    tokens: dict[str, TokenAttribution]
    points: int

    @property
    def totals(self) -> dict[str, float]:
        """Modality → the sum over its tokens."""
        return {name: one.total for name, one in self.tokens.items()}

    @property
    def error(self) -> float:
        """How far the attributions are from adding up: Σ − (value − baseline)."""
        return sum(self.totals.values()) - (self.value - self.baseline)


def attribute(
    model: Model | str | Path, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Data | Samples | str | Path, *,
    target: str | None = None, class_: str | None = None, modalities: Collection[str] | None = None,
    numbers: npt.NDArray[np.int64] | None = None, steps: int = 16, tolerance: float = 1e-3, root: str | Path = ".",
) -> Any:
    """How much every token of every modality moved the answer: integrated gradients from neutral tokens.

    Args:
        model: a trained model, or its folder.
        rows: one row as a dictionary, several, data from `sensorium.read`, decoded samples, or the path of a table.
        target: which target; the only one, or the first, where None.
        class_: the class to explain; each row's answered one where None.
        modalities: use only these; all that are there where None.
        numbers: (row,) row numbers; all rows where None.
        steps: points of the path to begin with; pieces of it that do not add up are halved until they do.
        tolerance: |Σ − (f(x) − f(b))| at most this, relative where the difference is above 1.
        root: the folder that paths in dictionaries start from.

    Returns:
        For one dictionary an Attribution; else a list with one for each row, None where nothing is readable.

    Raises:
        DataError: the model predicts nothing, or nothing is readable in the one row.
        RecipeError: an unknown target, class or modality.

    Example: sensorium.attribute(model, {"photo": "a.jpg", "note": "dry cough"}).totals
    """
    model = model if isinstance(model, Model) else Model.load(model)
    chosen = explained_target(model, target, class_)
    samples = rows if isinstance(rows, Samples) else as_samples(rows, model.schema, root=root)
    places = np.arange(len(samples)) if numbers is None else numbers
    found = attributions(model, samples, places, target=chosen, classes=None if class_ is None else [
        chosen.classes.index(class_)] * len(places), modalities=modalities, steps=steps, tolerance=tolerance)
    if not isinstance(rows, Mapping):
        return found
    if found[0] is None:
        raise DataError(f"nothing to explain: the row has none of {', '.join(model.schema.names)}")
    return found[0]


def explained_target(model: Model, name: str | None, class_: str | None = None) -> Target:
    """The target of this name, or the first. Raises where there is none, or no such class."""
    if not model.schema.targets:
        raise DataError("nothing to explain: the model was trained without a target, to embed")
    by_name = {target.name: target for target in model.schema.targets}
    if name is not None and name not in by_name:
        raise RecipeError(str(unknown_name("target", name, list(by_name))))
    target = model.schema.targets[0] if name is None else by_name[name]
    if class_ is not None and class_ not in target.classes:
        raise RecipeError(str(unknown_name("class", class_, list(target.classes))) if target.classes else
                          f"target {target.name!r} is a number: it has no class {class_!r}")
    return target


def attributions(
    model: Model, samples: Samples, rows: npt.NDArray[np.int64], *, target: Target,
    classes: Sequence[int] | None = None, modalities: Collection[str] | None = None, steps: int = 16,
    tolerance: float = 1e-3,
) -> list[Attribution | None]:
    """`attribute` for rows of a decoded table; `classes` (row,) are class numbers, the answered ones where None."""
    if steps < 1 or not tolerance > 0:
        raise RecipeError(f"attribution needs steps ≥ 1 and a tolerance above 0; found {steps} and {tolerance}")
    usable = torch.tensor([modalities is None or name in modalities for name in model.schema.names])
    for name in modalities or ():
        if name not in model.schema.names:
            raise RecipeError(str(unknown_name("modality", name, list(model.schema.names))))
    predictor = next(one for one in model.objectives() if one.name == target.name)
    missing = [name for name in model.schema.names if name not in model.typical]
    typical = {**(typical_tokens(model, samples, rows) if missing else {}), **model.typical}
    found: list[Attribution | None] = []
    model.eval()
    for start in range(0, len(rows), ROWS_AT_ONCE):
        batch = make_batch(samples, rows[start : start + ROWS_AT_ONCE]).to(model.device)
        wanted = None if classes is None else torch.tensor(classes[start : start + ROWS_AT_ONCE])
        found += _explained_batch(model, batch, predictor, target, wanted, usable, typical, steps, tolerance)
    return found


@dataclass(frozen=True)
class _Paths:
    """Where the paths of some rows begin and end; everything that may not be read is 0 and masked.

    Args:
        kept: (row,) their positions in the batch: the rows that have something to read.
        presence: (row, modality) what may be read.
        ends: modality → tokens.
        starts: modality → (row, token, width).
        cells: modality → (token,) which of a row's cells a token is from.
    """

    kept: Tensor
    presence: Tensor
    ends: dict[str, Tokens]
    starts: dict[str, Tensor]
    cells: dict[str, Tensor]


def _paths(encoded: Encoded, batch: Batch, presence: Tensor, typical: Mapping[str, Tensor]) -> _Paths:
    """The paths of the rows of which the presence leaves something."""
    kept = presence.any(dim=1).nonzero()[:, 0]
    found = _Paths(kept, presence[kept], {}, {}, {})
    for column, (name, tokens) in enumerate(encoded.tokens.items()):
        mask = tokens.mask[kept] & found.presence[:, column, None]
        if not bool(mask.any()):
            continue
        token = torch.arange(mask.shape[1])
        length = mask.shape[1] // batch.inputs[name].cells.shape[1]
        start = typical[name][(token % length).clamp(max=len(typical[name]) - 1)].to(mask.device)
        found.ends[name] = Tokens(torch.where(mask[:, :, None], tokens.values[kept], 0.0).float(), mask,
                                  None if tokens.span is None else tokens.span[kept])
        found.starts[name] = torch.where(mask[:, :, None], start, 0.0)
        found.cells[name] = token // length
    return found


def _explained_batch(
    model: Model, batch: Batch, predictor: Predictor, target: Target, classes: Tensor | None, usable: Tensor,
    typical: Mapping[str, Tensor], steps: int, tolerance: float,
) -> list[Attribution | None]:
    with torch.no_grad():
        encoded = model.encode(batch)
    view = model.view(encoded).restricted(predictor)
    paths = _paths(encoded, batch, view.allowed(encoded.presence & usable.to(encoded.presence.device)), typical)
    found: list[Attribution | None] = [None] * len(batch)
    if len(paths.kept) == 0:
        return found
    every = _explained(model, predictor, target, paths)
    ends = {name: one.values for name, one in paths.ends.items()}
    if classes is None:
        with torch.no_grad():
            which = every(ends, torch.arange(len(paths.kept), device=paths.kept.device)).argmax(dim=1)
    else:
        which = classes.to(paths.kept.device)[paths.kept]

    def explained(points: dict[str, Tensor], index: Tensor) -> Tensor:
        return every(points, index).gather(1, which[index, None])[:, 0]

    path = integrated(explained, paths.starts, ends, steps=steps, tolerance=tolerance)
    for number, place in enumerate(paths.kept.tolist()):
        found[place] = Attribution(
            int(batch.rows[place]), target.name, target.classes[int(which[number])] if target.classes else None,
            "bits" if target.task == "classify" else "", float(path.end[number]), float(path.start[number]),
            {name: _of_tokens(tokens, paths.cells[name], path.tokens[name], number)
             for name, tokens in paths.ends.items() if bool(tokens.mask[number].any())}, int(path.points[number]))
    return found


def _of_tokens(tokens: Tokens, cells: Tensor, values: Tensor, row: int) -> TokenAttribution:
    """One row's real tokens."""
    real = tokens.mask[row].cpu()
    return TokenAttribution(values[row].cpu()[real].numpy(),
                            None if tokens.span is None else tokens.span[row].double().cpu()[real].numpy(),
                            cells[real].numpy())


def _explained(model: Model, predictor: Predictor, target: Target, paths: _Paths) -> Function:
    """Tokens of some points of the paths, and which row each is of → (point, output) float64."""
    temperature = model.temperatures[target.name]

    def explained(points: dict[str, Tensor], index: Tensor) -> Tensor:
        tokens = {name: Tokens(points[name], one.mask[index], None if one.span is None else one.span[index])
                  for name, one in paths.ends.items()}
        view = model.view(Encoded(tokens, paths.presence[index])).restricted(predictor)
        fused, _ = view.fuse()
        assert fused is not None
        outputs = predictor.outputs(fused).double()
        if target.task == "classify":
            return torch.log_softmax(outputs / temperature, dim=1) / math.log(2.0)
        return outputs * target.std + target.mean

    return explained


__all__ = ["Attribution", "TokenAttribution", "attribute", "attributions"]
