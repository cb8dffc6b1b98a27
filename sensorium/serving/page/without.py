"""What would change without a modality: the answers of every subset that leaves one out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sensorium.answers import Answer
from sensorium.data.schema import Target
from sensorium.evaluation.plots import number_words, percent_words, signed
from sensorium.serving.calls import Predict, Row
from sensorium.serving.page.answer_words import value_words
from sensorium.serving.refusal import busy
from sensorium.serving.service import Service

MOST_LEFT_OUT = 12


@dataclass(frozen=True)
class Without:
    """A line of the table: what was left out, the answer then, how sure, and the change; `changed`: another answer."""

    left_out: str
    value: str
    sure: str
    change: str
    changed: bool


def answers_without(service: Service, row: Row, answers: Mapping[str, Answer]) -> dict[str, dict[str, Answer]]:
    """Modality → the answers without it, for every modality that was read and that does not ask.

    Args:
        service: what answers.
        row: the sample.
        answers: of all that is there, by target.
    """
    read = next(iter(answers.values())).modalities
    asking = service.engine.asking
    left_out = [name for name in read if name not in asking][:MOST_LEFT_OUT]
    if len([name for name in read if name not in asking]) < 2:
        return {}
    calls = {name: service.start(Predict([row], tuple(one for one in read if one != name))) for name in left_out}
    try:
        return {name: future.result(service.limits.patience_s)[0] for name, future in calls.items()}
    except TimeoutError as error:
        raise busy("what would change takes too long to find out now: try again later") from error


def without_lines(target: Target, whole: Answer, without: Mapping[str, Mapping[str, Answer]]) -> list[Without]:
    """The table of one target, the greatest change first."""
    lines = [(_distance(whole, one[target.name]), _line(name, whole, one[target.name]))
             for name, one in without.items()]
    return [one for _, one in sorted(lines, key=lambda pair: -pair[0])]


def _line(name: str, whole: Answer, other: Answer) -> Without:
    changed = other.value != whole.value and whole.probabilities is not None
    if whole.probabilities is None or other.probabilities is None:
        low_high = "" if other.interval is None else " to ".join(map(number_words, other.interval))
        change = signed_words(float(other.value) - float(whole.value))
        return Without(name, value_words(other), low_high, change, changed)
    before, after = whole.probabilities[str(whole.value)], other.probabilities[str(whole.value)]
    return Without(name, value_words(other), percent_words(other.probability or 0.0),
                   f"{percent_words(before)} → {percent_words(after)}", changed)


def signed_words(value: float) -> str:
    """A difference with its sign."""
    return signed(value) if abs(value) >= 100 else f"{'+' if value >= 0 else '−'}{number_words(abs(value))}"


def _distance(whole: Answer, other: Answer) -> float:
    if whole.probabilities is None or other.probabilities is None:
        return abs(float(other.value) - float(whole.value))
    return abs(other.probabilities[str(whole.value)] - whole.probabilities[str(whole.value)])


def tables_without(
    targets: Sequence[Target], answers: Mapping[str, Answer], without: Mapping[str, Mapping[str, Answer]],
) -> list[tuple[Target, str, list[Without]]]:
    """(target, its answer in words, lines) for the template."""
    return [(target, value_words(answers[target.name]), without_lines(target, answers[target.name], without))
            for target in targets]
