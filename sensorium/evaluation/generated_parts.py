"""What it writes and what it paints: the report's parts on what a model makes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from sensorium.data.kinds import ImageKind
from sensorium.evaluation.evaluate import Evaluation
from sensorium.evaluation.generated import Pictures, text_sentence
from sensorium.evaluation.generated_copies import Copies
from sensorium.evaluation.generated_likeness import Distance, Likeness
from sensorium.evaluation.generated_texts import TEXT_WORDS, Texts
from sensorium.evaluation.mistakes import Album
from sensorium.evaluation.plots import number_words, percent_words, score_curves
from sensorium.metrics.bootstrap import Estimate
from sensorium.model import Model

Pixels = npt.NDArray[np.uint8]
MOST_SHEET, MOST_MEDIA, MOST_RIGHT = 32, 3, 3
MOST_CHARACTERS = 2_500_000
UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))


class Gallery:
    """Shows pictures until their share of the page is spent."""

    def __init__(self) -> None:
        self._left, self._kind = MOST_CHARACTERS, ImageKind()

    def show(self, pictures: Sequence[Pixels]) -> list[Markup] | None:
        """All of them; None where they do not fit any more."""
        html = [self._kind.show(one) for one in pictures]
        length = sum(map(len, html))
        if length > self._left:
            return None
        self._left -= length
        return [Markup(one) for one in html]


def generated_part(model: Model, evaluation: Evaluation, album: Album) -> dict[str, Any]:
    """Everything the page says about what a model makes: `written`, `painted` and `course`, empty where there is none.

    Args:
        model: that was scored.
        evaluation: of it.
        album: shows cells of the table.
    """
    made = evaluation.generated
    return {"written": [_written(one, album) for one in made.texts if one.lines],
            "painted": None if made.pictures is None else _painted(made.pictures, album),
            "course": _course(model), "headlines": made.headlines}


def writing_charts(model: Model, best_epoch: float | None) -> list[dict[str, Any]]:
    """A curve for each objective that writes: the share of next words that are right, by epoch."""
    charts = []
    for maker in model.generative():
        word = maker.score_word
        if word is not None and any("all" in entry.get("scores", {}).get(maker.name, {}) for entry in model.history):
            svg = score_curves(model.history, maker.name, ["all"], best_epoch, word=word, prefix=f"made-{maker.name}")
            said = ("The share of true texts' words that are the most probable ones after the true words before them: "
                    "easier than writing.")
            charts.append({"title": f"{maker.to_name}: validation {word}", "svg": Markup(svg), "said": said,
                           "legend": ["all modalities"]})
    return charts


def _written(texts: Texts, album: Album) -> dict[str, Any]:
    lines, names = [], list(texts.lines[0].metrics)
    for one in texts.lines:
        label = " + ".join(one.modalities) or "as found"
        lines.append({"label": label, "note": "" if one.modalities else "every row with whatever it has",
                      "rows": one.rows, "metrics": [one.metrics.get(name, UNKNOWN) for name in names]})
        if one.others:
            lines.append({"label": "texts of other rows", "note": "what luck and the usual words would score",
                          "rows": one.rows, "metrics": [one.others.get(name, UNKNOWN) for name in names]})
    cards = []
    for example in texts.examples:
        media = [(name, html) for name in texts.reads if (html := album.show(name, example.row)) is not None]
        cards.append({"row": example.row + 1, "media": media[:MOST_MEDIA], "made": example.made,
                      "right": example.right[:MOST_RIGHT], "more": max(0, len(example.right) - MOST_RIGHT),
                      "score": example.score, "probability": float(np.exp(example.log_probability)),
                      "why": "one of the worst" if example.worst else "drawn at random"})
    return {"to": texts.to, "said": text_sentence(texts), "lines": lines, "cards": cards,
            "words": [TEXT_WORDS[name] for name in names], "finds": texts.finds, "notes": texts.notes}


def _painted(pictures: Pictures, album: Album) -> dict[str, Any]:
    gallery = Gallery()
    likeness, finds = pictures.likeness, pictures.finds
    found = [] if finds is None else [
        {"label": label, "note": note, "value": value} for label, note, value in (
            ("painted pictures", "", finds.made), ("real pictures", "the most that this judge grants", finds.real),
            ("training pictures", "of the training row with the most similar input", finds.neighbour))
        if value is not None]
    return {"to": pictures.painting.to, "how": pictures.painting.said, "said": pictures.sentences,
            "compared": _compared(likeness), "likeness": likeness, "features": _features_words(likeness),
            "found": found, "finds": finds, "sheet": _sheet(pictures, gallery, album),
            "copies": _copies(pictures.copies, gallery), "notes": pictures.notes}


def _compared(likeness: Likeness) -> list[dict[str, Any]]:
    """Lines of the table: what is measured, painted pictures against real ones, halves of the real ones."""
    def line(label: str, note: str, one: Distance, words: Any) -> dict[str, Any]:
        return {"label": label, "note": note, "cells": [
            (words(value), f"{words(low)} to {words(high)}") for value, (low, high) in (
                (one.made, one.made_range), (one.floor, one.floor_range))]}

    return [line(label, note, one, words) for label, note, one, words in (
        ("kernel distance", "0: alike; right on average for any number of pictures", likeness.kernel, number_words),
        ("Fréchet distance", f"too large with few pictures ({likeness.half:,} on each side, {likeness.dimensions:,} "
                             f"numbers each): compare it only with the one beside it", likeness.frechet, number_words),
        ("precision", "painted pictures that lie among real ones", likeness.precision, percent_words),
        ("recall", "real pictures that lie among painted ones", likeness.recall, percent_words),
    ) if one is not None]


def _features_words(likeness: Likeness) -> str:
    said = f"On {likeness.features} ({likeness.dimensions:,} numbers a picture)"
    return (f"{said}; not comparable with Inception-FID" if likeness.features.startswith("features of")
            else f"{said}: colours and where they are, not what is shown; name a picture encoder, --features FOLDER, "
                 f"for that")


def _sheet(pictures: Pictures, gallery: Gallery, album: Album) -> list[dict[str, Any]]:
    """Rows with what they were painted from, the real picture and the painted ones."""
    painting, lines = pictures.painting, []
    for place, several in zip(painting.varied[:MOST_SHEET].tolist(), painting.several, strict=False):
        row = int(painting.rows[place])
        known = bool(painting.known[place])
        shown = gallery.show([*([painting.real[place]] if known else []), *several])
        if shown is None:
            break
        media = [(name, html) for name in painting.reads[:MOST_MEDIA] if (html := album.show(name, row)) is not None]
        lines.append({"row": row + 1, "media": media, "real": shown[0] if known else None,
                      "made": shown[1:] if known else shown})
    return lines


def _copies(copies: Copies | None, gallery: Gallery) -> dict[str, Any] | None:
    """Painted pictures and the training pictures nearest to them."""
    if copies is None:
        return None
    pairs = []
    for one in copies.shown:
        shown = gallery.show([one.made, one.nearest])
        if shown is None:
            break
        pairs.append({"row": one.row + 1, "training_row": one.training_row + 1, "made": shown[0], "nearest": shown[1],
                      "distance": one.distance, "chosen": one.chosen})
    return {"pairs": pairs, "chosen": sum(one["chosen"] for one in pairs), "features": copies.features,
            "judged": any(np.isfinite(one.distance) for one in copies.shown)}


def _course(model: Model) -> dict[str, Any] | None:
    """Pictures for the same few rows as training went on."""
    if not model.course:
        return None
    looks = [(entry["epoch"], entry["pictures"]) for entry in model.history if "pictures" in entry]
    epochs = ", ".join(str(epoch) for epoch, _ in looks)
    source = base64.b64encode(model.course).decode()
    said = f"The same held-out rows and the same noise, after epochs {epochs}; above them, the real pictures."
    return {"said": said, "html": Markup(f'<img class="course" alt="pictures painted for the same rows after epochs '
                                         f'{epochs}" src="data:image/png;base64,{source}">')}
