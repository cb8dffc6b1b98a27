"""What the contrastive losses are computed from: two embeddings of each row, checked, in one precision, gathered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.alignment.gather import exchanged, gathered, num_processes
from sensorium.alignment.tiles import Layout
from sensorium.errors import AlignmentError

LENGTH_TOLERANCE = 0.05
DENSE_ROWS = 1024
"""Up to here the whole matrix of logits is cheaper than tiles, and small."""
TILE_ON_CPU, TILE_ELSEWHERE = 512, 4096
"""A tile and its copy stay in a core's cache; other devices want larger products."""


@dataclass(frozen=True)
class Pairs:
    """The checked input of a contrastive loss.

    Args:
        a: (row, width) this process's rows, float32 or float64.
        b: (batch, width) the rows they are contrasted with, of all processes.
        scale: the inverse temperature.
        bias: added to the logits.
        layout: which of these are positives, and which tiles to compute.
        dense: whether the whole matrix of logits is to be made.
    """

    a: Float[Tensor, "row width"]
    b: Float[Tensor, "batch width"]
    scale: Float[Tensor, ""]
    bias: Float[Tensor, ""]
    layout: Layout
    dense: bool


def paired(
    embeddings_a: Float[Tensor, "batch width"], embeddings_b: Float[Tensor, "batch width"], *,
    scale: float | Float[Tensor, ""], bias: float | Float[Tensor, ""] = 0.0, keys: Int[Tensor, "batch key"] | None,
    tile: int | None, gather: bool,
) -> Pairs:
    """Check, convert and, where asked for and there are several processes, gather.

    Raises:
        AlignmentError: naming what is wrong. With several processes, if one process refuses its rows, all raise.
    """
    together = gather and num_processes() > 1
    try:
        _check_shapes(embeddings_a, embeddings_b, keys, tile)
        dtype = _precision(embeddings_a, embeddings_b)
        a, b = embeddings_a.to(dtype), embeddings_b.to(dtype)
        scale, bias = _number("scale", scale, a), _number("bias", bias, a)
        _check_numbers(a, b, scale, bias)
    except AlignmentError:
        if together:
            _agreed(_Share(0, 0, 0, 0, 0, refused=1), embeddings_a.device)
        raise
    keys = None if keys is None else keys.to(a.device, torch.int64)
    side = TILE_ON_CPU if a.device.type == "cpu" else TILE_ELSEWHERE
    side = side if tile is None else tile
    if together:
        return _gathered(a, b, scale, bias, keys, side)
    layout = Layout(len(a), side, keys=None if keys is None else _numbered(keys))
    return Pairs(a, b, scale, bias, layout, dense=tile is None and len(a) <= DENSE_ROWS)


class _Share(NamedTuple):
    """What one process tells the others about its rows, as whole numbers."""

    rows: int
    width: int
    num_keys: int
    double: int
    with_gradient: int
    refused: int = 0


def _gathered(a: Tensor, b: Tensor, scale: Tensor, bias: Tensor, keys: Tensor | None, side: int) -> Pairs:
    wanted = torch.is_grad_enabled() and any(t.requires_grad for t in (a, b, scale, bias))
    shares = _agreed(_Share(len(a), a.shape[1], 0 if keys is None else keys.shape[1], int(a.dtype == torch.float64),
                            int(wanted)), a.device)
    counts = [share.rows for share in shares]
    dtype = torch.float64 if any(share.double for share in shares) else torch.float32
    a, b, scale, bias = (tensor.to(dtype) for tensor in (a, b, scale, bias))
    if any(share.with_gradient for share in shares) and not b.requires_grad:
        b = b.detach().requires_grad_()  # every process takes part in the backward pass, also one without weights
    num_keys = max(share.num_keys for share in shares)
    everything, all_keys = b, None
    if sum(counts):
        everything = gathered(b, counts)
    if sum(counts) and num_keys:
        all_keys = _numbered(gathered(a.new_zeros((0, num_keys), dtype=torch.int64) if keys is None else keys, counts))
    rank = torch.distributed.get_rank()
    layout = Layout(sum(counts), side, offset=sum(counts[:rank]), processes=len(shares), keys=all_keys)
    return Pairs(a, everything, scale, bias, layout, dense=False)


def _agreed(own: _Share, device: torch.device) -> list[_Share]:
    """What all processes say; they all raise if one of them cannot go on, so that none waits for it."""
    shares = [_Share(*numbers) for numbers in exchanged(own, device)]
    refused = [str(rank) for rank, share in enumerate(shares) if share.refused]
    if own.refused:
        return shares
    if refused:
        raise AlignmentError(f"process {', '.join(refused)} of {len(shares)} refused its rows: its own error says why")
    if len({share.width for share in shares}) > 1:
        raise AlignmentError(f"embeddings have different widths in different processes: {[s.width for s in shares]}")
    numbers = [share.num_keys for share in shares if share.rows]
    if len(set(numbers)) > 1:
        raise AlignmentError(f"rows have different numbers of keys in different processes: {numbers}")
    return shares


def _numbered(keys: Tensor) -> Tensor:
    """The same equalities between small numbers, which are compared faster; −1 for none."""
    return torch.where(keys < 0, -1, torch.unique(keys, return_inverse=True)[1]).to(torch.int32)


def _precision(a: Tensor, b: Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)


def _number(name: str, value: float | Tensor, like: Tensor) -> Tensor:
    tensor = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if tensor.numel() != 1:
        raise AlignmentError(f"{name} must be one number, found shape {tuple(tensor.shape)}")
    return tensor.reshape(())


def _check_shapes(a: Tensor, b: Tensor, keys: Tensor | None, tile: int | None) -> None:
    for name, given in (("embeddings_a", a), ("embeddings_b", b)):
        if given.ndim != 2 or not given.is_floating_point():
            raise AlignmentError(f"{name} must be (batch, width) real numbers, found shape {tuple(given.shape)} of "
                                 f"{given.dtype}")
    if a.shape != b.shape:
        raise AlignmentError(f"embeddings_a and embeddings_b must be of the same rows and width, found "
                             f"{tuple(a.shape)} and {tuple(b.shape)}")
    if keys is not None and (keys.ndim != 2 or keys.is_floating_point() or keys.is_complex()):
        raise AlignmentError(f"keys must be (batch, key) whole numbers, found shape {tuple(keys.shape)} of "
                             f"{keys.dtype}")
    if keys is not None and len(keys) != len(a):
        raise AlignmentError(f"keys must be one row each: {len(keys)} rows of keys for {len(a)} rows of embeddings")
    if tile is not None and tile < 1:
        raise AlignmentError(f"a tile has at least 1 row, found tile={tile}")


def _check_numbers(a: Tensor, b: Tensor, scale: Tensor, bias: Tensor) -> None:
    """All that needs to look at values, looked at together: on a GPU this waits once."""
    with torch.no_grad():
        largest_a, largest_b, used_scale, used_bias = torch.stack([_off(a), _off(b), scale, bias]).tolist()
    for name, rows, largest in (("embeddings_a", a, largest_a), ("embeddings_b", b, largest_b)):
        if not largest <= LENGTH_TOLERANCE:
            raise AlignmentError(_what_is_wrong(name, rows.detach()))
    if not 0.0 < used_scale < float("inf"):
        raise AlignmentError(f"scale is 1 / temperature: a finite number above 0, found {used_scale}")
    if not abs(used_bias) < float("inf"):
        raise AlignmentError(f"bias must be finite, found {used_bias}")


def _off(rows: Tensor) -> Tensor:
    """By how much the length of a row differs from 1 at most, rows of zeros aside."""
    if len(rows) == 0:
        return rows.new_zeros(())
    lengths = torch.linalg.vector_norm(rows, dim=1)
    largest: Tensor = (lengths - 1.0).abs().masked_fill(lengths == 0, 0.0).amax()
    return largest


def _what_is_wrong(name: str, rows: Tensor) -> str:
    broken = (~torch.isfinite(rows).all(dim=1)).nonzero()[:, 0].tolist()
    if broken:
        return (f"{name}: {len(broken)} of {len(rows)} rows have numbers that are not finite, the first is row "
                f"{broken[0]}")
    lengths = torch.linalg.vector_norm(rows, dim=1)
    row = int((lengths - 1.0).abs().masked_fill(lengths == 0, 0.0).argmax())
    return (f"{name}: row {row} has length {float(lengths[row]):.4g}, expected 1; make it so with "
            f"torch.nn.functional.normalize({name}, dim=1)")
