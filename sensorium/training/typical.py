"""Typical tokens: what a modality's encoder says on average, moved until it says nothing about any target: the baseline
from which attribution starts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sensorium.answers import prior_of
from sensorium.data.batch import make_batch
from sensorium.data.samples import Samples
from sensorium.encoders.base import Tokens
from sensorium.model import Model
from sensorium.objectives import Encoded
from sensorium.placing import encoded_cells

MOST_ROWS = 512
MOST_POSITIONS = 256
FEWEST_CELLS = 8
ROWS_AT_ONCE = 128
MOST_SHOWN = 64
SHIFT_STEPS, SHIFT_RATE, SHIFT_PENALTY = 80, 0.05, 1e-3


def typical_tokens(model: Model, samples: Samples, rows: npt.NDArray[np.int64]) -> dict[str, Tensor]:
    """The mean token at each place of a cell (a part of the picture, a column, the third token of a text …), neutral.

    A token that is the same in every row, because of where it is, is then nearly its own baseline. Places that fewer
    than 8 cells have get the mean of all tokens. A mean of tokens is no token, and fusions make something definite of
    it; so they are shifted, most where tokens differ most between rows, until the model answers by the training
    frequencies (or the mean).

    Args:
        model: whose encoders are asked.
        samples: a decoded table.
        rows: (row,) row numbers, training rows best; at most 512 of them, evenly chosen, are read.

    Returns:
        modality → (place + 1, width) float32; the last one is the mean of all tokens, for whatever lies beyond. A
        modality that none of the rows has is left out.
    """
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(MOST_ROWS, len(rows))).astype(int))]
    sums: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    model.eval()
    with torch.no_grad():
        for start in range(0, len(chosen), ROWS_AT_ONCE):
            batch = make_batch(samples, chosen[start : start + ROWS_AT_ONCE], unread=model.unread).to(model.device)
            for name, encoder in zip(model.schema.names, model.encoders, strict=True):
                if name in batch.inputs:
                    _add(sums, counts, name, encoded_cells(encoder, batch.inputs[name]))
    known = [name for name in sums if float(counts[name].sum()) > 0]
    means = {name: _means(sums[name][0], counts[name]) for name in known}
    if not means or not model.schema.targets:
        return means
    return neutral(model, means, {name: (_means(sums[name][1], counts[name]) - means[name].square()).clamp(
        min=0.0).sqrt() for name in known})


def neutral(model: Model, means: dict[str, Tensor], deviations: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tokens shifted by one vector a modality, in units of the deviations at each place, so that every modality alone
    and all together say as little as may be.

    Minimised is the cross-entropy to the training frequencies (for numbers the squared standardised output), summed
    over those subsets, plus a small multiple of the shifts' mean squares.

    Args:
        model: calibrated.
        means, deviations: modality → (place + 1, width), over training rows.
    """
    names = model.schema.names
    alone = torch.eye(len(names), dtype=torch.bool, device=model.device)
    known = torch.tensor([name in means for name in names], device=model.device)
    presence = torch.cat([known[None], alone[known]]) & known
    shown = {name: one[: max(1, min(MOST_SHOWN, len(one) - 1))].to(model.device) for name, one in means.items()}
    spread = {name: deviations[name][: len(one)].to(model.device) for name, one in shown.items()}
    masks = {name: presence[:, names.index(name), None].expand(-1, len(one)) for name, one in shown.items()}
    priors = {target.name: torch.from_numpy(prior_of(target, balance=model.recipe.training.balance)).to(
        model.device, torch.float32) for target in model.schema.targets}
    shifts = {name: torch.zeros(one.shape[1], device=model.device, requires_grad=True) for name, one in shown.items()}
    optimizer = torch.optim.Adam(shifts.values(), lr=SHIFT_RATE)
    for _ in range(SHIFT_STEPS):
        tokens = {name: Tokens((one + shifts[name] * spread[name]).expand(len(presence), -1, -1), masks[name])
                  for name, one in shown.items()}
        view = model.view(Encoded(tokens, presence), impute=False)
        loss = SHIFT_PENALTY * torch.stack([shift.square().mean() for shift in shifts.values()]).sum()
        for target, predictor in zip(model.schema.targets, model.objectives(), strict=True):
            fused, _ = view.restricted(predictor).fuse()
            if fused is not None:
                outputs = predictor.outputs(fused).float() / model.temperatures[target.name]
                loss = loss + (outputs.square().sum() if target.task == "regress" else
                               -(priors[target.name] * torch.log_softmax(outputs, dim=1)).sum())
        for shift, gradient in zip(shifts.values(), torch.autograd.grad(loss, list(shifts.values()), allow_unused=True),
                                   strict=True):
            shift.grad = gradient
        optimizer.step()
    moved = {name: (one + shifts[name].detach().to(one) * deviations[name]).contiguous() for name, one in means.items()}
    return moved if all(bool(torch.isfinite(one).all()) for one in moved.values()) else means


def _add(sums: dict[str, Tensor], counts: dict[str, Tensor], name: str, tokens: Tokens) -> None:
    """Add a batch's cells to sums of values and squares (2, place, width); the last place takes all beyond it.
    """
    values = torch.where(tokens.mask[:, :, None], tokens.values, 0.0).double()
    moments = torch.stack([values.sum(dim=0), values.square().sum(dim=0)]).cpu()
    number = tokens.mask.double().sum(dim=0).cpu()
    if name not in sums:
        sums[name] = moments.new_zeros(2, MOST_POSITIONS + 1, values.shape[2])
        counts[name] = number.new_zeros(MOST_POSITIONS + 1)
    place = torch.arange(len(number)).clamp(max=MOST_POSITIONS)
    sums[name].index_add_(1, place, moments)
    counts[name].index_add_(0, place, number)


def _means(sums: Tensor, counts: Tensor) -> Tensor:
    everywhere = sums.sum(dim=0) / counts.sum()
    known = counts >= FEWEST_CELLS
    known[MOST_POSITIONS] = False
    last = int(known.nonzero().max()) + 1 if bool(known.any()) else 0
    means = torch.where(known[:, None], sums / counts.clamp(min=1.0)[:, None], everywhere)
    return torch.cat([means[:last], everywhere[None]]).float()
