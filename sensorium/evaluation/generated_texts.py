"""How good the texts are that a model writes: the best one of each row against the true ones, from any input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sensorium.data.batch import make_batch
from sensorium.data.kinds import ImageKind
from sensorium.data.samples import Samples
from sensorium.data.table import Table
from sensorium.evaluation.embedder import metrics_json
from sensorium.evaluation.generated_board import Board, board_of, share
from sensorium.evaluation.generated_finds import TEXTS, Finds, Things, finds_of
from sensorium.evaluation.generated_judge import Judge
from sensorium.evaluation.generated_rows import (
    drawn_order,
    first_of_each,
    has_all,
    input_codes,
    readable,
)
from sensorium.evaluation.scored import Scored
from sensorium.generation.likelihood import text_log_probabilities
from sensorium.made import makeable, written
from sensorium.metrics.bootstrap import Estimate, Floats, Resampling, ratio, replicate_weights
from sensorium.metrics.longest_common import rouge_l
from sensorium.metrics.text_score import TextScore
from sensorium.metrics.texts import exact_match, text_metrics
from sensorium.model import INFERENCE_BATCH, Model
from sensorium.objectives import Caption

Rows = npt.NDArray[np.int64]
Names = tuple[str, ...]
MOST_ROWS, MOST_FINDS = 500, 250
MOST_PLACES = 16_000
WORST, RANDOM = 5, 5
TEXT_WORDS = {"exact_match": "exact match", "bleu": "BLEU", "chrf": "chrF", "rouge_l": "ROUGE-L", "cider_d": "CIDEr-D",
              "retrieval": "finds its row", "perplexity": "perplexity a word",
              "log_probability": "log-probability a word"}
UNJUDGED = ("whether texts say what they were made from is not judged: name a judge, --judge RUN, a model trained with "
            "objective contrast that reads a text and what texts are made from")


@dataclass(frozen=True)
class TextScores:
    """The texts made from some modalities.

    Args:
        modalities: what was read, in the schema's order; empty: what each row has.
        rows: rows that were written for.
        unit: what the intervals resample.
        metrics: those of `TEXT_METRICS`; where there is a judge, retrieval: the share of texts that find their row
            (`generated_finds`); perplexity and mean log-probability (nats) of a word of the true text. A word is what
            the model writes at once, often a piece of one.
        others: of what each row has: the same metrics of the texts that were made for other rows.
    """

    modalities: Names
    rows: int
    unit: str
    metrics: dict[str, Estimate]
    others: dict[str, Estimate]


@dataclass(frozen=True)
class TextExample:
    """A text that was made.

    Args:
        row: of the table, from 0.
        made: the text.
        right: the true texts.
        score: its ROUGE-L, in 0…1.
        log_probability: log p of it, in nats.
        worst: whether it is shown as one of the worst, or drawn at random.
    """

    row: int
    made: str
    right: tuple[str, ...]
    score: float
    log_probability: float
    worst: bool


@dataclass(frozen=True)
class Texts:
    """What was found about the texts of one column.

    Args:
        to: the column.
        objective: caption or answer.
        reads: what may be read.
        lines: scores from what each row has, then from single modalities (and what asks).
        distinct_made, distinct_right: how many different texts were made for the rows, and are true of them.
        repeated: scored rows that say the same as another one: their texts count as further true ones.
        left_out: scored rows that show nothing to write from, and that have no true text.
        not_drawn: further rows that were not written for, to bound the time.
        examples: to look at.
        finds: whether the texts find what they were made from; None where no judge can tell.
        notes: what was left out, and why.
    """

    to: str
    objective: str
    reads: Names
    lines: tuple[TextScores, ...]
    distinct_made: int
    distinct_right: int
    repeated: int
    left_out: tuple[int, int]
    not_drawn: int
    examples: tuple[TextExample, ...]
    finds: Finds | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values; rows are numbered from 1."""
        return {"to": self.to, "objective": self.objective, "reads": list(self.reads),
                "subsets": [{"modalities": list(one.modalities), "rows": one.rows, "unit": one.unit,
                             "metrics": metrics_json(one.metrics), "texts_of_other_rows": metrics_json(one.others)}
                            for one in self.lines],
                "distinct_made": self.distinct_made, "distinct_right": self.distinct_right, "repeated": self.repeated,
                "nothing_to_write_from": self.left_out[0], "no_true_text": self.left_out[1],
                "not_drawn": self.not_drawn, "retrieval": None if self.finds is None else self.finds.to_json(),
                "notes": list(self.notes),
                "examples": [{"row": one.row + 1, "made": one.made, "right": list(one.right),
                              "rouge_l": float(f"{one.score:.6g}"),
                              "log_probability": float(f"{one.log_probability:.6g}")} for one in self.examples]}


def texts_of(
    scored: Scored, maker: Caption, judge: Judge | None = None, *, table: Table | None = None,
    train: Samples | None = None, train_rows: Rows | None = None, unjudged: str | None = None,
) -> Texts:
    """Write for the scored rows and compare with what is true of them.

    Args:
        scored: the rows.
        maker: the objective that writes.
        judge: who says whether texts find what they were made from.
        table: where the rows came from, for the judge.
        train, train_rows: the decoded training table and its rows that were trained on, for the judge.
        unjudged: why a judge that was given is none.

    Returns:
        No lines where no row shows something to write from and has a true text.
    """
    model, samples, to = scored.model, scored.samples, maker.to_name
    names = readable(model, maker)
    can = makeable(model, maker, samples, scored.rows)
    true = has_all(samples, [to], scored.rows)
    rows = scored.rows[can & true]
    order = drawn_order(rows, seed=scored.seed, purpose="texts")
    first = order[first_of_each(input_codes(samples, names, rows)[order])]
    most = max(1, min(MOST_ROWS, MOST_PLACES // maker.decoder.max_tokens))
    chosen = np.sort(rows[first[:most]])
    left_out = (int((~can).sum()), int((can & ~true).sum()))
    found = Texts(to, maker.name, names, (), 0, 0, len(rows) - len(first), left_out, max(0, len(first) - most), ())
    if not len(chosen):
        return found
    right = true_texts(samples, maker, names, chosen, rows)
    board = _board(scored, chosen, judge, right, table, UNJUDGED if unjudged is None else unjudged)
    lines: list[TextScores] = []
    examples: tuple[TextExample, ...] = ()
    made: list[str] = []
    for subset in [(), *_singles(names, maker.asks)]:
        kept = np.flatnonzero(has_all(samples, subset, chosen)) if subset else np.arange(len(chosen))
        if not len(kept):
            continue
        texts = [one[0] for one in written(model, maker, samples, chosen[kept], modalities=subset or None)]
        own = [right[place] for place in kept.tolist()]
        hits = None if isinstance(board, str) else partial(_hits, board, chosen[kept])
        lines.append(_scores(scored, maker, subset, chosen[kept], [one.text for one in texts], own, hits))
        if not subset:
            made = [one.text for one in texts]
            examples = _examples(chosen, made, [one.log_probability for one in texts], right, seed=scored.seed)
    finds: Finds | None = None
    notes: tuple[str, ...] = (board,) if isinstance(board, str) and maker.name == "caption" else ()
    if isinstance(board, Board):
        judged = np.searchsorted(chosen, board.rows)
        things = Things(TEXTS, [made[place] for place in judged.tolist()], _own_texts(samples, to, board.rows),
                        np.ones(len(judged), dtype=bool), lambda of, some: _own_texts(of, to, some))
        finds = finds_of(scored, maker, board, things, train=train, train_rows=train_rows,
                         more=len(chosen) - len(judged))
        notes = finds.notes
    return Texts(to, maker.name, names, tuple(lines), len(set(made)), len({text for one in right for text in one}),
                 found.repeated, left_out, found.not_drawn, examples, finds, notes)


def true_texts(samples: Samples, maker: Caption, names: Names, rows: Rows, among: Rows) -> list[tuple[str, ...]]:
    """What is true of each row: its own text, and those of rows with the same picture (and the same question).

    Where no picture is read, those of rows with all the same cells.

    Args:
        samples: a decoded table.
        maker: the objective that writes.
        names: what it may read.
        rows: (row,) rows that have a text.
        among: (other,) rows with a text, these included.
    """
    pictures = [name for name in names if isinstance(samples.cells[name].kind, ImageKind)]
    shared = [name for name in names if name in pictures or name in maker.asks]
    seen = samples.presence[among][:, [samples.schema.names.index(name) for name in pictures]].any(axis=1)
    codes = np.where(seen, input_codes(samples, shared if pictures else names, among),
                     -1 - input_codes(samples, names, among))
    cells = samples.cells[maker.to_name]
    texts = cells.arrays.get(cells.cells_of_row[among, 0].tolist())
    found: dict[int, dict[str, None]] = {}
    for code, text in zip(codes.tolist(), texts, strict=True):
        found.setdefault(code, {})[str(text)] = None
    code_of = dict(zip(among.tolist(), codes.tolist(), strict=True))
    return [tuple(found[code_of[row]]) for row in rows.tolist()]


def _singles(names: Names, asks: frozenset[str]) -> list[Names]:
    """Each modality alone, together with what asks where something must; nothing where that is all there is."""
    asking = tuple(name for name in names if name in asks)
    found = [tuple(other for other in names if other == name or (other in asks and name not in asks))
             for name in names] if len(asking) < 2 else [
        tuple(other for other in names if other in (name, ask)) for name in names for ask in asking]
    return list(dict.fromkeys(one for one in found if len(one) < len(names)))


def _board(
    scored: Scored, rows: Rows, judge: Judge | None, right: Sequence[tuple[str, ...]], table: Table | None, why: str,
) -> Board | str:
    """Some of the rows, which texts are to find; or why they are not judged."""
    if judge is None:
        return why
    places = np.sort(drawn_order(rows, seed=scored.seed, purpose="texts/finds")[:MOST_FINDS])
    return board_of(scored.samples, rows[places], judge, table=table, what="texts", seed=scored.seed,
                    true=[right[place] for place in places.tolist()])


def _hits(board: Board, rows: Rows, texts: Sequence[str]) -> Floats:
    """(row,) whether the texts of these rows find them; NaN in those that are not judged."""
    there = np.flatnonzero(np.isin(rows, board.rows))
    found = np.full(len(rows), np.nan)
    if len(there):
        places = np.searchsorted(board.rows, rows[there])
        seen = board.judge.see([texts[place] for place in there.tolist()])
        every = np.full((len(board.rows), seen.shape[1]), np.nan, dtype=seen.dtype)
        every[places] = seen
        found[there] = board.hits(every)[places]
    return found


def _own_texts(samples: Samples, name: str, rows: Rows) -> list[str]:
    """The text that stands in each row."""
    cells = samples.cells[name]
    return [str(one) for one in cells.arrays.get(cells.cells_of_row[rows, 0].tolist())]


def _scores(
    scored: Scored, maker: Caption, subset: Names, rows: Rows, made: Sequence[str], right: Sequence[tuple[str, ...]],
    hits: Callable[[Sequence[str]], Floats] | None,
) -> TextScores:
    """The metrics of some rows' texts; of what each row has, also those of the texts of other rows."""
    groups = None if scored.samples.groups is None else scored.samples.groups[rows]
    resampling = replicate_weights(len(rows), groups, seed=scored.seed)

    def scores(texts: Sequence[str]) -> dict[str, Estimate]:
        found = text_metrics(texts, right, resampling)
        if hits is not None and np.isfinite(values := hits(texts)).any():
            found["retrieval"] = share(values, groups, seed=scored.seed)
        return found

    metrics = scores(made) | _likelihood(scored.model, maker, scored.samples, rows, subset, resampling)
    others: dict[str, Estimate] = {}
    if not subset and len(rows) > 1:
        order = drawn_order(rows, seed=scored.seed, purpose="texts/others")
        swapped = [""] * len(rows)
        for place, other in zip(order.tolist(), np.roll(order, 1).tolist(), strict=True):
            swapped[place] = made[other]
        others = scores(swapped)
    return TextScores(subset, len(rows), resampling.unit, metrics, others)


def _likelihood(
    model: Model, maker: Caption, samples: Samples, rows: Rows, subset: Names, resampling: Resampling,
) -> dict[str, Estimate]:
    """How probable the true texts are, a word: Σ log p / Σ words over rows, and exp of its negative."""
    sums, kept = [], model.columns_of(subset or None)
    with torch.inference_mode():
        for start in range(0, len(rows), INFERENCE_BATCH):
            batch = make_batch(samples, rows[start : start + INFERENCE_BATCH], unread=model.unread,
                               aims=[maker.to_name]).to(model.device)
            view = model.view(model.encode(batch), impute=False).restricted(maker)
            found = maker.aimed(view, batch, view.presence & kept.to(model.device))
            assert found is not None
            ids, mask = (one.to(model.device) for one in maker.words.encode(found[1].arrays))
            said = text_log_probabilities(maker.decoder, ids, mask, maker.remembered(found[0]))
            sums.append(torch.stack([said, mask[:, 1:].sum(dim=1).to(said)], dim=1).double().cpu().numpy())
    values = np.concatenate(sums)

    def mean(totals: Floats) -> Floats:
        return ratio(totals[:, 0], totals[:, 1])

    each = mean(values)
    return {"perplexity": TextScore(np.exp(-each), values, lambda totals: np.exp(-mean(totals))).estimate(resampling),
            "log_probability": TextScore(each, values, mean).estimate(resampling)}


def _examples(
    rows: Rows, made: Sequence[str], log_probabilities: Sequence[float], right: Sequence[tuple[str, ...]], *, seed: int,
) -> tuple[TextExample, ...]:
    """The worst texts, of which none is right, then some drawn at random."""
    scores, exact = rouge_l(made, right).rows, exact_match(made, right).rows
    order = np.argsort(scores, kind="stable")
    worst = order[exact[order] == 0][:WORST].tolist()
    drawn = [place for place in drawn_order(rows, seed=seed, purpose="texts/examples").tolist() if place not in worst]
    chosen = [*((place, True) for place in worst), *((place, False) for place in drawn[: WORST + RANDOM - len(worst)])]
    return tuple(TextExample(int(rows[place]), made[place], right[place], float(scores[place]),
                             float(log_probabilities[place]), bad) for place, bad in chosen)
