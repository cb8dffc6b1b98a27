"""Paint: pictures of a column, from any subset of the other modalities and noise."""

from __future__ import annotations

import copy
from abc import abstractmethod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sensorium.data.batch import Aim
from sensorium.generation.averaging import moving_average
from sensorium.generation.painter import Painter
from sensorium.keyed import Draws
from sensorium.objectives.generative import Generative

DECAY = 0.999


class Paint(Generative):
    """A painter G(z_S, noise) of the pictures of one column, and the moving average of its weights, which is what is
    used.

    Args:
        to: the image modality that is made.
        painter: the network.
        weight: in the joint loss.
        rate: of its learning rate, relative to the rest of the model.

    Attributes:
        average: the averaged painter, in training; afterwards the painter is it, and this None.
    """

    def __init__(self, to: str, painter: Painter, *, weight: float = 1.0, rate: float = 1.0) -> None:
        super().__init__("paint", weight, to)
        self.painter = painter
        self.rate = rate
        self.average: Painter | None = None

    def begin(self) -> None:
        """Before training: what only training needs."""
        self.average = copy.deepcopy(self.painter).requires_grad_(False)

    def after_step(self, step: int) -> None:
        """After a step of the joint loss."""
        assert self.average is not None
        moving_average(self.average, self.painter, decay=DECAY, step=step)

    def finish(self) -> None:
        """After training: the average is the painter, what only training needs is gone."""
        if self.average is not None:
            self.painter.load_state_dict(self.average.state_dict())
            self.average = None

    def used(self) -> Painter:
        """What paints best."""
        return self.painter if self.average is None else self.average

    def pictures(self, aim: Aim, device: torch.device) -> Float[Tensor, "batch channel height width_px"]:
        """Real pictures in −1…1 at the painter's size, squashed to a square."""
        stacked = torch.from_numpy(np.stack(aim.arrays)).to(device).permute(0, 3, 1, 2).float()
        size = self.painter.size
        if stacked.shape[2:] != (size, size):
            stacked = F.interpolate(stacked, (size, size), mode="bilinear", antialias=True)
        return stacked / 127.5 - 1.0

    def noise(self, draws: Draws, purpose: str, device: torch.device) -> Float[Tensor, "batch ..."]:
        """Each row's own standard normal noise."""
        drawn = draws.normal(purpose, *self.painter.noise_shape)
        return torch.from_numpy(drawn.astype(np.float32)).to(device)

    def paint(
        self, vector: Float[Tensor, "batch width"], noise: Float[Tensor, "batch ..."], *, guidance: float | None,
    ) -> Float[Tensor, "batch channel height width_px"]:
        """Pictures in −1…1."""
        guidance = self.default_guidance if guidance is None else guidance
        return self.used().paint(vector, noise, guidance=guidance).clamp(-1.0, 1.0)

    @property
    @abstractmethod
    def default_guidance(self) -> float:
        """How closely pictures follow what they are made from, where nothing is asked for."""
