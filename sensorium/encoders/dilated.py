"""Convolutions over steps with gaps between their taps, causal or centred, shared by WaveNet and the TCN."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class DilatedConv(nn.Module):
    """y(t) = b + Σ_j W_j x(t − j·dilation), causal; or centred on t, reading as far ahead as back.

    Steps before the first and behind the last read as 0. Channels stand last, in memory too: on a CPU such a
    convolution took half the time of a channels-first one.

    Args:
        num_in, num_out: channels.
        kernel: taps; odd where it is centred.
        dilation: steps between taps.
        causal: whether step t reads nothing behind t.

    Example:
        >>> conv = DilatedConv(3, 5, kernel=2, dilation=4)
        >>> conv(torch.zeros(2, 10, 3)).shape, conv.reach
        (torch.Size([2, 10, 5]), 4)
    """

    def __init__(self, num_in: int, num_out: int, *, kernel: int, dilation: int, causal: bool = True) -> None:
        super().__init__()
        assert causal or kernel % 2 == 1
        self.reach = (kernel - 1) * dilation
        self.padding = (self.reach, 0) if causal else (self.reach // 2, self.reach // 2)
        self.conv = nn.Conv2d(num_in, num_out, (1, kernel), dilation=(1, dilation))

    def forward(self, values: Float[Tensor, "batch step channel"]) -> Float[Tensor, "batch step channel_out"]:
        """(batch, step, channel) → (batch, step, channel_out)."""
        padded = rearrange(F.pad(values, (0, 0, *self.padding)), "batch step channel -> batch channel 1 step")
        convolved: Tensor = self.conv(padded)
        return rearrange(convolved, "batch channel 1 step -> batch step channel")
