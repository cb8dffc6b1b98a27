"""Calls worked on by the model, several that ask for the same at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sensorium.data.samples import Samples
from sensorium.errors import DataError, unknown_name
from sensorium.serving.calls import (
    Ask,
    Call,
    Embed,
    Embedded,
    Explain,
    Explained,
    Generate,
    Made,
    Predict,
    Search,
    Used,
    verb_of,
)
from sensorium.serving.engine import Engine, Names
from sensorium.serving.guarded import MOST_NAME, check_rows
from sensorium.serving.joining import joined
from sensorium.serving.limits import Limits
from sensorium.serving.refusal import Refusal


@dataclass(frozen=True)
class Work:
    """A call with its rows decoded."""

    call: Call
    samples: Samples


class Performer:
    """Works on a batch of calls.

    Args:
        engine: the model.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(self, batch: Sequence[Work]) -> list[Any]:
        """A result or an error for each, in order."""
        found: list[Any] = [self._nothing(work) for work in batch]
        left = [place for place, error in enumerate(found) if error is None]
        if left:
            for place, result in zip(left, self._performed([batch[place] for place in left]), strict=True):
                found[place] = result
        return found

    def _nothing(self, work: Work) -> Refusal | None:
        """Why nothing can be answered of a call: a row in which nothing is readable."""
        call = work.call
        hidden = _hidden(call, self._engine)
        used = used_of(work.samples, call.modalities, self._engine, hidden)
        for row, names in enumerate(used):
            asking = self._engine.asking
            lacks = isinstance(call, Predict | Explain | Ask) and asking and not asking & set(names)
            if not names or lacks:
                broken = "; ".join(unreadable_of(work.samples)[row])
                where = f"row {row + 1}: " if len(used) > 1 else ""
                wanted = sorted(asking) if lacks else [
                    name for name in self._engine.schema.names
                    if name not in hidden and (call.modalities is None or name in call.modalities)]
                return Refusal(422, f"{where}nothing to read: {broken or 'give ' + ' or '.join(wanted)}")
        return None

    def _performed(self, batch: Sequence[Work]) -> Sequence[Any]:
        first = batch[0].call
        if isinstance(first, Predict | Embed):
            whole = joined([work.samples for work in batch])
            return self._parted(batch, self._engine.predict(
                whole, modalities=first.modalities, explain=first.explain) if isinstance(first, Predict)
                else self._engine.embed(whole, modalities=first.modalities))
        return [self._alone(work.call, work.samples) for work in batch]

    def _parted(self, batch: Sequence[Work], results: Any) -> list[Any]:
        """Each call's part of the results of all rows."""
        found, start = [], 0
        for work in batch:
            own = results[start : start + len(work.samples)]
            start += len(work.samples)
            found.append(Embedded(own, used_of(work.samples, work.call.modalities, self._engine),
                                  unreadable_of(work.samples)) if isinstance(work.call, Embed) else own)
        return found

    def _alone(self, call: Call, samples: Samples) -> Any:
        engine = self._engine
        used = used_of(samples, call.modalities, engine, _hidden(call, engine))
        unreadable = unreadable_of(samples)
        if isinstance(call, Explain):
            answers = engine.predict(samples, modalities=call.modalities, explain=True)
            return Explained(answers, engine.attribute(samples, target=call.target, class_=call.class_,
                                                       modalities=call.modalities), samples)
        if isinstance(call, Ask):
            return engine.ask(samples, target=call.target, explain=call.explain, modalities=call.modalities)
        if isinstance(call, Generate):
            made = engine.generate(samples, call.to, n=call.n, seed=call.seed, guidance=call.guidance,
                                   beams=call.beams, modalities=call.modalities)[0]
            return Made(call.to or engine.made[0], made, used[0], unreadable[0])
        raise TypeError(f"{type(call).__name__} is not for the model")


def checked(call: Call, engine: Engine, abilities: Names, limits: Limits) -> Call:
    """The call, ready to be decoded; refused where the model lacks the ability or a choice is wrong.

    Raises:
        Refusal: 404 an ability that the model lacks, 413 too much is asked for.
        SensoriumError: an unknown modality, target, class …
    """
    refuse_unable(verb_of(call), abilities)
    if not isinstance(call.rows, Samples):
        check_rows(call.rows, engine.schema, limits)
    if isinstance(call, Ask) and isinstance(call.question, str) and len(call.question) > limits.characters:
        raise Refusal(413, f"question: {len(call.question):,} characters: this server reads at most "
                           f"{limits.characters:,}")
    for name in call.modalities or ():
        if name not in engine.schema.names:
            raise unknown_name("modality", name[:MOST_NAME], list(engine.schema.names))
    if call.modalities is not None and not call.modalities:
        raise DataError(f"modalities: expected some of {', '.join(engine.schema.names)}, or none named for all")
    if isinstance(call, Explain) and len(call.rows) > limits.explained:
        raise Refusal(413, f"{len(call.rows)} rows to explain: this server explains at most {limits.explained} in one "
                           f"request")
    if isinstance(call, Generate):
        if call.n > limits.made:
            raise Refusal(413, f"n: {call.n} asked for: this server makes at most {limits.made} in one request")
        engine.refuse_cut(call.given, to=call.to)
    if isinstance(call, Search) and not 1 <= call.k <= limits.hits:
        raise Refusal(422, f"k: expected 1 to {limits.hits}, found {call.k}")
    if isinstance(call, Ask):
        return replace(call, given=engine.place_question(call.question, call.given))
    return call


def refuse_unable(verb: str, abilities: Names) -> None:
    """Raise 404 with a sentence where the model cannot do this."""
    why = {"predict": "this model predicts no target: it was trained to embed, to make something or to answer in words",
           "explain": "this model explains nothing: it predicts no target, or was exported without that",
           "search": "there is no index to search: start the server with --index",
           "generate": "this model makes nothing: train one with --objective paint or --objective caption",
           "ask": "this model answers no questions: train one with --objective answer",
           "embed": "this model embeds nothing"}
    if verb not in abilities:
        raise Refusal(404, why[verb])


def used_of(
    samples: Samples, modalities: Sequence[str] | None, engine: Engine, hidden: Names = frozenset(),
) -> tuple[Used, ...]:
    """What is read of each row."""
    kept = [name not in hidden and (modalities is None or name in modalities) for name in samples.schema.names]
    return tuple(tuple(name for name, there in zip(samples.schema.names, row, strict=True) if there)
                 for row in (samples.presence & kept).tolist())


def unreadable_of(samples: Samples) -> tuple[tuple[str, ...], ...]:
    """Each row's cells that could not be read, with the reason."""
    found: list[list[str]] = [[] for _ in range(len(samples))]
    for cell in samples.unreadable:
        found[cell.row - 1].append(f"{cell.column}: {cell.reason}")
    return tuple(map(tuple, found))


def _hidden(call: Call, engine: Engine) -> Names:
    """Modalities that are not read: what is made."""
    if not isinstance(call, Generate):
        return frozenset()
    return frozenset({call.to if call.to is not None else engine.made[0]})
