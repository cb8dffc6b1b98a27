"""One space for the modalities of a trained model, in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from sensorium.alignment.linear import LinearAlignment
from sensorium.data.read import Data, as_samples
from sensorium.data.samples import Samples
from sensorium.errors import AlignmentError, DataError, unknown_name
from sensorium.features import with_stored_features
from sensorium.model import Model
from sensorium.objectives import View

METHODS = ("cca",)
COMPONENTS = 64
RIDGE = 1e-2
POWER = 1.0
FEWEST = 8
RANK = 1e-5  # the vectors are float32


def align_model(
    model: Model, data: Data | Samples | str | Path | None = None, *, method: str = "cca",
    n_components: int | None = None, ridge: float = RIDGE,
) -> Model:
    """Give a trained model one space for all its modalities, in closed form: canonical correlation analysis.

    What each modality says alone (its fused vector, or what objective correlate makes of it) is centred and projected
    such that paired rows correlate: CCA for two modalities, generalised CCA for more. A component counts as
    much as it correlates. `model.embed` then answers in this space, for any subset of the modalities. Nothing else in
    the model changes.

    Args:
        model: trained; its `alignment` is set, and saved with it.
        data: rows that have all modalities (others are left out); None: the table it was trained on. Labels are not
            needed.
        method: "cca".
        n_components: width of the space; None: 64, or as many as the modalities' vectors have independent numbers.
        ridge: added to the variances, relative to their mean.

    Returns:
        The same model.

    Raises:
        AlignmentError: one modality only, or too few rows that have all of them.
        DataError: the table is not there.

    Example: sensorium.align(model, method="cca").embed({"note": "a red circle"})
    """
    if isinstance(ridge, bool) or not isinstance(ridge, int | float) or not 0 <= ridge < float("inf"):
        raise AlignmentError(f"ridge: expected a number of at least 0, relative to the mean variance; found {ridge!r}")
    if method not in METHODS:
        raise unknown_name("method of alignment", method, list(METHODS))
    if data is None:
        if model.recipe.source is None or not Path(model.recipe.source).exists():
            raise DataError(f"the training table {model.recipe.source!r} is not here: give the rows to align on, "
                            f"align(model, data)")
        data = model.recipe.source
    samples = data if isinstance(data, Samples) else as_samples(
        data, model.schema, allow_outside=model.recipe.data.allow_outside)
    samples = with_stored_features(model, samples)
    model.alignment = closed_form(model, samples, np.arange(len(samples)), n_components=n_components, ridge=ridge)
    return model


def closed_form(
    model: Model, samples: Samples, rows: npt.NDArray[np.int64], *, n_components: int | None = None,
    ridge: float = RIDGE,
) -> LinearAlignment:
    """The alignment of what each modality says alone, fitted on the rows that have all of them."""
    names = model.schema.names
    if len(names) < 2:
        raise AlignmentError(f"two modalities at least can be aligned; the model has only {names[0]}")
    complete = rows[samples.presence[rows].all(axis=1)]
    width = model.recipe.model.width if model.correlate is None else model.correlate.width
    if n_components is not None and not 1 <= n_components <= width:
        raise AlignmentError(f"n_components: {n_components} components of vectors of width {width}: expected 1 to "
                             f"{width}")
    least = FEWEST if n_components is None else max(FEWEST, n_components + 1)
    if len(complete) < least:
        raise AlignmentError(f"only {len(complete)} rows have all of {', '.join(names)}: at least {least} are needed")

    def read(view: View) -> Iterator[tuple[str, Tensor, Tensor]]:
        yield from model.alone(view, view.presence)

    views = model.gathered(samples, complete, read, dict.fromkeys(names, width))
    ranks = [int(np.linalg.matrix_rank(view - view.mean(axis=0), rtol=RANK)) for view in views.values()]
    components = min(COMPONENTS, len(complete) // FEWEST * 2, *ranks) if n_components is None else n_components
    alignment = LinearAlignment(dict.fromkeys(names, width), max(1, components)).to(model.device)
    alignment.initialise(views, ridge=[ridge * float(views[name].var(axis=0).mean()) for name in names], power=POWER)
    return alignment
