"""An answer in words and bars: value, how sure, what else it could be, what each modality added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sensorium.answers import Answer
from sensorium.data.schema import Target
from sensorium.evaluation.attribution_marks import beam
from sensorium.evaluation.plots import number_words, percent_words

SHOWN_CHANCES = 5
SHOWN_SET = 6


@dataclass(frozen=True)
class Chance:
    """A class with its probability; `answered` where it is the answer, `rest` for all that are not named."""

    name: str
    share: float
    words: str
    answered: bool = False
    rest: bool = False


@dataclass(frozen=True)
class Told:
    """An answer as the page tells it.

    Args:
        target: its name; "" where it does not matter.
        value: in words.
        quiet: its probability, or its interval, in words.
        sure: what its confidence set says, a sentence; "" without one.
        spoken: what is read aloud.
        chances: the most probable classes, in order.
        added: bars of what each modality added.
        added_note: what the bars mean.
        read: the modalities that were read.
        absent: those that were not.
        unlike: whether the sample is unlike the training data.
        unreadable: cells that could not be read, with the reason.
    """

    target: str
    value: str
    quiet: str
    sure: str
    spoken: str
    chances: list[Chance]
    added: list[Markup]
    added_note: str
    read: tuple[str, ...]
    absent: tuple[str, ...]
    unlike: bool
    unreadable: tuple[str, ...]


def tell(answer: Answer, target: Target | None, names: Sequence[str]) -> Told:
    """An answer in words.

    Args:
        answer: of one row.
        target: what it is about; None for an answer that was written.
        names: the modalities that could be read.
    """
    value = value_words(answer)
    unit = "" if answer.probabilities is None else "bits"
    if answer.interval is not None:
        low, high = map(number_words, answer.interval)
        quiet = f"{low} to {high}"
    else:
        quiet = "" if answer.probability is None else percent_words(answer.probability)
    contributions = answer.contributions or {}
    reach = max((abs(one) for one in contributions.values()), default=0.0)
    added = [Markup(beam(name, bits, reach, unit))
             for name, bits in sorted(contributions.items(), key=lambda pair: -abs(pair[1]))]
    name = "" if target is None else target.name
    return Told(name, value, quiet, _sure(answer), f"{value}{f', {quiet}' if quiet else ''}", _chances(answer), added,
                _note(answer, value) if added else "", answer.modalities,
                tuple(one for one in names if one not in answer.modalities), bool(answer.unlike), answer.unreadable)


def tell_all(answers: Mapping[str, Answer], targets: Sequence[Target], names: Sequence[str]) -> list[Told]:
    """Every target's answer in words."""
    return [tell(answers[target.name], target, names) for target in targets if target.name in answers]


def value_words(answer: Answer) -> str:
    """The class, the text, or the number as a person writes it."""
    return number_words(answer.value) if isinstance(answer.value, float) else str(answer.value)


def _note(answer: Answer, value: str) -> str:
    if answer.probabilities is None:
        return "Shapley values: how far each modality moved the number from the mean of the training data"
    return (f"Shapley values in bits: how far each modality moved log₂ of the probability of “{value}”; +1 bit doubles "
            f"it")


def _sure(answer: Answer) -> str:
    """What the confidence set or the interval says."""
    if answer.interval is not None:
        return ("The true number lies in this interval as often as was calibrated: nine times in ten, unless set "
                "otherwise.")
    if answer.confidence_set is None:
        return ""
    likely = list(answer.confidence_set[:SHOWN_SET])
    more = len(answer.confidence_set) - len(likely)
    if not likely:
        return "Confidence set: empty. No class is likely enough; take the answer as a guess."
    if answer.decided:
        return f"Confidence set: {likely[0]} alone."
    return f"Confidence set: {', '.join(likely)}{f' and {more} more' if more else ''}. It could be any of these."


def _chances(answer: Answer) -> list[Chance]:
    if answer.probabilities is None or len(answer.probabilities) < 2:
        return []
    ranked = sorted(answer.probabilities.items(), key=lambda pair: -pair[1])
    shown = [Chance(name, share, percent_words(share), name == str(answer.value))
             for name, share in ranked[:SHOWN_CHANCES]]
    rest = sum(share for _, share in ranked[SHOWN_CHANCES:])
    if len(ranked) > SHOWN_CHANCES:
        shown.append(Chance(f"{len(ranked) - SHOWN_CHANCES} others", rest, percent_words(rest), rest=True))
    return shown
