"""Losses of deep CCA: how far the outputs of several encoders are from linearly predicting each other.

Both are pure functions of a batch's embeddings, one tensor a view. `cca_loss` is exact and needs a batch that is larger
than the embeddings are wide; `eckart_young_loss` needs no inverse and works on small batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.errors import AlignmentError


def cca_loss(
    views: Sequence[Float[Tensor, "batch dims"]], *, ridge: float = 1e-4, squared: bool = False,
) -> Float[Tensor, ""]:
    """Minus the total canonical correlation of a batch, summed over pairs of views.

    −Σ_{a<b} ‖L_a⁻¹ S_ab L_b⁻ᵀ‖_*    with    L_a L_aᵀ = S_aa + ridge · I

    S are covariances over the batch (divided by batch − 1), ‖·‖_* the nuclear norm: the sum of the canonical
    correlations themselves, not of their squares. Covariances and factors are float64 whatever the views are
    (autocast leaves float64 alone); gradients arrive in the views' own type. A unit that is constant over the batch
    correlates with nothing and leaves loss and gradient finite.

    Args:
        views: two or more, (batch, dims) each, rows aligned, batch > dims; the widths may differ.
        ridge: added to the variances, in their units; 0 needs covariances of full rank.
        squared: sum the squares of the correlations instead. Directions then pull in proportion to their correlation,
            which trains faster where most of them correlate, and hardly starts where none does yet.

    Returns:
        A scalar, −Σ_{a<b} min(dims_a, dims_b) (perfect agreement) … 0; float64 for float64 views, else float32.

    Raises:
        AlignmentError: too few rows or views, lengths that differ, numbers that are not finite, a singular covariance.

    Example:
        >>> points = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
        >>> bool(cca_loss([points, 2 * points + 1]) < -2.99)
        True

    Source: Andrew, Arora, Bilmes, Livescu 2013, "Deep canonical correlation analysis", section 3. Cholesky factors
    stand for their inverse square roots, which changes neither value nor gradient and, unlike the backward pass of an
    eigendecomposition, divides by no difference of eigenvalues. Their two views become all pairs of views.
    """
    _check_rows(views)
    batch, widest = len(views[0]), max(view.shape[1] for view in views)
    if batch <= widest:
        raise AlignmentError(
            f"cca_loss of a batch of {batch} rows in {widest} dimensions: any {batch} rows correlate perfectly there; "
            f"take a larger batch (10 rows a dimension, {10 * widest}, is a good start) or eckart_young_loss",
        )
    if ridge < 0:
        raise AlignmentError(f"cca_loss: expected ridge >= 0, found {ridge!r}")
    centred = _centred(views)
    factors = [_cholesky(view, ridge, place) for place, view in enumerate(centred)]
    totals = []
    for a, b in combinations(range(len(views)), 2):
        left = torch.linalg.solve_triangular(factors[a], centred[a].mT @ centred[b] / (batch - 1), upper=False)
        both = torch.linalg.solve_triangular(factors[b].mT, left, upper=True, left=False)
        totals.append(both.square().sum() if squared else torch.linalg.svdvals(both).sum())
    return _in_type_of(views, -torch.stack(totals).sum())


def eckart_young_loss(
    views: Sequence[Float[Tensor, "batch dims"]], *,
    independent: Sequence[Float[Tensor, "other dims"]] | None = None,
) -> Float[Tensor, ""]:
    """A loss without inverses whose minimiser spans the canonical subspace, for batches of any size.

    −2 tr(C) + ⟨V, V′⟩    with    C = Σ_{a,b} Cov(z_a, z_b),    V = Σ_a Var(z_a)

    Over linear maps z_a = W_aᵀ x_a its minimum is −Σ_k λ_k², λ_k being the largest dims generalised eigenvalues of
    (all covariances, the views' own): those of generalised CCA, 1 + correlation for two views. At the minimum
    V = diag(λ) up to rotation, so the outputs carry their own scale and need no whitening.

    Args:
        views: two or more, (batch, dims) each, rows aligned, batch >= 2, all equally wide.
        independent: views of other rows, from which V′ is estimated. It makes the estimate of the loss unbiased:
            ‖V‖_F² of a batch is too large by about (tr V)² / batch. None: V′ = V.

    Returns:
        A scalar, at least −dims · (number of views)²; float64 for float64 views, else float32.

    Raises:
        AlignmentError: too few rows or views, lengths or widths that differ, numbers that are not finite.

    Example:
        >>> points = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))  # 8 rows in 16 dimensions
        >>> bool(torch.isfinite(eckart_young_loss([points, points])))
        True

    Source: Chapman, Wells, Lawry Aguila 2024, "Unconstrained stochastic CCA: unifying multiview and self-supervised
    learning", section 3. C includes a = b, so that λ are generalised CCA's eigenvalues; without, they are smaller by 1.
    """
    _check_rows(views)
    _check_widths(views)
    if independent is not None:
        _check_rows(independent)
        _check_widths([*views, *independent])
        if len(independent) != len(views):
            raise AlignmentError(f"eckart_young_loss of {len(views)} views: found {len(independent)} independent ones")
    centred = _centred(views)
    together = torch.stack(centred).sum(dim=0)
    reward = together.square().sum() / (len(together) - 1)
    own = _own_variances(centred)
    other = own if independent is None else _own_variances(_centred(independent))
    return _in_type_of(views, (own * other).sum() - 2 * reward)


def eckart_young_of_halves(views: Sequence[Float[Tensor, "batch dims"]]) -> Float[Tensor, ""]:
    """The unbiased estimate of the Eckart–Young loss from one batch: each half is independent of the other.

    Args:
        views: as `eckart_young_loss` takes them, with at least 4 rows in random order.

    Raises:
        AlignmentError: as `eckart_young_loss`.

    Example:
        >>> points = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
        >>> bool(eckart_young_of_halves([points, points]).isfinite())
        True
    """
    _check_rows(views)
    if len(views[0]) < 4:
        raise AlignmentError(f"the Eckart–Young loss of two halves needs at least 4 rows, found {len(views[0])}")
    half = len(views[0]) // 2
    first, second = [view[:half] for view in views], [view[half:] for view in views]
    return (eckart_young_loss(first, independent=second) + eckart_young_loss(second, independent=first)) / 2


def _check_rows(views: Sequence[Tensor]) -> None:
    if len(views) < 2:
        raise AlignmentError(f"a correlation needs at least 2 views, found {len(views)}")
    for place, view in enumerate(views):
        if view.ndim != 2 or not view.is_floating_point():
            raise AlignmentError(f"view {place}: expected (batch, dims) floating numbers, found shape "
                                 f"{tuple(view.shape)} of {view.dtype}")
    lengths = [len(view) for view in views]
    if len(set(lengths)) > 1:
        raise AlignmentError(f"views must have the same rows, found {lengths} rows")
    if lengths[0] < 2:
        raise AlignmentError(f"a correlation needs at least 2 rows, found {lengths[0]}")


def _check_widths(views: Sequence[Tensor]) -> None:
    widths = [view.shape[1] for view in views]
    if len(set(widths)) > 1:
        raise AlignmentError(f"eckart_young_loss adds the views' variances and needs equal widths, found {widths}")


def _centred(views: Sequence[Tensor]) -> list[Tensor]:
    """Float64 views minus their means. A mean is finite only where all its numbers are: one small check a view."""
    centred = []
    for place, view in enumerate(views):
        exact = view.double()
        mean = exact.mean(dim=0)
        if not bool(torch.isfinite(mean).all()):
            columns = int((~torch.isfinite(mean)).sum())
            raise AlignmentError(f"view {place}: {columns} of {len(mean)} dimensions hold NaN or infinite numbers")
        centred.append(exact - mean)
    return centred


def _cholesky(centred: Tensor, ridge: float, place: int) -> Tensor:
    """(dims, dims) lower factor of the covariance plus ridge."""
    batch, dims = centred.shape
    eye = torch.eye(dims, dtype=centred.dtype, device=centred.device)
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(centred.mT @ centred / (batch - 1) + ridge * eye)
    if int(failed):
        raise AlignmentError(
            f"view {place}: the covariance of its {dims} dimensions over {batch} rows is singular with ridge={ridge!r} "
            "(a constant or repeated dimension): give a larger ridge",
        )
    return factor


def _own_variances(centred: Sequence[Tensor]) -> Tensor:
    """(dims, dims) the sum of the views' covariances."""
    return torch.stack([view.mT @ view / (len(view) - 1) for view in centred]).sum(dim=0)


def _in_type_of(views: Sequence[Tensor], loss: Tensor) -> Tensor:
    return loss.to(torch.float64 if any(view.dtype == torch.float64 for view in views) else torch.float32)
