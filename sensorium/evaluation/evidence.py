"""Evidence for one answer in words: which modality told it, and where in it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from sensorium.answers import Answer
from sensorium.data.kinds import AudioKind, ImageKind, TableKind, TextKind
from sensorium.data.samples import Samples
from sensorium.evaluation.attribution import TokenAttribution, attributions, explained_target
from sensorium.model import Model

ROWS_OF_PICTURE = ("upper", "middle", "lower")
COLUMNS_OF_PICTURE = ("left", "centre", "right")
MOST_WORDS = 3
TELLING = 0.25


def evidence_lines(
    model: Model, samples: Samples, answer: Answer, *, target: str | None = None,
    modalities: Collection[str] | None = None,
) -> list[str]:
    """A line for each modality that was read: what it added, and which part of it spoke most for the answer.

    Args:
        model: the model that answered.
        samples: the one decoded row.
        answer: explained; chosen among classes where places are wanted.
        target: which; the first where None.
        modalities: those that were allowed.
    """
    places: dict[str, TokenAttribution] = {}
    if model.schema.targets and answer.probabilities is not None and str(answer.value) in _classes(model, target):
        chosen = explained_target(model, target)
        told = attributions(model, samples, np.arange(1), target=chosen, modalities=modalities,
                            classes=[chosen.classes.index(str(answer.value))])[0]
        places = {} if told is None else told.tokens
    lines = []
    for name, bits in sorted((answer.contributions or {}).items(), key=lambda pair: -pair[1]):
        where = "" if name not in places else _where(samples, model, name, places[name])
        lines.append(f"{name} {bits:+.1f} bits{f': {where}' if where else ''}")
    return lines


def _classes(model: Model, target: str | None) -> tuple[str, ...]:
    return explained_target(model, target).classes


def _where(samples: Samples, model: Model, name: str, told: TokenAttribution) -> str:
    """The part of a modality that speaks most for the answer, in words; nothing where none does."""
    if told.span is None or not len(told.values) or told.values.max() <= 0:
        return ""
    kind = model.schema.modality(name).kind
    strongest = np.argsort(-told.values, kind="stable")
    if isinstance(kind, ImageKind):
        return f"mostly {_region(told)}"
    if isinstance(kind, TextKind):
        cells = samples.cells[name]
        text = cells.arrays.get([int(cells.cells_of_row[0, 0])])[0]
        words = _words(text, told, strongest)
        return f"mostly {', '.join(repr(word) for word in words)}" if words else ""
    if isinstance(kind, TableKind):
        names = [column.name for column in kind.columns]
        telling = [names[int(told.span[place, 0])] for place in strongest[:MOST_WORDS] if told.values[place] > 0]
        return f"mostly {', '.join(telling)}"
    if isinstance(kind, AudioKind) or told.span.shape[1] == 2:
        begin, end = told.span[strongest[0]]
        return f"mostly {begin:.1f} to {end:.1f} s"
    return ""


def _region(told: TokenAttribution) -> str:
    """The ninth of the picture in which most of what speaks for the answer lies."""
    assert told.span is not None
    x, y = (told.span[:, 0] + told.span[:, 2]) / 2, (told.span[:, 1] + told.span[:, 3]) / 2
    weights = np.maximum(told.values, 0.0)
    row, column = (min(2, int(3 * float((weights * where).sum() / weights.sum()))) for where in (y, x))
    if (row, column) == (1, 1):
        return "the middle"
    return f"the {ROWS_OF_PICTURE[row]} {COLUMNS_OF_PICTURE[column]}"


def _words(text: str, told: TokenAttribution, strongest: npt.NDArray[np.int64]) -> list[str]:
    """The whole words around the strongest tokens."""
    assert told.span is not None
    most = told.values[strongest[0]]
    words: list[str] = []
    for place in strongest:
        if told.values[place] < TELLING * most or len(words) == MOST_WORDS:
            break
        begin, end = (int(edge) for edge in told.span[place])
        while begin < end and text[begin : begin + 1].isspace():
            begin += 1
        while begin > 0 and not text[begin - 1].isspace():
            begin -= 1
        while end < len(text) and not text[end].isspace():
            end += 1
        word = text[begin:end].strip(" ?!.,;:")
        if word and word not in words:
            words.append(word)
    return words
