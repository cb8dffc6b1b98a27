"""Evidence for one answer in words: which modality told it, and where in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from sensorium.answers import Answer
from sensorium.data.kinds import TIMED, ImageKind, TableKind, TextKind
from sensorium.data.samples import Samples
from sensorium.evaluation.attribution import TokenAttribution, attributions, explained_target
from sensorium.evaluation.attribution_drawing import without_place
from sensorium.model import Model

Floats = npt.NDArray[np.float64]
NINTHS = ("the upper left", "the upper centre", "the upper right", "the left", "the middle", "the right",
          "the lower left", "the lower centre", "the lower right")
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
    return told_lines(samples, answer, places)


def told_lines(samples: Samples, answer: Answer, places: Mapping[str, TokenAttribution]) -> list[str]:
    """The lines, of an answer that is explained and of what each token of some modalities did."""
    lines = []
    for name, bits in sorted((answer.contributions or {}).items(), key=lambda pair: -pair[1]):
        where = _where(samples, name, places[name]) if name in places and bits > 0 else ""
        lines.append(f"{name} {round(bits, 1) + 0.0:+.1f} bits{f': mostly {where}' if where else ''}")
    return lines


def _classes(model: Model, target: str | None) -> tuple[str, ...]:
    return explained_target(model, target).classes


def _where(samples: Samples, name: str, told: TokenAttribution) -> str:
    """The part of a modality that speaks most for the answer, in words; nothing where no part does."""
    cells = samples.cells[name]
    gains = np.maximum(told.values, 0.0)
    slots = np.unique(told.cell).tolist()
    slot = max(slots, key=lambda one: float(gains[told.cell == one].sum()))
    own = told.cell == slot
    span = None if told.span is None else told.span[own]
    whole = without_place(cells.kind, span, int(own.sum()))
    if span is None or gains[own][~whole].sum() <= gains[own][whole].sum():
        return ""
    span, gains = span[~whole], gains[own][~whole]
    gains = np.where(gains >= TELLING * gains.max(), gains, 0.0)
    strongest = [place for place in np.argsort(-gains, kind="stable").tolist() if gains[place] > 0]
    if isinstance(cells.kind, ImageKind):
        part = " and ".join(_regions(span, gains)) if len(np.unique(span, axis=0)) > 1 else ""
    elif isinstance(cells.kind, TextKind):
        text = cells.arrays.get([int(cells.cells_of_row[0, slot])])[0]
        part = ", ".join(repr(word) for word in _words(text, span[strongest]))
    elif isinstance(cells.kind, TableKind):
        names = [column.name for column in cells.kind.columns]
        part = ", ".join(names[int(span[place, 0])] for place in strongest[:MOST_WORDS])
    elif cells.kind.name in TIMED:
        part = f"{span[strongest[0], 0]:.2f} to {span[strongest[0], 1]:.2f} s"
    else:
        return ""
    return f"number {slot + 1}, {part}" if len(slots) > 1 and part else part


def _regions(span: Floats, gains: Floats) -> list[str]:
    """The ninth of the picture that holds most of what speaks for the answer; and another, apart from it, that holds
    half as much."""
    thirds = np.arange(3) / 3
    across, down = (np.clip(np.minimum(span[:, side + 2, None], thirds + 1 / 3)
                            - np.maximum(span[:, side, None], thirds), 0.0, None) for side in (0, 1))
    held = (gains / (across.sum(axis=1) * down.sum(axis=1))) @ (down[:, :, None] * across[:, None, :]).reshape(-1, 9)
    order = np.argsort(-held, kind="stable").tolist()
    first = divmod(order[0], 3)
    apart = [place for place in order if held[place] >= held[order[0]] / 2
             and max(abs(place // 3 - first[0]), abs(place % 3 - first[1])) == 2]
    return [NINTHS[place] for place in [order[0], *apart[:1]]]


def _words(text: str, span: Floats) -> list[str]:
    """The whole words around some tokens, the strongest first."""
    words: list[str] = []
    for begin, end in span.astype(int).tolist():
        while begin < end and text[begin : begin + 1].isspace():
            begin += 1
        while begin > 0 and not text[begin - 1].isspace():
            begin -= 1
        while end < len(text) and not text[end].isspace():
            end += 1
        word = text[begin:end].strip(" ?!.,;:")
        if word and word not in words:
            words.append(word)
    return words[:MOST_WORDS]
