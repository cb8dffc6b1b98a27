"""How sharply similarities are told apart: a learned temperature, kept as the logarithm of its inverse."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.errors import AlignmentError

LARGEST_LOG_SCALE = math.log(100.0)


class Temperature(nn.Module):
    """Owns t; the losses take its inverse temperature, scale = exp(t) = 1 / temperature.

    t is a number without axes, so that an optimiser that decays matrices only leaves it alone. Call `clamp_` after each
    step of the optimiser: it keeps t in [0, ln 100], that is the temperature in [.01, 1].

    Args:
        initial: the temperature to begin with, in .01…1: .07 for `info_nce` (CLIP), .1 for `siglip`.
        bias: what `siglip` adds to the logits at first, learned too; −10 in the paper. None: no bias.

    Raises:
        AlignmentError: a temperature out of range.

    Example:
        >>> temperature = Temperature(0.1, bias=-10.0)
        >>> round(temperature().item(), 4), temperature.bias.item()
        (10.0, -10.0)

    Source: Radford et al. 2021, "Learning transferable visual models from natural language supervision", section 2.5;
    Zhai et al. 2023, "Sigmoid loss for language image pre-training", section 3.2. Deviation: t is never below 0.
    """

    bias: nn.Parameter | None

    def __init__(self, initial: float = 0.07, *, bias: float | None = None) -> None:
        super().__init__()
        if not 0.01 <= initial <= 1.0:
            raise AlignmentError(f"a temperature is in 0.01…1, found {initial!r}")
        self.log_scale = nn.Parameter(torch.tensor(math.log(1.0 / initial)))
        self.register_parameter("bias", None if bias is None else nn.Parameter(torch.tensor(float(bias))))

    def forward(self) -> Float[Tensor, ""]:
        """The scale, 1 / temperature, in float32 at least."""
        return self.log_scale.to(torch.promote_types(self.log_scale.dtype, torch.float32)).exp()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring t back into [0, ln 100]."""
        self.log_scale.clamp_(0.0, LARGEST_LOG_SCALE)

    def extra_repr(self) -> str:
        """What printing the module shows."""
        return f"temperature={float(torch.exp(-self.log_scale.detach())):.4g}"
