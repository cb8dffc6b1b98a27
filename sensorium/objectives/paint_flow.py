"""Paint by flow matching: a network that says which way noise has to go to become a picture."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.batch import Aim
from sensorium.generation.flow import flow_losses, middling_times
from sensorium.generation.picture_flow import PictureFlow
from sensorium.keyed import Draws
from sensorium.objectives.generative import Condition
from sensorium.objectives.paint import Paint

DROPPED = 0.1
TIMES = 4


class PaintFlow(Paint):
    """L = ‖v(x_t, t, z_S) − (x_1 − x_0)‖², x_t = (1 − t) x_0 + t x_1, x_0 noise, x_1 a picture (Lipman et al. 2023).

    A tenth of the conditions are dropped, so that guidance can weigh the condition more in use (Ho and Salimans 2022).

    Args:
        to: the image modality that is made.
        width: of the fused vector.
        size, channels: of the pictures.
        base: channels of the network at the full side.
        weight: in the joint loss.
        rate: of its learning rate, relative to the rest of the model.
    """

    def __init__(
        self, to: str, width: int, *, size: int, channels: int, base: int = 48, weight: float = 1.0, rate: float = 1.0,
    ) -> None:
        super().__init__(to, PictureFlow(width, size=size, channels=channels, base=base), weight=weight, rate=rate)

    @property
    def default_guidance(self) -> float:
        """2: the condition counts twice."""
        return 2.0

    def losses(self, condition: Condition, aim: Aim, draws: Draws) -> Float[Tensor, "batch"]:
        """Each row's squared error at one moment and one noise."""
        device = condition.vector.device
        noise = self.noise(draws, "paint/noise", device)
        time = middling_times(torch.from_numpy(draws.normal("paint/time")).float().to(device))
        dropped = torch.from_numpy(draws.uniform("paint/drop") < DROPPED).to(device)
        return flow_losses(self.painter, self.pictures(aim, device), condition.vector, noise, time, dropped)

    def judge(
        self, condition: Condition, aim: Aim, draws: Draws,
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
        """Each row's mean squared error at four moments, of the averaged network; no score."""
        device = condition.vector.device
        pictures = self.pictures(aim, device)
        never = torch.zeros(len(pictures), dtype=torch.bool, device=device)
        drawn = torch.from_numpy(draws.uniform("judge/time")).float().to(device)
        losses = [flow_losses(self.used(), pictures, condition.vector, self.noise(draws, f"judge/noise {turn}", device),
                              (turn + drawn) / TIMES, never) for turn in range(TIMES)]
        mean = torch.stack(losses).mean(dim=0)
        return mean, torch.full_like(mean, torch.nan)
