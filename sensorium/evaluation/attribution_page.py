"""A page of explained rows: each one's media with the attribution drawn on it; one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Collection
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, StrictUndefined

from sensorium.data.samples import Samples
from sensorium.data.schema import Target
from sensorium.evaluation.attribution import attributions, explained_target
from sensorium.evaluation.attribution_cards import attribution_cards
from sensorium.evaluation.attribution_marks import HATCH, style
from sensorium.evaluation.plots import number_words
from sensorium.model import Model

MOST_ROWS = 24


def write_attribution_page(
    model: Model, samples: Samples, out: Path, *, title: str, target: str | None = None,
    modalities: Collection[str] | None = None, most: int = MOST_ROWS, of: int | None = None,
) -> list[str]:
    """Explain the first rows of a decoded table, every target or one, on a page of its own.

    Args:
        model: a trained model.
        samples: decoded by its schema; truths are shown beside where the table has them.
        out: the file to write; folders are made.
        title: the page's title.
        target: only this one; all of the model's where None.
        modalities: read only these.
        most: rows on the page.
        of: rows of the whole table, where the samples are only its beginning.

    Returns:
        What a person should know, a line each: rows left out, rows with nothing to read.
    """
    rows = np.arange(min(most, len(samples)))
    targets = [explained_target(model, target)] if target is not None else list(model.schema.targets)
    parts, empty = [], 0
    for one in targets:
        found = attributions(model, samples, rows, target=one, modalities=modalities)
        told = [each for each in found if each is not None]
        empty = len(found) - len(told)
        truths = truths_of(samples, one, rows)
        parts.append({"target": one.name, "cards": attribution_cards(samples, one, told, truths)})
    notes = []
    num_rows = len(samples) if of is None else of
    if num_rows > len(rows):
        notes.append(f"the first {len(rows):,} of {num_rows:,} rows are shown")
    if empty:
        notes.append(f"rows with nothing readable, which are not explained: {empty}")
    lead = ("How much each place of a row moved the answer, by integrated gradients from neutral tokens (typical "
            "ones, from which the model gives each class about its frequency, or the mean) to the row's own. What is "
            "drawn adds up to the difference. A place stands for the encoder's token there, which has also seen what "
            "is around it.")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(
        files("sensorium.evaluation").joinpath("attribution_page.html.jinja").read_text("utf-8"))
    shown = f" {notes[0][0].upper()}{notes[0][1:]}{'; ' + notes[1] if notes[1:] else ''}." if notes else ""
    out.parent.mkdir(parents=True, exist_ok=True)
    page = template.render(title=title, lead=lead + shown, parts=parts, style=style(), hatch=HATCH)
    out.write_text(page, encoding="utf-8")
    return notes


def truths_of(samples: Samples, target: Target, rows: npt.NDArray[np.int64]) -> dict[int, str]:
    """Row → its label in words, for the rows that have one."""
    labels = samples.labels.get(target.name)
    if labels is None:
        return {}
    found = {}
    for row in rows[labels.mask[rows]].tolist():
        value = labels.values[row]
        found[row] = (number_words(float(value)) if target.task == "regress" else
                      target.classes[int(value)] if value >= 0 else "(a class unseen in training)")
    return found
