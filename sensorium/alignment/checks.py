"""What a user hands to the estimators, checked: views, and numbers of components."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from sensorium.alignment.blocks import Array
from sensorium.errors import AlignmentError


@contextmanager
def as_alignment_errors() -> Iterator[None]:
    """scikit-learn's ValueErrors about the form of an array, raised as AlignmentErrors in one line: the fault and the
    remedy, without the lines between them that show the array."""
    try:
        yield
    except AlignmentError:
        raise
    except ValueError as error:
        first, *others = str(error).splitlines()
        remedy = [line for line in others if line.startswith("Reshape your data")]
        raise AlignmentError(". ".join([first.removesuffix("array=").rstrip(" :"), *remedy])) from None


def view_of(values: Any, name: str, *, least_rows: int = 1, one_column: bool = False) -> Array:
    """A (row, feature) array of real numbers, not copied where it is one already; numbers may be NaN or infinite.

    Args:
        values: anything array-like but sparse.
        name: what errors call it.
        least_rows: rows that it must have.
        one_column: whether a (row,) array is allowed too; it is returned as it is.

    Raises:
        AlignmentError: another shape, no columns, too few rows, complex numbers or text.
        TypeError: a sparse array.
    """
    from sklearn.utils.validation import check_array

    with as_alignment_errors():
        array: Array = check_array(values, dtype="numeric", ensure_all_finite=False, ensure_2d=not one_column,
                                   ensure_min_samples=least_rows, input_name=name)
        if array.ndim > 2 or 0 in array.shape[1:]:
            raise AlignmentError(f"expected view {name} to be (row, feature), found shape {array.shape}")
    return array


def refuse_unpaired(views: Sequence[Array | None], names: Sequence[str]) -> None:
    """Raise an AlignmentError where views have different numbers of rows."""
    rows = {name: view.shape[0] for name, view in zip(names, views) if view is not None}
    if len(set(rows.values())) > 1:
        said = ", ".join(f"{name} has {count}" for name, count in rows.items())
        raise AlignmentError(f"row i of every view is the same sample, but these have other numbers of rows: {said}")


def refuse_other_width(view: Array, name: str, width: int) -> None:
    """Raise an AlignmentError where a view has not as many columns as when it was fitted."""
    if view.shape[1] != width:
        raise AlignmentError(f"view {name} has {view.shape[1]} columns, but had {width} when it was fitted")


def components_of(n_components: Any) -> int | None:
    """The number of components, or None.

    Raises:
        AlignmentError: neither None nor a whole number of at least 1.
    """
    if n_components is None:
        return None
    if not isinstance(n_components, int | np.integer) or isinstance(n_components, bool) or n_components < 1:
        raise AlignmentError(f"expected n_components to be a whole number of at least 1, or None for all there are; "
                             f"found {n_components!r}")
    return int(n_components)


def folds_wanted(cv: Any) -> int:
    """The number of folds.

    Raises:
        AlignmentError: not a whole number of at least 2.
    """
    if not isinstance(cv, int | np.integer) or isinstance(cv, bool) or cv < 2:
        raise AlignmentError(f"expected cv to be a whole number of folds, at least 2; found {cv!r}")
    return int(cv)
