"""Contrastive losses: two embeddings of one row resemble each other more than those of different rows.

The embeddings are unit-length and the positives are equal row numbers. `scale` is 1 / temperature
(`sensorium.alignment.Temperature` owns it). Large batches are computed in tiles: memory grows with the number of rows,
not with its square, at the same value and gradient. Work is done in float32, in float64 for float64 embeddings, under
autocast too.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from sensorium.alignment.pairs import Pairs, paired
from sensorium.alignment.temperature import Temperature
from sensorium.alignment.tiles import TiledInfoNCE, TiledSigLIP

__all__ = ["Temperature", "info_nce", "siglip"]

EXACT_SOFTPLUS = 50.0


def info_nce(
    embeddings_a: Float[Tensor, "batch width"], embeddings_b: Float[Tensor, "batch width"], *,
    scale: float | Float[Tensor, ""], keys: Int[Tensor, "batch key"] | None = None, tile: int | None = None,
    gather: bool = False,
) -> Float[Tensor, ""]:
    """How badly each embedding finds its partner among all, in nats: CLIP's loss, the mean of both directions.

    With l_ij = scale · a_i·b_j, L = 1/(2N) Σ_i [ln Σ_j exp l_ij − l_ii] + 1/(2N) Σ_i [ln Σ_j exp l_ji − l_ii], where
    the inner sums leave out the j ≠ i that share a key with i. 0 is perfect, ln N is chance; a row without any negative
    gives 0, and so does a batch of one row.

    Args:
        embeddings_a: unit-length rows, float (bf16 is computed as float32). Rows of zeros pass, as similar to all.
        embeddings_b: unit-length rows, row i being the partner of row i of `embeddings_a`.
        scale: 1 / temperature, above 0; gradients flow to it.
        keys: rows with an equal number ≥ 0 in the same column (the same caption, label or file) are not negatives of
            each other, in neither direction. Below 0: no key.
        tile: rows and columns of a tile, any number; None: chosen, up to 1,024 rows the whole matrix at once. With
            tiles the loss can be differentiated once.
        gather: contrast with the rows of all processes of torch.distributed, which may hold different numbers of them,
            or none. The loss is then the sum over own rows · processes / all rows, whose gradient, averaged over
            processes (as DistributedDataParallel does), is that of one process with all rows. All processes have to
            call this and then backward. Without torch.distributed it changes nothing.

    Raises:
        AlignmentError: different shapes, rows that are not finite or not of unit length, keys for another number of
            rows.

    Example:
        >>> a = torch.nn.functional.normalize(torch.tensor([[1.0, 0.2], [0.1, 1.0], [-1.0, -1.0]]), dim=1)
        >>> round(float(info_nce(a, a, scale=10.0)), 4), round(float(info_nce(a, a.flip(0), scale=10.0)), 4)
        (0.0006, 12.2142)

    Source: Radford et al. 2021, figure 3. Deviation: the false negatives that `keys` tell of are left out.
    """
    pairs = paired(embeddings_a, embeddings_b, scale=scale, keys=keys, tile=tile, gather=gather)
    if not pairs.dense:
        loss: Tensor = TiledInfoNCE.apply(pairs.a, pairs.b, pairs.scale, pairs.layout)  # type: ignore[no-untyped-call]
        return loss
    with torch.autocast(pairs.a.device.type, enabled=False):
        logits = _logits(pairs)
        positives = logits.diagonal()
        losses = (logits.logsumexp(dim=1) - positives) + (logits.logsumexp(dim=0) - positives)
        return losses.sum() / (2 * max(1, len(losses)))


def siglip(
    embeddings_a: Float[Tensor, "batch width"], embeddings_b: Float[Tensor, "batch width"], *,
    scale: float | Float[Tensor, ""], bias: float | Float[Tensor, ""], keys: Int[Tensor, "batch key"] | None = None,
    tile: int | None = None, gather: bool = False,
) -> Float[Tensor, ""]:
    """How badly each pair is told to be one row's or not, in nats: SigLIP's loss, a sum over pairs for each row.

    L = −1/N Σ_ij ln sigmoid(y_ij (scale · a_i·b_j + bias)), y_ij = 1 for i = j and −1 else; pairs i ≠ j that share a
    key are left out. A batch of one row has one positive pair, and so a loss.

    Args:
        embeddings_a: as for `info_nce`.
        embeddings_b: as for `info_nce`.
        scale: 1 / temperature; 10 at first.
        bias: −10 at first, since negatives are many: `Temperature(0.1, bias=-10.0)` owns both.
        keys: as for `info_nce`.
        tile: as for `info_nce`.
        gather: as for `info_nce`.

    Raises:
        AlignmentError: as `info_nce`.

    Example:
        >>> a = torch.nn.functional.normalize(torch.tensor([[1.0, 0.2], [0.1, 1.0], [-1.0, -1.0]]), dim=1)
        >>> round(float(siglip(a, a, scale=10.0, bias=-5.0)), 4)
        0.0857

    Source: Zhai et al. 2023, "Sigmoid loss for language image pre-training", equation 1 and algorithm 1.
    """
    pairs = paired(embeddings_a, embeddings_b, scale=scale, bias=bias, keys=keys, tile=tile, gather=gather)
    if not pairs.dense:
        loss: Tensor = TiledSigLIP.apply(  # type: ignore[no-untyped-call]
            pairs.a, pairs.b, pairs.scale, pairs.bias, pairs.layout)
        return loss
    with torch.autocast(pairs.a.device.type, enabled=False):
        logits = _logits(pairs) + pairs.bias
        negatives = F.softplus(logits, threshold=EXACT_SOFTPLUS)
        own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        positives = F.softplus(-logits.diagonal(), threshold=EXACT_SOFTPLUS)
        return (negatives.masked_fill(own, 0.0).sum() + positives.sum()) / max(1, len(logits))


def _logits(pairs: Pairs) -> Tensor:
    """The whole matrix of scale · a_i·b_j, −inf where a pair is no negative."""
    logits = (pairs.scale * pairs.a) @ pairs.b.T
    everything = slice(0, len(logits))
    aside = pairs.layout.no_negatives(everything, everything)
    return logits if aside is None else logits.masked_fill(aside, -torch.inf)
