"""Several trainings of one recipe in a terminal."""

from __future__ import annotations

from sensorium.evaluation.plots import number_words
from sensorium.evaluation.scores import METRIC_WORDS
from sensorium.evaluation.spreads import Repeated, Spread
from sensorium.evaluation.words import aligned


def repeated_lines(found: Repeated) -> list[str]:
    """A Markdown table a target: over folds the pooled scores with intervals and the folds' mean ± sd of the first
    metric, over seeds the mean ± sd of every one; the finding under it."""
    lines: list[str] = []
    for target, primary in found.primary.items():
        spreads = [one for one in found.spreads if one.target == target]
        if not spreads:
            continue
        metrics = [primary, *(name for name in spreads[0].rounds if name != primary)]
        pooled = bool(spreads[0].pooled)
        table = [[target, "rows", *(METRIC_WORDS[name] for name in metrics)]]
        if pooled:
            table[0].append(f"{METRIC_WORDS[primary]}, mean of folds ± sd")
        for one in spreads:
            cells = [_pooled(one, name) if pooled else _spread(one, name) for name in metrics]
            table.append([" + ".join(one.modalities) or "as found", f"{one.rows:,}", *cells,
                          *([_spread(one, primary)] if pooled else [])])
        lines += ["", *aligned(table), "", found.sentence(target)]
    return [*lines, found.note]


def _pooled(one: Spread, metric: str) -> str:
    value = one.pooled[metric]
    return f"{number_words(value.value)} ({number_words(value.low)}–{number_words(value.high)})"


def _spread(one: Spread, metric: str) -> str:
    return f"{number_words(one.mean(metric))} ± {number_words(one.sd(metric))}"
