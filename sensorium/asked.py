"""Questions answered from whatever else is there: chosen among classes, or written word by word."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sensorium.answers import Answer
from sensorium.data.batch import make_batch
from sensorium.data.kinds import AudioKind, TextKind
from sensorium.data.read import as_samples
from sensorium.data.samples import Samples
from sensorium.data.schema import Modality
from sensorium.errors import DataError, RecipeError, unknown_name
from sensorium.generation.likelihood import text_log_probabilities
from sensorium.made import columns_said, refuse_cut, written
from sensorium.metrics.contribution import shapley
from sensorium.model import Model
from sensorium.objectives import Caption

Names = frozenset[str]
MOST_EXPLAINED = 5
BEAMS = 8


def ask(
    model: Model, question: Any, given: Mapping[str, Any], *, target: str | None = None, explain: bool = False,
    modalities: Collection[str] | None = None, root: str | Path = ".",
) -> Answer:
    """Answer a question; see `Model.ask`."""
    row = question_row(model, question, given)
    refuse_cut(model, row)
    samples = as_samples(row, model.schema, root=root)
    return answer_question(model, samples, target=target, explain=explain, modalities=modalities)


def answer_question(
    model: Model, samples: Samples, *, target: str | None = None, explain: bool = False,
    modalities: Collection[str] | None = None,
) -> Answer:
    """Answer the question that stands in the one row of decoded samples; see `Model.ask`."""
    refuse_unanswerable(model, samples, modalities=modalities)
    writer = writer_of(model)
    if target is not None and target not in {one.name for one in model.schema.targets}:
        raise RecipeError(str(unknown_name("target", target, [one.name for one in model.schema.targets])))
    if writer is not None and target is None:
        return _written(model, writer, samples, modalities, explain=explain)
    answers = model.answers(samples, modalities=modalities, explain=explain)[0]
    return answers[model.schema.targets[0].name if target is None else target]


def writer_of(model: Model) -> Caption | None:
    """The objective that writes answers, where the model has it."""
    return next((one for one in model.generative() if isinstance(one, Caption) and one.name == "answer"), None)


def question_row(model: Model, question: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the model's columns with the question in the one it belongs to.

    Args:
        model: trained with objective answer.
        question: text; or a sound, as a path, bytes or (waveform, rate).
        given: what it is about, by column.

    Raises:
        RecipeError: the model answers no questions, or not of this kind.
        DataError: the question is blank, or is given twice.
    """
    if not model.asking:
        raise RecipeError("this model answers no questions: train one with --objective answer")
    model.schema.refuse_strangers(given)
    asking = [model.schema.modality(name) for name in model.schema.names if name in model.asking]
    chosen = _asked_through(asking, question)
    column = chosen.columns[0]
    if column in given:
        raise DataError(f"the question is given twice: {column!r} is the modality that asks")
    if isinstance(question, str) and not question.strip():
        raise DataError("the question is blank: type one, such as 'what is in the picture?'")
    return {**given, column: question}


def question_samples(
    model: Model, row: Mapping[str, Any], *, modalities: Collection[str] | None = None, root: str | Path = ".",
) -> Samples:
    """The decoded row; refused where there is nothing to answer the question from."""
    refuse_cut(model, row)
    samples = as_samples(row, model.schema, root=root)
    refuse_unanswerable(model, samples, modalities=modalities)
    return samples


def refuse_unanswerable(model: Model, samples: Samples, *, modalities: Collection[str] | None = None) -> None:
    """Raise DataError where the question cannot be read, or there is nothing to answer it from."""
    others = [name for name in model.schema.names if name not in model.asking and name in model.read]
    allowed = [name for name in others if modalities is None or name in modalities]
    model.columns_of(modalities)
    broken = "; ".join(f"{cell.column}: {cell.reason}" for cell in samples.unreadable)
    present = samples.presence[0]
    asked = [name for name in model.schema.names if name in model.asking and present[model.schema.names.index(name)]]
    if not asked:
        raise DataError(f"the question cannot be read ({broken})")
    if modalities is not None and not set(asked) & set(modalities):
        raise DataError(f"the question is not to be read: it is in {' and '.join(asked)}, and only "
                        f"{', '.join(modalities)} is: add {asked[0]}")
    if allowed and not any(present[model.schema.names.index(name)] for name in allowed):
        raise DataError(f"nothing to answer the question from: give {columns_said(model.schema, allowed)}"
                        f"{f' ({broken})' if broken else ''}")


def _asked_through(asking: list[Modality], question: Any) -> Modality:
    """The modality for this question: text for strings, unless only sounds are asked through."""
    texts = [one for one in asking if isinstance(one.kind, TextKind)]
    sounds = [one for one in asking if isinstance(one.kind, AudioKind)]
    if isinstance(question, str) and texts:
        return texts[0]
    if not sounds:
        raise RecipeError(f"this model is asked in text ({texts[0].name}), not in sound")
    if isinstance(question, str) and not Path(question).is_file():
        raise DataError(f"this model is asked in sound ({sounds[0].name}): {question!r} is not a file")
    return sounds[0]


def _written(
    model: Model, writer: Caption, samples: Samples, modalities: Collection[str] | None, *, explain: bool,
) -> Answer:
    """The most probable text, with the probabilities of those beside it."""
    rows = np.arange(1)
    texts = written(model, writer, samples, rows, n=BEAMS, beams=BEAMS, modalities=modalities)[0]
    best = max(texts, key=lambda one: one.log_probability)
    probabilities: dict[str, float] = {}
    for one in texts:
        probabilities[one.text] = probabilities.get(one.text, 0.0) + math.exp(one.log_probability)
    present = tuple(name for name, there in zip(model.schema.names, samples.presence[0], strict=True)
                    if there and name not in writer.hidden and (modalities is None or name in modalities))
    contributions = None
    if explain:
        others = tuple(name for name in present if name not in model.asking)[:MOST_EXPLAINED]
        asked = frozenset(present) & model.asking
        game = {frozenset(some): _bits(model, writer, samples, best.text, asked | frozenset(some))
                for size in range(len(others) + 1) for some in combinations(others, size)}
        contributions = {name: float(share) for name, share in shapley(game, others).items()} if others else {}
    return Answer(best.text, probabilities, present, contributions)


def _bits(model: Model, writer: Caption, samples: Samples, text: str, subset: Names) -> float:
    """log₂ p(text | what the row has of the subset)."""
    with torch.inference_mode():
        batch = make_batch(samples, np.arange(1), unread=model.unread).to(model.device)
        view = model.view(model.encode(batch), impute=False).restricted(writer)
        condition, _ = writer.condition(view, view.presence & model.columns_of(subset).to(model.device))
        assert condition is not None
        ids, mask = writer.words.encode([text])
        device = condition.vector.device
        said = text_log_probabilities(writer.decoder, ids.to(device), mask.to(device), writer.remembered(condition))
    return float(said[0]) / math.log(2.0)
