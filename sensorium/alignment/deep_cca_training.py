"""The training of deep CCA, every step written out: encoders, views, a loss, AdamW."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.alignment.deep_cca_views import Floats, View, rows_of
from sensorium.errors import AlignmentError
from sensorium.keyed import Draws

CorrelationLoss = Callable[[Sequence[Tensor]], Tensor]
WARM_UP = 0.1
INFERENCE_ROWS = 4096


@dataclass(frozen=True)
class DeepPlan:
    """How to train.

    Args:
        epochs: passes over the rows.
        batch_size: rows of a step.
        learning_rate: its peak.
        weight_decay: of matrices.
        seed: of the order of rows.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    seed: int


@dataclass
class DeepProgress:
    """What training went through: an entry an epoch, and the epoch (from 1) whose weights were kept."""

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0


class Standardise(nn.Module):
    """(x − mean) / scale with the training rows' mean of each feature and one scale for all of them."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Floats, scale: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))

    def forward(self, values: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch feature"]:
        """The standardised rows."""
        return (values.to(self.mean.dtype) - self.mean) / self.scale


def perceptron(view: View, hidden: Sequence[int], dims: int) -> nn.Sequential:
    """A multilayer perceptron for (row, feature) numbers, its first layer standardising as this view needs it."""
    values = np.asarray(view.detach().cpu() if isinstance(view, Tensor) else view, dtype=np.float64)
    mean, scale = values.mean(axis=0), float(np.sqrt(values.var(axis=0).mean()))
    layers: list[nn.Module] = [Standardise(mean, scale if scale > 0 else 1.0)]
    width = values.shape[1]
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, dims))


def train_encoders(
    encoders: nn.ModuleList, views: Sequence[View], loss: CorrelationLoss, plan: DeepPlan, *,
    device: torch.device, validate: Callable[[], float] | None = None,
) -> DeepProgress:
    """Train encoders in place so that their outputs correlate.

    The learning rate rises over the first tenth of the steps and falls to zero as a cosine. Each epoch visits every row
    once, in batches of equal size (± 1) that are no smaller than asked for, unless there are fewer rows.

    Args:
        encoders: one a view, each mapping rows of its view to (row, dims).
        views: rows aligned; floating numbers are given to the encoders as float32, others as they are.
        loss: of a batch's outputs.
        plan: how long and how fast.
        device: where the encoders are.
        validate: called after each epoch; the weights of its highest answer are kept. None: those of the last epoch.
    """
    rows = np.arange(len(views[0]), dtype=np.int64)
    steps_per_epoch = max(1, len(rows) // plan.batch_size)
    num_steps = plan.epochs * steps_per_epoch
    optimizer = _optimizer(encoders, plan)
    progress, best, best_score = DeepProgress(best_epoch=plan.epochs), None, -math.inf
    step = 0
    for epoch in range(plan.epochs):
        encoders.train()
        order = rows[Draws(plan.seed, epoch, rows).order("order")]
        losses = []
        for batch in np.array_split(order, steps_per_epoch):
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * rate((step + 0.5) / num_steps)
            outputs = [encoder(rows_of(view, batch, device)) for encoder, view in zip(encoders, views)]
            value = loss(outputs)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(value)
            optimizer.step()
            losses.append(value.detach())
            step += 1
        entry = {"epoch": float(epoch + 1), "loss": float(torch.stack(losses).mean())}
        if validate is not None:
            entry["validation"] = validate()
            if entry["validation"] > best_score:
                best_score, progress.best_epoch = entry["validation"], epoch + 1
                best = {name: value.clone() for name, value in encoders.state_dict().items()}
        progress.history.append(entry)
    if best is not None:
        encoders.load_state_dict(best)
    return progress


def rate(done: float) -> float:
    """The share of the peak learning rate when `done` of the steps (0 … 1) are over: up linearly, down as a cosine."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1.0 + math.cos(math.pi * (done - WARM_UP) / (1.0 - WARM_UP)))


def _optimizer(encoders: nn.ModuleList, plan: DeepPlan) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices and kernels only."""
    learned = [parameter for parameter in encoders.parameters() if parameter.requires_grad]
    if not learned:
        raise AlignmentError("deep CCA: the encoders have nothing to train; use CCA on their outputs")
    groups = [{"params": [p for p in learned if p.ndim >= 2], "weight_decay": plan.weight_decay},
              {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=plan.learning_rate, foreach=True)


def outputs_of(encoder: nn.Module, view: View, device: torch.device) -> Floats:
    """(row, dims) float64 outputs of an encoder in eval mode."""
    encoder.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(view), INFERENCE_ROWS):
            parts.append(encoder(rows_of(view, slice(start, start + INFERENCE_ROWS), device)).double().cpu().numpy())
    return np.concatenate(parts)


def paired_correlations(views: Sequence[npt.NDArray[np.floating]]) -> Floats:
    """(component,) correlation between the same component of two views, averaged over all pairs of views.

    Args:
        views: two or more, (row, component) each; a component that is constant in a view correlates 0.

    Example:
        >>> a = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]])
        >>> paired_correlations([a, -a]).round(6).tolist()
        [-1.0, -1.0]
    """
    unit = []
    for view in views:
        exact = np.asarray(view, dtype=np.float64)
        centred = exact - exact.mean(axis=0)
        length = np.sqrt(np.square(centred).sum(axis=0))
        varies = length > 1e-12 * np.sqrt(np.square(exact).sum(axis=0))
        unit.append(np.where(varies, centred / np.where(varies, length, 1.0), 0.0))
    return np.asarray(np.mean([(a * b).sum(axis=0) for a, b in combinations(unit, 2)], axis=0))
