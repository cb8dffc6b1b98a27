"""When a token is: seconds → sinusoids, and windows over steps, shared by the encoders of whatever has a clock."""

from __future__ import annotations

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

SHORTEST_SECONDS, LONGEST_SECONDS = 0.05, 256.0
NUM_PERIODS = 25


class TimeEncoding(nn.Module):
    """The centre of each span in seconds, as sinusoids of log-spaced periods, mapped to the tokens' width.

    e(t) = W [sin(2π t / p_k), cos(2π t / p_k)]_k + b,  p_k from .05 s to 256 s, each about √2 times the one before.

    Only the span says when a token is, never its place in a row: irregular times work, and tokens of several
    modalities share one clock.

    Args:
        width: of the tokens.

    Example:
        >>> seconds = torch.tensor([[[0.0, 0.5], [0.5, 1.0]]])
        >>> TimeEncoding(32)(seconds, torch.ones(1, 2, dtype=torch.bool)).shape
        torch.Size([1, 2, 32])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        share = torch.arange(NUM_PERIODS, dtype=torch.float64) / (NUM_PERIODS - 1)
        periods = SHORTEST_SECONDS * (LONGEST_SECONDS / SHORTEST_SECONDS) ** share
        self.register_buffer("periods", periods.float(), persistent=False)
        self.project = nn.Linear(2 * NUM_PERIODS, width)

    def forward(
        self, span: Float[Tensor, "batch token 2"], mask: Bool[Tensor, "batch token"] | None = None
    ) -> Float[Tensor, "batch token width"]:
        """(start, end) seconds → (batch, token, width); spans under a False of the mask are not read."""
        if mask is not None:
            span = torch.where(mask[:, :, None], span, 0.0)
        centre = span.to(self.project.weight.dtype).mean(dim=-1, keepdim=True)
        angle = 2.0 * torch.pi * torch.remainder(centre / self.get_buffer("periods"), 1.0)
        encoded: Tensor = self.project(torch.cat([angle.sin(), angle.cos()], dim=-1))
        return encoded


def windows(mask: Bool[Tensor, "batch step"], size: int) -> Bool[Tensor, "batch token"]:
    """Which windows of `size` steps hold a real one."""
    return reduce(_whole(mask, size), "batch (token step) -> batch token", "any", step=size)


def window_means(
    values: Float[Tensor, "batch step width"], mask: Bool[Tensor, "batch step"], size: int
) -> Float[Tensor, "batch token width"]:
    """The mean over the real steps of each window of `size` steps; 0 where a window has none.

    y(k) = Σ_t m(t) x(t) / max(1, Σ_t m(t)),  t from k·size to (k + 1)·size − 1.
    """
    real = _whole(torch.where(mask[:, :, None], values, 0.0), size)
    totals = reduce(real, "batch (token step) width -> batch token width", "sum", step=size)
    counts = reduce(_whole(mask, size).to(values.dtype), "batch (token step) -> batch token 1", "sum", step=size)
    return totals / counts.clamp(min=1.0)


def window_peaks(
    values: Float[Tensor, "batch step width"], mask: Bool[Tensor, "batch step"], size: int
) -> Float[Tensor, "batch token width"]:
    """The largest value over the real steps of each window of `size` steps; 0 where a window has none."""
    real = _whole(torch.where(mask[:, :, None], values, -torch.inf), size, -torch.inf)
    peaks = reduce(real, "batch (token step) width -> batch token width", "max", step=size)
    return torch.where(windows(mask, size)[:, :, None], peaks, 0.0)


def window_spans(
    span: Float[Tensor, "batch step 2"], mask: Bool[Tensor, "batch step"], size: int
) -> Float[Tensor, "batch token 2"]:
    """From the first start to the last end of the real steps of each window; (0, 0) where a window has none."""
    start = torch.where(mask, span[:, :, 0], torch.inf)
    end = torch.where(mask, span[:, :, 1], -torch.inf)
    pair = torch.stack([
        rearrange(_whole(start, size, torch.inf), "batch (token step) -> batch token step", step=size).amin(dim=-1),
        rearrange(_whole(end, size, -torch.inf), "batch (token step) -> batch token step", step=size).amax(dim=-1),
    ], dim=-1)
    return torch.where(windows(mask, size)[:, :, None], pair, 0.0)


def _whole(values: Tensor, size: int, fill: float = 0.0) -> Tensor:
    """The second axis filled up to a multiple of `size`."""
    missing = -values.shape[1] % size
    if missing == 0:
        return values
    return F.pad(values, (0, 0) * (values.ndim - 2) + (0, missing), value=fill)
