"""The moving average of a model's weights, which paints better than the weights of any one step."""

from __future__ import annotations

import torch
from torch import nn


def moving_average(average: nn.Module, model: nn.Module, *, decay: float, step: int) -> None:
    """Move an average towards a model, in place: a ← d · a + (1 − d) · w, d = min(decay, (1 + step) / (10 + step)).

    The decay grows from 0.1, so that the average forgets the weights it began with. Buffers are copied.

    Args:
        average: a module with the same parameters and buffers as `model`.
        model: the model in training.
        decay: in 0…1.
        step: steps taken before this one.
    """
    kept = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, current in zip(average.parameters(), model.parameters(), strict=True):
            mean.lerp_(current.to(mean.dtype), 1.0 - kept)
        for kept_buffer, buffer in zip(average.buffers(), model.buffers(), strict=True):
            kept_buffer.copy_(buffer)
