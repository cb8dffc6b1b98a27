"""Flow matching: the loss of a velocity, and pictures by following it from noise.

A picture and noise are joined by a straight line, x_t = (1 − t) x_0 + t x_1 with x_0 the noise and x_1 the picture; the
velocity at (x_t, t) is the mean of x_1 − x_0 over all lines that pass there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor

Velocity = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(x_t, time (batch,), condition, dropped (batch,) bool) → the velocity, of x_t's shape."""


def flow_losses(
    velocity: Velocity, pictures: Float[Tensor, "batch channel height width_px"],
    condition: Float[Tensor, "batch width"], noise: Float[Tensor, "batch channel height width_px"],
    time: Float[Tensor, "batch"], dropped: Bool[Tensor, "batch"],
) -> Float[Tensor, "batch"]:
    """mean over pixels of ‖v(x_t, t, c) − (x_1 − x_0)‖², of each row.

    Args:
        velocity: a `PictureFlow`, or any function like it.
        pictures: x_1, in −1…1.
        condition: c.
        noise: x_0, standard normal.
        time: t in 0…1: 0 is noise, 1 the picture.
        dropped: rows that are shown no condition, so that guidance is possible: one in ten.

    Source: Lipman et al. 2023, "Flow matching for generative modelling", equation 23 with σ_min = 0; Liu et al. 2023.
    """
    at = rearrange(time, "batch -> batch 1 1 1")
    found = velocity(torch.lerp(noise, pictures, at), time, condition, dropped)
    return reduce((found - (pictures - noise)).square(), "batch channel height width_px -> batch", "mean")


def middling_times(normal: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    """Times that are seldom near 0 or 1, where the velocity is easy: sigmoid of standard normal numbers.

    Source: Esser et al. 2024, "Scaling rectified flow transformers", section 3.1, with location 0 and scale 1.
    """
    return torch.sigmoid(normal)


@torch.no_grad()
def flow_sample(
    velocity: Velocity, condition: Float[Tensor, "batch width"], noise: Float[Tensor, "batch channel height width_px"],
    *, steps: int, guidance: float = 1.0,
) -> Float[Tensor, "batch channel height width_px"]:
    """Follow the velocity from noise to a picture by Heun's method: a step, then the mean of both ends' velocities.

    With v = v(no condition) + guidance · (v(condition) − v(no condition)), guidance 1 is the condition alone, 0 none of
    it, more than 1 more than was learned. The last step is a plain one, so there are 2 · steps − 1 velocities, twice as
    many where guidance is neither 0 nor 1.

    Args:
        velocity: as in `flow_losses`.
        condition: what to paint.
        noise: standard normal.
        steps: of equal length, 1 or more.
        guidance: how closely to follow the condition.

    Returns:
        Pictures, cut to −1…1.

    Source: Karras et al. 2022, algorithm 1, for straight lines; Ho and Salimans 2022, "Classifier-free guidance", in
    whose equation 6 the weight is guidance − 1.
    """
    guided = _guided(velocity, condition, guidance)
    pictures = noise
    for step in range(steps):
        before, after = step / steps, (step + 1) / steps
        slope = guided(pictures, before)
        ahead = pictures + (after - before) * slope
        if step < steps - 1:
            ahead = pictures + (after - before) * 0.5 * (slope + guided(ahead, after))
        pictures = ahead
    return pictures.clamp(-1.0, 1.0)


def _guided(velocity: Velocity, condition: Tensor, guidance: float) -> Callable[[Tensor, float], Tensor]:
    """The velocity at a time, with the condition, without it, or beyond it."""
    none = torch.zeros(len(condition), dtype=torch.bool, device=condition.device)
    twice, both = torch.cat([condition, condition]), torch.cat([none, ~none])

    def at(pictures: Tensor, time: float) -> Tensor:
        times = condition.new_full((len(condition),), time)
        if guidance in (0.0, 1.0):
            return velocity(pictures, times, condition, none if guidance == 1.0 else ~none)
        told, untold = velocity(torch.cat([pictures, pictures]), times.repeat(2), twice, both).chunk(2)
        return untold + guidance * (told - untold)

    return at
