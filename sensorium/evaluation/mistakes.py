"""The worst mistakes: the rows in which a model was most wrong, with everything it had to go by."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from sensorium.answers import Answer
from sensorium.data.samples import Samples
from sensorium.data.schema import Target
from sensorium.evaluation.evaluate import Evaluation
from sensorium.evaluation.plots import Axis, Bar, bars, number_words, percent_words, signed
from sensorium.metrics.bootstrap import Estimate
from sensorium.model import Model

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
MEDIA_CHARACTERS = 3_500_000
MOST_MISTAKES, SAME_MISTAKE = 12, 3


@dataclass(frozen=True)
class Card:
    """A mistake: what was there, what was answered, and what each modality said to it.

    Args:
        row: the row's number in its table, from 1.
        truth, predicted: what was true and what was answered.
        given: the probabilities of both, in words; for numbers "" and how far off the answer was.
        media: modality → how a person looks at it.
        absent: the modalities that the row lacks.
        bars: what each modality added towards the answer.
    """

    row: int
    truth: str
    predicted: str
    given: tuple[str, str]
    media: list[tuple[str, Markup]]
    absent: list[str]
    bars: list[Bar]


class Album:
    """Shows cells through their kinds until the page's budget of characters is spent."""

    def __init__(self, samples: Samples) -> None:
        self._samples, self._left = samples, MEDIA_CHARACTERS

    def show(self, name: str, row: int) -> Markup | None:
        """The row's cells of a modality; None where it is absent."""
        cells = self._samples.cells[name]
        there = [cell for cell in cells.cells_of_row[row].tolist() if cell >= 0]
        if not there:
            return None
        html = "".join(cells.kind.show(array) for array in cells.arrays.get(there))
        if len(html) > self._left:
            return Markup('<p class="quiet">not shown: it would make this page too large</p>')
        self._left -= len(html)
        return Markup(html)


def worst_mistakes(
    model: Model, evaluation: Evaluation, target: Target, rows: Rows, truth: npt.NDArray[Any], predicted: Floats,
    album: Album,
) -> dict[str, Any]:
    """The worst mistakes, at most 3 of one sort; where there is none, the rows it was least sure of."""
    chosen, said = _worst(target, truth, predicted)
    if not chosen:
        return {"said": said, "cards": []}
    numbers = rows[chosen]
    answers = [one[target.name] for one in model.answers(evaluation.samples, rows=numbers, explain=True)]
    told = [value for one in answers for value in (one.contributions or {}).values()]
    reach = max([abs(value) for value in told if np.isfinite(value)] or [1.0])
    cards = []
    for place, row, answer in zip(chosen, numbers.tolist(), answers, strict=True):
        media = {name: album.show(name, row) for name in model.schema.names}
        shares = {name: Estimate(value, value, value) for name, value in (answer.contributions or {}).items()}
        cards.append(Card(row + 1, *_answer_words(target, truth[place], predicted[place], answer),
                          [(name, html) for name, html in media.items() if html is not None],
                          [name for name, html in media.items() if html is None],
                          bars(shares, Axis([-reach, reach])) if len(shares) > 1 else []))
    return {"said": said, "cards": cards}


def _worst(target: Target, truth: npt.NDArray[Any], predicted: Floats) -> tuple[list[int], str]:
    """Positions of the worst answers, worst first, and what they are."""
    if target.task == "regress":
        order = np.argsort(-np.abs(predicted[:, 0] - truth), kind="stable")[:MOST_MISTAKES].tolist()
        return order, f"The {len(order)} rows with the largest errors, the largest first."
    known = np.flatnonzero(truth >= 0)
    guessed = predicted.argmax(axis=1)
    order = known[np.argsort(predicted[known, truth[known]], kind="stable")]
    wrong = [place for place in order.tolist() if guessed[place] != truth[place]]
    if not wrong:
        return order[:6].tolist(), "There is no mistake on these rows. Shown instead: the rows it was least sure of."
    seen: Counter[tuple[int, int]] = Counter()
    chosen: list[int] = []
    for place in wrong:
        pair = (int(truth[place]), int(guessed[place]))
        seen[pair] += 1
        if seen[pair] <= SAME_MISTAKE and len(chosen) < MOST_MISTAKES:
            chosen.append(place)
    return chosen, (f"{len(wrong):,} of {len(known):,} rows are wrong. Shown: the {len(chosen)} in which the true "
                    f"class got the lowest probability, at most {SAME_MISTAKE} of the same sort; beside each "
                    f"class, the probability that the model gave it.")


def _answer_words(target: Target, truth: Any, predicted: Floats, answer: Answer) -> tuple[str, str, tuple[str, str]]:
    """What was true and what was answered; how probable each was, or how far off."""
    if target.task == "regress":
        value = float(predicted[0])
        return number_words(float(truth)), number_words(value), ("", f"off by {signed(value - float(truth))}")
    given = percent_words(float(predicted[int(truth)])), percent_words(float(predicted.max()))
    return target.classes[int(truth)], str(answer.value), given
