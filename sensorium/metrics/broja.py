"""The least information that two sources can hold together, given what each holds alone (Bertschinger et al. 2014).

    I_∪ = min_Q I_Q(T; X, Y)   over the distributions Q(t, x, y) with Q(t, x) = P(t, x) and Q(t, y) = P(t, y)

I_Q = H(T) + Σ Q ln Q(t | x, y) is convex in Q, so there is one minimum. It usually lies where some Q(t, x, y) are 0 and
the gradient is infinite, which is why first-order methods crawl there. A primal-dual interior point method (Boyd and
Vandenberghe 2004, section 11.7, without its line search) takes some twenty Newton steps instead: within a pair (x, y)
the Hessian is diagonal less a matrix of rank one, so a step costs one linear system with an unknown for every cell of
P(t, x) and of P(t, y).

The dual gives a certificate. For any λ(t, x), μ(t, y)

    I_∪ − H(T) ≥ Σ P(t, x) λ + Σ P(t, y) μ − max_{x, y} ln Σ_t exp(λ(t, x) + μ(t, y))

and the method stops where the two sides agree. (Banerjee et al. 2018, computeUI, ascend the same dual by projections.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import Floats

TOLERANCE = 1e-7
WORST_GAP = 1e-4
MAX_STEPS = 200
MAX_UNKNOWNS = 1200
CHUNK_UNKNOWNS = 2_000_000
SHRINK = 0.1
TO_THE_EDGE = 0.99
RIDGE = 1e-12


@dataclass(frozen=True)
class UnionInformation:
    """I_∪ of some pairs of marginals.

    Args:
        bits: (table,) the least information of the two sources together, in bits: an upper bound, met by a feasible Q.
        gap: (table,) at most how far above the true minimum it is, in bits, proven by the dual.
        joint: (table, t, x, y) the minimising Q.
    """

    bits: Floats
    gap: Floats
    joint: Floats


@dataclass
class _State:
    """Where the Newton steps are: Q and its multipliers z ≥ 0 (table, t, x, y), λ (table, t, x), μ (table, t, y)."""

    q: Floats
    z: Floats
    on_x: Floats
    on_y: Floats

    def some(self, kept: npt.NDArray[np.bool_]) -> _State:
        return _State(self.q[kept], self.z[kept], self.on_x[kept], self.on_y[kept])


@dataclass(frozen=True)
class _Problem:
    """Marginals P(t, x) and P(t, y), their product P(t, x) P(t, y) / P(t), and where it is above 0."""

    with_x: Floats
    with_y: Floats
    product: Floats
    open: npt.NDArray[np.bool_]

    def some(self, kept: npt.NDArray[np.bool_]) -> _Problem:
        return _Problem(self.with_x[kept], self.with_y[kept], self.product[kept], self.open[kept])


def union_information(with_x: Floats, with_y: Floats, *, tolerance: float = TOLERANCE) -> UnionInformation:
    """I_∪ in bits, for one pair of marginals or for many at once.

    Args:
        with_x: (table, t, x) probabilities P(t, x), each table summing to 1; zeros are welcome.
        with_y: (table, t, y) probabilities P(t, y) with the same P(t).
        tolerance: the largest gap to the true minimum, in bits.

    Raises:
        DataError: shapes or P(t) disagree, a table has more than 1,200 cells t·(x + y), or the minimum was not reached.

    Example:
        >>> both = np.array([[[0.5, 0.25], [0.0, 0.25]]])  # AND of two coins
        >>> round(float(union_information(both, both).bits[0]), 3)
        0.311
    """
    _check(with_x, with_y)
    unknowns = with_x.shape[1] * (with_x.shape[2] + with_y.shape[2])
    step = max(1, CHUNK_UNKNOWNS // unknowns**2)
    parts = [_solve(with_x[start : start + step], with_y[start : start + step], tolerance)
             for start in range(0, len(with_x), step)]
    return UnionInformation(*(np.concatenate([getattr(part, name) for part in parts])
                              for name in ("bits", "gap", "joint")))


def entropy(probabilities: Floats, axes: tuple[int, ...]) -> Floats:
    """−Σ p log2 p over some axes, in bits; 0 log 0 = 0."""
    logs = np.log2(np.where(probabilities > 0, probabilities, 1.0))
    return np.asarray(-(probabilities * logs).sum(axis=axes))


def _solve(with_x: Floats, with_y: Floats, tolerance: float) -> UnionInformation:
    target = with_x.sum(axis=2)
    product = with_x[:, :, :, None] * with_y[:, :, None, :] / np.where(target > 0, target, 1.0)[:, :, None, None]
    problem = _Problem(with_x, with_y, product, product > 0)
    state = _State(product, problem.open.astype(np.float64), np.zeros_like(with_x), np.zeros_like(with_y))
    best, joint, bound = np.full(len(with_x), np.inf), product.copy(), np.full(len(with_x), -np.inf)
    left = np.arange(len(with_x))
    for _ in range(MAX_STEPS):
        value = _value(state.q)
        better = value < best[left]
        best[left[better]], joint[left[better]] = value[better], state.q[better]
        bound[left] = np.fmax(bound[left], _bound(problem, state))
        going = best[left] - bound[left] > tolerance * np.log(2)
        if not going.any():
            break
        left, problem, state = left[going], problem.some(going), state.some(going)
        state = _newton(problem, state)
    gap = np.maximum(best - bound, 0.0) / np.log(2)
    if not gap.max() <= max(tolerance, WORST_GAP):
        raise DataError(f"the least joint information was not found to {tolerance:g} bit: still {gap.max():.2g} bit "
                        f"after {MAX_STEPS} steps; merge values that occur in very few rows")
    return UnionInformation(np.maximum(best / np.log(2) + entropy(target, (1,)), 0.0), gap, joint)


def _value(q: Floats) -> Floats:
    """Σ Q ln Q(t | x, y): minus the conditional entropy, in nats."""
    return np.asarray(np.where(q > 0, q * _log_conditional(q), 0.0).sum(axis=(1, 2, 3)))


def _log_conditional(q: Floats) -> Floats:
    """ln Q(t | x, y); 0 where Q is 0."""
    total = np.broadcast_to(q.sum(axis=1, keepdims=True), q.shape)
    return np.asarray(np.log(np.divide(q, total, out=np.ones_like(q), where=q > 0)))


def _bound(problem: _Problem, state: _State) -> Floats:
    """The dual's lower bound of `_value`."""
    exponent = np.where(problem.open, state.on_x[:, :, :, None] + state.on_y[:, :, None, :], -np.inf)
    top = exponent.max(axis=(1, 2, 3))
    total = np.exp(exponent - top[:, None, None, None]).sum(axis=1).max(axis=(1, 2))
    linear = (problem.with_x * state.on_x).sum(axis=(1, 2)) + (problem.with_y * state.on_y).sum(axis=(1, 2))
    return np.asarray(linear - top - np.log(total))


def _newton(problem: _Problem, state: _State) -> _State:
    """One step towards Q z = ν · P(t, x) P(t, y) / P(t), with ν a tenth of today's Σ Q z.

    Centring relative to the product, where the steps began, makes them blind to how rare a cell is; with one ν for all
    cells, tables of counts take ten times as many steps or stall.
    """
    open_ = problem.open
    centre = SHRINK * (state.q * state.z).sum(axis=(1, 2, 3))
    nu = centre[:, None, None, None] * problem.product
    safe = np.where(open_, state.q, 1.0)
    slope = _log_conditional(state.q) - state.on_x[:, :, :, None] - state.on_y[:, :, None, :]
    right = np.where(open_, nu / safe - slope, 0.0)
    gain = state.q / (1.0 + state.z)
    slack = (state.q * state.z / (1.0 + state.z)).sum(axis=1)
    slack = np.where(open_.any(axis=1), slack, 1.0)

    def inverse(vector: Floats) -> Floats:
        scaled = gain * vector
        return np.asarray(scaled + gain * (scaled.sum(axis=1) / slack)[:, None])

    moved = inverse(right)
    step_x, step_y = _multipliers(problem, gain, slack, problem.with_x - (state.q + moved).sum(axis=3),
                                  problem.with_y - (state.q + moved).sum(axis=2))
    step_q = inverse(right + np.where(open_, step_x[:, :, :, None] + step_y[:, :, None, :], 0.0))
    step_z = np.where(open_, nu / safe - state.z - state.z / safe * step_q, 0.0)
    length = np.minimum(1.0, TO_THE_EDGE * np.minimum(_reach(state.q, step_q), _reach(state.z, step_z)))
    far = length[:, None, None, None]
    return _State(state.q + far * step_q, state.z + far * step_z, state.on_x + length[:, None, None] * step_x,
                  state.on_y + length[:, None, None] * step_y)


def _multipliers(
    problem: _Problem, gain: Floats, slack: Floats, miss_x: Floats, miss_y: Floats,
) -> tuple[Floats, Floats]:
    """The step of λ and μ that brings Q back to its marginals.

    For each t the sums over x and over y of what is missed agree, so the system is singular along (1, −1); adding that
    direction's square leaves the solution as it is.
    """
    tables, num_t, num_x, num_y = gain.shape
    size = num_x + num_y
    curve = gain[:, :, None] * gain[:, None] / slack[:, None, None]
    same = np.arange(num_t)
    curve[:, same, same] += gain
    system = np.zeros((tables, num_t, size, num_t, size))
    on_x, on_y = np.arange(num_x), np.arange(num_x, size)
    system[:, :, on_x, :, on_x] = curve.sum(axis=4).transpose(3, 0, 1, 2)
    system[:, :, on_y, :, on_y] = curve.sum(axis=3).transpose(3, 0, 1, 2)
    system[:, :, :num_x, :, num_x:] = curve.transpose(0, 1, 3, 2, 4)
    system[:, :, num_x:, :, :num_x] = curve.transpose(0, 1, 4, 2, 3)
    there = np.concatenate([problem.with_x > 0, problem.with_y > 0], axis=2)
    diagonal = np.einsum("btsts->bts", system)
    scale = np.sqrt(np.where(there, diagonal, 1.0))
    system /= scale[:, :, :, None, None] * scale[:, None, None]
    np.einsum("btsts->bts", system)[:] = 1.0
    free = np.where(there, scale, 0.0)
    free[:, :, num_x:] *= -1
    free /= np.maximum(np.linalg.norm(free, axis=2, keepdims=True), 1e-300)
    system[:, same, :, same] += (free[:, :, :, None] * free[:, :, None]).transpose(1, 0, 2, 3)
    right = np.where(there, np.concatenate([miss_x, miss_y], axis=2) / scale, 0.0)
    found = _solved(system.reshape(tables, num_t * size, -1), right.reshape(tables, -1, 1))
    steps = np.where(there, found.reshape(tables, num_t, size) / scale, 0.0)
    return steps[:, :, :num_x], steps[:, :, num_x:]


def _solved(system: Floats, right: Floats) -> Floats:
    """The solution; of systems that cells on their way to 0 made singular, one close by, whose step is still checked
    by the gap."""
    try:
        return np.asarray(np.linalg.solve(system, right))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.solve(system + RIDGE * np.eye(system.shape[1]), right))


def _reach(values: Floats, steps: Floats) -> Floats:
    """(table,) the longest step that keeps all values at 0 or above."""
    ratios = np.divide(values, -steps, out=np.full_like(values, np.inf), where=steps < 0)
    return np.asarray(ratios.min(axis=(1, 2, 3)))


def _check(with_x: Floats, with_y: Floats) -> None:
    if with_x.ndim != 3 or with_y.ndim != 3 or with_x.shape[:2] != with_y.shape[:2] or 0 in with_x.shape + with_y.shape:
        raise DataError("expected P(t, x) (table, t, x) and P(t, y) (table, t, y) for the same tables and targets, "
                        f"found {with_x.shape} and {with_y.shape}")
    if not (np.isfinite(with_x).all() and np.isfinite(with_y).all()) or min(with_x.min(), with_y.min()) < 0:
        raise DataError("probabilities must be finite and not below 0")
    if np.abs(with_x.sum(axis=2) - with_y.sum(axis=2)).max() > 1e-9 or np.abs(with_x.sum(axis=(1, 2)) - 1).max() > 1e-9:
        raise DataError("P(t, x) and P(t, y) must have the same P(t), each table summing to 1")
    unknowns = with_x.shape[1] * (with_x.shape[2] + with_y.shape[2])
    if unknowns > MAX_UNKNOWNS:
        raise DataError(f"a table of {with_x.shape[1]} targets by {with_x.shape[2]} and {with_y.shape[2]} values has "
                        f"{unknowns:,} cells, more than {MAX_UNKNOWNS:,}: merge values, or classes of the target")
