"""`sensorium evaluate --zero-shot` and `--few-shot`: classes that the model was never taught."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.errors import DataError, RecipeError

if TYPE_CHECKING:
    from sensorium.data.samples import Samples
    from sensorium.model import Model


@dataclass(frozen=True)
class Shots:
    """What was asked for.

    Args:
        zero: the column of classes to name in words; None: not asked for.
        few: the column of classes to learn from examples; None: not asked for.
        prompts: templates for the names.
        examples: the table of the examples; None: the model's training table.
        modalities: what to read of the rows.
    """

    zero: str | None
    few: str | None
    prompts: tuple[str, ...]
    examples: Path | None
    modalities: tuple[str, ...]

    def __bool__(self) -> bool:
        return self.zero is not None or self.few is not None

    def check(self) -> None:
        """Raise RecipeError for options that belong to what was not asked for."""
        if self.prompts and self.zero is None:
            raise RecipeError("--prompt belongs to --zero-shot COLUMN")
        if self.examples is not None and self.few is None:
            raise RecipeError("--examples belongs to --few-shot COLUMN")
        if self.modalities and not self:
            raise RecipeError("--modalities belongs to --zero-shot or --few-shot; every subset is scored without it")


def shot_scores(
    model: Model, samples: Samples, table: Path, asked: Shots, *, allow_outside: bool,
) -> tuple[list[str], dict[str, Any]]:
    """What a person reads, and plain values."""
    from sensorium.data.table import read_table
    from sensorium.evaluation.few_shot import few_shot_lines, few_shot_scores
    from sensorium.evaluation.zero_shot import column_labels, zero_shot_lines, zero_shot_scores

    lines: list[str] = []
    found: dict[str, Any] = {}
    test = read_table(table, allow_outside=allow_outside)
    if asked.zero is not None:
        zero = zero_shot_scores(model, samples, column_labels(test, asked.zero), templates=asked.prompts or ("{}",),
                                modalities=asked.modalities or None)
        lines += ["", *zero_shot_lines(zero)]
        found["zero_shot"] = zero.to_json()
    if asked.few is not None:
        train, labels = _examples(model, asked, allow_outside)
        few = few_shot_scores(model, (train, labels), (samples, column_labels(test, asked.few)),
                              modalities=asked.modalities or None)
        lines += ["", *few_shot_lines(few)]
        found["few_shot"] = few.to_json()
    return lines, found


def _examples(model: Model, asked: Shots, allow_outside: bool) -> tuple[Samples, list[str | None]]:
    """The decoded table of examples, and each row's class."""
    from sensorium.data.read import as_samples
    from sensorium.data.table import read_table
    from sensorium.evaluation.zero_shot import column_labels
    from sensorium.features import with_stored_features

    assert asked.few is not None
    source = asked.examples if asked.examples is not None else model.recipe.source
    if source is None or not Path(source).exists():
        raise DataError(f"the training table {str(source)!r} is not here: name a table of examples, --examples TABLE")
    outside = allow_outside or model.recipe.data.allow_outside
    table = read_table(source, allow_outside=outside)
    if asked.few not in table.frame.columns and asked.examples is None:
        raise DataError(f"--few-shot {asked.few}: the training table {str(source)!r} has no such column: name a table "
                        f"of examples that has it, --examples TABLE")
    labels = column_labels(table, asked.few)
    return with_stored_features(model, as_samples(source, model.schema, allow_outside=outside)), labels
