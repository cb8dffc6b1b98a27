"""`--objective`: what a model learns besides predicting its targets."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import yaml

from sensorium.errors import RecipeError, unknown_name

if TYPE_CHECKING:
    from sensorium.recipe import Recipe


def objectives_of(
    recipe: Recipe, words: list[str] | None, weights: dict[str, float], *, targets: Collection[str],
) -> dict[str, dict[str, Any]]:
    """The recipe's objectives with those of the options: name → its fields.

    Args:
        recipe: the options stand above it.
        words: contrast, contrast.mode=pairs …
        weights: of `--weight`; those of objectives are taken out.
        targets: a column that is called as an objective keeps its weight.
    """
    from sensorium.recipe import OBJECTIVE_NAMES

    chosen: dict[str, dict[str, Any]] = {
        name: fields for name, fields in recipe.objectives.model_dump().items() if fields is not None}
    for word in (part.strip() for given in words or () for part in given.split(",")):
        left, sign, value = word.partition("=")
        name, dot, option = left.strip().partition(".")
        if name not in OBJECTIVE_NAMES:
            raise RecipeError(f"--objective {word}: {unknown_name('objective', name, list(OBJECTIVE_NAMES))}")
        if bool(dot) != bool(sign) or (dot and not (option and value.strip())):
            raise RecipeError(f"--objective {word}: expected a name, or name.option=value as contrast.mode=pairs")
        fields = chosen.setdefault(name, {})
        if option:
            fields[option] = yaml.safe_load(value)
    for name in OBJECTIVE_NAMES:
        if name in weights and name not in targets:
            if name not in chosen:
                raise RecipeError(f"--weight {name}: name the objective too, --objective {name}")
            chosen[name]["weight"] = weights.pop(name)
    for name in weights:
        if name not in targets:
            raise RecipeError(f"--weight {name}: {unknown_name('target or objective', name, [*targets, *chosen])}")
    return chosen
