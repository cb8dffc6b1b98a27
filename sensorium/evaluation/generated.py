"""What a model makes, told as it is: its texts against the true ones, its pictures against the real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.kinds import TextKind
from sensorium.data.samples import Samples
from sensorium.data.table import Table
from sensorium.errors import RecipeError
from sensorium.evaluation.generated_copies import Copies, copies_of
from sensorium.evaluation.generated_features import PictureFeatures, plain_features, pretrained_features
from sensorium.evaluation.generated_finds import Finds, picture_finds
from sensorium.evaluation.generated_judge import Judge, judge_of, own_judge
from sensorium.evaluation.generated_likeness import Likeness, likeness
from sensorium.evaluation.generated_painting import Painting, painting_of, real_pictures
from sensorium.evaluation.generated_rows import has_all, readable, rows_said
from sensorium.evaluation.generated_texts import TEXT_WORDS, Texts, texts_of
from sensorium.evaluation.plots import number_words, percent_words
from sensorium.evaluation.scored import Scored
from sensorium.metrics.bootstrap import Estimate
from sensorium.model import Model
from sensorium.objectives import Caption, Generative

Rows = npt.NDArray[np.int64]
MOST_REFERENCE = 500
UNJUDGED = ("whether pictures show what they were made from is not judged: name a judge, --judge RUN, a model trained "
            "with objective contrast that reads a picture and what pictures are made from")


@dataclass(frozen=True)
class Comparison:
    """What a model makes is compared by and with.

    Args:
        features: how pictures are compared.
        judges: modality that is made → who says whether it says or shows what it should; those that nobody can judge
            are missing.
        rows: how many to paint for; None: as many as a minute allows.
        notes: modality that is made → why the given judge cannot judge it.
    """

    features: PictureFeatures
    judges: Mapping[str, Judge] = field(default_factory=dict)
    rows: int | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def judges_texts(self) -> bool:
        """Whether somebody judges texts."""
        return any(isinstance(one.model.schema.modality(one.sees).kind, TextKind) for one in self.judges.values())


@dataclass(frozen=True)
class Pictures:
    """What was found about the pictures of one column.

    Args:
        painting: the pictures.
        likeness: as a whole, against the real ones.
        finds: whether they find what they were made from; None where no judge can tell.
        copies: whether they are copies of training pictures; None without these.
        notes: what was left out, and why.
    """

    painting: Painting
    likeness: Likeness
    finds: Finds | None
    copies: Copies | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        one = self.painting
        return {"to": one.to, "reads": list(one.reads), "rows": len(one.rows), "not_drawn": one.not_drawn,
                "nothing_to_paint_from": one.left_out[0], "same_picture": one.left_out[1],
                "no_real_picture": int((~one.known).sum()), "likeness": self.likeness.to_json(),
                "retrieval": None if self.finds is None else self.finds.to_json(),
                "copies": None if self.copies is None else self.copies.to_json(), "notes": list(self.notes)}

    @property
    def sentences(self) -> list[str]:
        """The findings in words, a paragraph each."""
        return [*self.likeness.sentences, *([] if self.finds is None else [self.finds.sentence]),
                *([] if self.copies is None else [self.copies.sentence])]


@dataclass(frozen=True)
class Generated:
    """What a model makes.

    Args:
        texts: of each objective that writes.
        pictures: of the objective that paints; None where there is none, or nothing to paint from.
        notes: what could not be made at all, and why.
    """

    texts: list[Texts] = field(default_factory=list)
    pictures: Pictures | None = None
    notes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.pictures is not None or any(one.lines for one in self.texts)

    @property
    def headlines(self) -> list[str]:
        """A sentence about each thing that is made."""
        told = [] if self.pictures is None else self.pictures.sentences[:1]
        return [*(text_sentence(one) for one in self.texts if one.lines), *told]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"texts": [one.to_json() for one in self.texts if one.lines],
                "pictures": None if self.pictures is None else self.pictures.to_json()}


def comparison_of(
    model: Model, *, features: str | Path | None = None, judge: Model | str | Path | None = None,
    rows: int | None = None,
) -> Comparison:
    """What a model makes is compared by, refused before any work where it cannot be.

    Args:
        model: that is judged.
        features: the folder of a pretrained picture encoder; None: thumbnails.
        judge: a model (or its folder) that reads what is made and something that it is made from, in one space; None:
            the model itself, where it can.
        rows: how many to paint for.

    Raises:
        RecipeError, AlignmentError: the model makes nothing of the kind, or these cannot judge it.
    """
    makers = [one for one in model.generative() if one.name != "answer"]
    paints = model.painting() is not None
    if (not paints and (features is not None or rows is not None)) or (not makers and judge is not None):
        raise RecipeError("features, judge and pictures are for a model that paints, a judge also for one that "
                          "captions: train it with --objective paint or --objective caption")
    if rows is not None and rows < 1:
        raise RecipeError(f"pictures: expected rows to paint for, 1 or more, found {rows}")
    judges, refused = _judges(model, makers, judge)
    return Comparison(plain_features() if features is None else pretrained_features(features), judges, rows,
                      {name: str(error) for name, error in refused.items()})


def _judges(
    model: Model, makers: Sequence[Generative], judge: Model | str | Path | None,
) -> tuple[dict[str, Judge], dict[str, RecipeError]]:
    """Who judges what is made, and why the given judge does not; an error where it judges nothing of it."""
    found: dict[str, Judge] = {}
    refused: dict[str, RecipeError] = {}
    given = Model.load(judge) if isinstance(judge, str | Path) else judge
    called = str(judge) if isinstance(judge, str | Path) else "the given model"
    for maker in makers:
        to, names = maker.to_name, readable(model, maker)
        try:
            own = own_judge(model, to, names) if given is None else judge_of(given, called, model.schema, to, names)
        except RecipeError as error:
            refused[to] = error
            continue
        if own is not None:
            found[to] = own
    if refused and not found:
        raise next(iter(refused.values()))
    return found, refused


def generated_of(
    scored: Scored, comparison: Comparison, *, table: Table | None = None, train: Samples | None = None,
    train_rows: Rows | None = None,
) -> Generated:
    """Make, for some of the scored rows, all that the model makes, and compare it with what is there.

    Args:
        scored: the rows.
        comparison: what pictures are compared by and with.
        table: where the rows came from.
        train, train_rows: the decoded training table and its rows that were trained on, for what was learned by heart.
    """
    found, notes = [], []
    if train is not None and train_rows is None:
        train_rows = np.arange(len(train))
    for maker in scored.model.generative():
        if isinstance(maker, Caption):
            texts = texts_of(scored, maker, comparison.judges.get(maker.to_name), table=table, train=train,
                             train_rows=train_rows, unjudged=comparison.notes.get(maker.to_name))
            found.append(texts)
            if not texts.lines:
                notes.append(f"{texts.to}: no text is scored: {_lacking(texts.left_out, 'true text', 'write')}")
    pictures = _pictures(scored, comparison, table, train, train_rows)
    if pictures is None and (painter := scored.model.painting()) is not None:
        notes.append(f"{painter.to_name}: no row shows anything to paint from")
    return Generated(found, pictures, notes)


def generated_lines(generated: Generated) -> list[str]:
    """What a person reads in a terminal: tables, and a sentence for each finding."""
    from sensorium.evaluation.words import aligned

    lines: list[str] = []
    for one in generated.texts:
        if not one.lines:
            continue
        names = list(one.lines[0].metrics)
        table = [[f"{one.to}, made from", "rows", *(TEXT_WORDS[name] for name in names)]]
        for line in one.lines:
            first = " + ".join(line.modalities) if line.modalities else "as found"
            table += [[label, f"{line.rows:,}", *(_spread(own[name]) if name in own else "" for name in names)]
                      for label, own in ((first, line.metrics), ("texts of other rows", line.others)) if own]
        lines += ["", *aligned(table), text_sentence(one), *([] if one.finds is None else [one.finds.sentence]),
                  *one.notes]
    if generated.pictures is not None:
        lines += ["", generated.pictures.painting.said, *generated.pictures.sentences, *generated.pictures.notes]
    return lines


def text_sentence(texts: Texts) -> str:
    """The finding about texts in words."""
    line = texts.lines[0]
    exact, cider = line.metrics["exact_match"], line.metrics["cider_d"]
    said = (f"{texts.to}: the best text of {rows_said(line.rows)} is exactly right in {percent_words(exact.value)} "
            f"(95 % interval {percent_words(exact.low)} to {percent_words(exact.high)})")
    if line.rows == 1:
        said += "; CIDEr-D is not told, which weighs words by how few of the rows share them"
    if line.others:
        said += f"; texts made for other rows would be in {percent_words(line.others['exact_match'].value)}"
        if np.isfinite([cider.value, line.others["cider_d"].value]).all():
            said += (f" (CIDEr-D {number_words(cider.value)} against {number_words(line.others['cider_d'].value)})")
    said += "."
    if line.rows > 1:
        made = "always the same text" if texts.distinct_made == 1 else f"{texts.distinct_made:,} different texts"
        true = "one text" if texts.distinct_right == 1 else f"{texts.distinct_right:,} different texts"
        said += f" It wrote {made}, where {true} would be true."
    if line.others and line.metrics["rouge_l"].low <= line.others["rouge_l"].value:
        said += " What it reads changes nothing in what it writes that these rows could show."
    more = [f"{rows_said(count, doing)} {words}" for count, doing, words in (
        (texts.repeated, "say", "the same as another one: written for once"),
        (texts.not_drawn, "were", "not written for, to bound the time"),
        (texts.left_out[0], "show", "nothing to write from"), (texts.left_out[1], "have", "no true text")) if count]
    return said + (f" {'; '.join(more)}." if more else "")


def _pictures(
    scored: Scored, comparison: Comparison, table: Table | None, train: Samples | None, train_rows: Rows | None,
) -> Pictures | None:
    painter = scored.model.painting()
    painting = None if painter is None else painting_of(scored, painter, most=comparison.rows)
    if painter is None or painting is None:
        return None
    features, notes = comparison.features, []
    made, real = features.of(painting.made), np.zeros((0, 0))
    several = np.stack([features.of(one) for one in painting.several])
    real = features.of(painting.real[painting.known]) if painting.known.any() else made[:0]
    reference = real
    if len(reference) < 2 and train is not None and train_rows is not None:
        rows = train_rows[has_all(train, [painting.to], train_rows)][:MOST_REFERENCE]
        reference = features.of(real_pictures(train, painting.to, rows, painting.shape)) if len(rows) else reference
    whole = likeness(made[painting.known], real, several, reference, features=features.name, seed=scored.seed)
    finds: Finds | str = comparison.notes.get(painting.to, UNJUDGED)
    if painting.to in comparison.judges:
        finds = picture_finds(scored, painter, painting, comparison.judges[painting.to], table=table, train=train,
                              train_rows=train_rows)
    copies = None
    if train is not None and train_rows is not None:
        copies = copies_of(painting, train, train_rows, features, made, real, seed=scored.seed)
    if copies is None:
        notes.append("whether pictures are copies of training pictures is not told: the training table is not at hand")
    notes += [*whole.notes, *([finds] if isinstance(finds, str) else finds.notes)]
    return Pictures(painting, whole, None if isinstance(finds, str) else finds, copies, tuple(notes))


def _lacking(left_out: tuple[int, int], what: str, doing: str) -> str:
    nothing, untrue = left_out
    said = [f"{rows_said(nothing, 'show')} nothing to {doing} from"] if nothing else []
    said += [f"{rows_said(untrue, 'have')} no {what}"] if untrue else []
    return " and ".join(said) if said else "there is no row"


def _spread(value: Estimate) -> str:
    if not np.isfinite(value.value):
        return "—"
    return f"{_shown(value.value)} ({_shown(value.low)}–{_shown(value.high)})"


def _shown(value: float) -> str:
    return "—" if not np.isfinite(value) else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


__all__ = ["Comparison", "Generated", "Pictures", "comparison_of", "generated_lines", "generated_of",
           "text_sentence"]
