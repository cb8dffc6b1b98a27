"""What training says about its own held-out rows: scored by the model that validation chose, before the refit."""

from __future__ import annotations

import numpy as np

from sensorium.data.table import Table
from sensorium.errors import DataError
from sensorium.evaluation.evaluate import Evaluation, evaluate
from sensorium.evaluation.report import write_report
from sensorium.evaluation.words import score_lines
from sensorium.model import Model
from sensorium.training.console import Console
from sensorium.training.prepare import Prepared


class HeldOut:
    """Scores a freshly chosen model on the rows it was not trained on, and keeps what was found.

    Those are the split column's test rows where it names some; else the calibration and validation rows. The latter
    chose the number of steps, which favours the model a little.
    """

    def __init__(self, console: Console, table: Table | None = None) -> None:
        self._console, self._table = console, table
        self.evaluation: Evaluation | None = None
        self.about = ""
        self._chosen: Model | None = None

    def evaluate(self, model: Model, prepared: Prepared) -> None:
        """Score the model; to be called before the refit."""
        splits = prepared.splits
        rows = splits.test
        self.about = f"{len(rows):,} test rows named by the split column"
        if not len(rows):
            rows = np.sort(np.concatenate([splits.validation, splits.calibration]))
            chosen = "; the number of steps was chosen on the former" if model.painting() is None else ""
            self.about = f"{len(rows):,} held-out rows (validation and calibration{chosen})"
        taught = sorted(prepared.taught)
        if taught:
            self.about += (f"; the table has no labels of {', '.join(taught)}: what counts as true is what the teacher "
                           f"answers")
        if not len(rows):
            return
        self._console.say(f"scoring on the held-out rows {'; '.join(_what(model))}")
        try:
            self.evaluation = evaluate(model, prepared.samples, rows=rows, baselines=True, train=prepared.samples,
                                       train_rows=splits.train, table=self._table, calibrated=splits.calibration,
                                       robustness=False, information=False)  # they would double the time it takes
        except DataError as error:
            self._console.say(f"the held-out rows could not be scored: {error}")
            return
        self._chosen = model
        sentences = [*(f.sentence for f in self.evaluation.fusion), *self.evaluation.generated.headlines]
        model.facts["held_out"] = {"sentence": " ".join(sentences) or self.about,
                                   "table": score_lines(self.evaluation)}

    def lines(self) -> list[str]:
        """What a person reads in a terminal."""
        return [] if self.evaluation is None else [f"scored on {self.about}", *score_lines(self.evaluation)]

    def report(self, model: Model, *, title: str) -> str | None:
        """The HTML report of the scored model; the refitted one's facts are in its text."""
        if self.evaluation is None or self._chosen is None:
            return None
        refit = model.facts.get("refit")
        about = self.about + (f". The saved model was then refitted on {refit['rows']:,} training and validation rows "
                              f"with the same number of steps" if refit else "")
        return write_report(self._chosen, self.evaluation, title=title, about=about)


def _what(model: Model) -> list[str]:
    """What is looked at, in words."""
    words = [(bool(model.schema.targets), "every subset of modalities, and shallow baselines beside"),
             (model.aligned, "how modalities find each other"),
             (bool(model.generative()), "what it makes")]
    return [one for wanted, one in words if wanted]
