"""How loudly each modality speaks: held-out rows turn down a modality that misleads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sensorium.data.batch import TargetValues, make_batch
from sensorium.data.samples import Samples
from sensorium.fusion.base import Fused
from sensorium.model import INFERENCE_BATCH, Model
from sensorium.objectives import Predictor

VOLUMES = (0.5, 0.25, 0.1)
SIGNIFICANT = 2.0


def turn_down(model: Model, samples: Samples, rows: npt.NDArray[np.int64]) -> dict[str, float]:
    """Set the fusion's volumes, on rows that the model was not trained on.

    Training cannot tell evidence from what it has memorised; rows held out can. One modality after the other, the
    volume that lowers the joint loss most is taken, as long as the paired difference is more than two standard errors
    from 0; otherwise everything stays at 1. Heads are linear in the voices, so this costs one pass over the rows.

    Args:
        model: its fusion's `volume` is changed; fusions without voices are left alone.
        samples: the decoded table.
        rows: held-out rows; those with one modality are not looked at.

    Returns:
        modality → volume, for those that were turned down.
    """
    rows = rows[samples.presence[rows].sum(axis=1) > 1]
    heard = _heard(model, samples, rows)
    names = model.schema.names
    if heard is None:
        return {}
    volume = torch.ones(len(names))
    losses = _row_losses(model, heard, volume)
    while True:
        best: tuple[float, Tensor, Tensor] | None = None
        for place in range(len(names)):
            for lower in (v for v in VOLUMES if v < float(volume[place])):
                trial = volume.clone()
                trial[place] = lower
                gain = losses - _row_losses(model, heard, trial)
                error = float(gain.std()) / len(gain) ** 0.5
                mean = float(gain.mean())
                if mean > SIGNIFICANT * error + 1e-9 and (best is None or mean > best[0]):
                    best = (mean, trial, losses - gain)
        if best is None:
            break
        _, volume, losses = best
    model.fusion.volume.copy_(volume)
    return {name: float(v) for name, v in zip(names, volume, strict=True) if v < 1}


class _Heard:
    """For one objective: outputs without any voice (row, output), each voice's part (row, modality, output), truth."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.silence: list[Tensor] = []
        self.voices: list[Tensor] = []
        self.truth: list[TargetValues] = []

    def add(self, fused: Fused, kept: Tensor, truth: TargetValues) -> None:
        """Take in a batch."""
        assert fused.voices is not None
        self.silence.append(self.predictor.outputs(Fused(fused.vector - fused.voices.sum(dim=1))))
        nothing = self.predictor.outputs(Fused(torch.zeros_like(fused.vector)))
        self.voices.append(torch.stack([self.predictor.outputs(Fused(voice)) - nothing
                                        for voice in fused.voices.unbind(dim=1)], dim=1))
        self.truth.append(TargetValues(truth.values[kept], truth.mask[kept]))


def _heard(model: Model, samples: Samples, rows: npt.NDArray[np.int64]) -> list[_Heard] | None:
    """Every objective's parts of the rows, at volume 1; None where there is nothing to hear."""
    model.eval()
    model.fusion.volume.fill_(1.0)
    heard = [_Heard(predictor) for predictor in model.objectives()]
    with torch.inference_mode():
        for start in range(0, len(rows), INFERENCE_BATCH):
            batch = make_batch(samples, rows[start : start + INFERENCE_BATCH]).to(model.device)
            view = model.view(model.encode(batch))
            for one in heard:
                fused, kept = view.restricted(one.predictor).fuse()
                if fused is not None and fused.voices is None:
                    return None
                if fused is not None:
                    one.add(fused, kept, batch.targets[one.predictor.name])
    return heard if len(rows) > 1 and all(one.voices for one in heard) else None


def _row_losses(model: Model, heard: list[_Heard], volume: Tensor) -> Tensor:
    """(row,) the weighted losses of all objectives at these volumes; unlabelled ones are 0."""
    total = torch.zeros(())
    with torch.inference_mode():
        for one in heard:
            voices = torch.cat(one.voices)
            outputs = torch.cat(one.silence) + torch.einsum("rmo,m->ro", voices, volume.to(voices))
            losses = one.predictor.losses(outputs.float(), torch.cat([t.values for t in one.truth]))
            mask = torch.cat([t.mask for t in one.truth])
            total = total.to(losses) + one.predictor.weight * torch.where(mask, losses, 0.0)
    return total
