"""The model: a network with what calibration and alignment add to it, and every way to use it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.alignment.linear import LinearAlignment
from sensorium.answers import Answer, make_answers, with_unlike
from sensorium.data.batch import make_batch, prefetch
from sensorium.data.read import Data, as_samples
from sensorium.data.samples import Samples
from sensorium.data.schema import Schema
from sensorium.errors import DataError, RecipeError
from sensorium.fusion.base import Fusion
from sensorium.metrics.conformal import Conformal
from sensorium.metrics.familiarity import Familiarity
from sensorium.network import Network, Subset, encoder_folder
from sensorium.objectives import (
    Objective,
    View,
)
from sensorium.recipe import Recipe

if TYPE_CHECKING:
    from sensorium.made import Sampling

K = TypeVar("K", bound=Hashable)
INFERENCE_BATCH = 256


class Model(Network):
    """One model over all modalities: any subset in, any answer out.

    Args:
        schema: with measured kinds and targets.
        recipe: what the model is made of; its seed initialises the weights.
        fusion: a fusion object instead of the recipe's name.
        objectives: objectives besides those that predict the targets.
        saved: a model folder whose weights will be loaded: pretrained encoders are described there, and not looked for
            where they came from.

    Attributes:
        temperatures: target → the temperature its logits are divided by (1 until calibrated).
        conformal: target → the thresholds of its confidence sets, where there were enough rows to calibrate them.
        familiar: where the fused vectors of training rows lie, where there were enough rows to say what is unlike them.
        alignment: what maps each modality into one space, where they were aligned in closed form (`sensorium.align`).
        typical: modality → (place + 1, width) the typical token at each place of a cell and, last, of all: where
            attribution starts from. Empty until trained.
        history: what training left: one dictionary an epoch.
        facts: what training found out and the report repeats (splits, steps, seconds …), plain values.
        course: a PNG of pictures painted for the same rows as training went on; empty where there are none.
    """

    def __init__(
        self, schema: Schema, recipe: Recipe, *, fusion: Fusion | None = None, objectives: Sequence[Objective] = (),
        saved: Path | None = None,
    ) -> None:
        super().__init__(schema, recipe, fusion=fusion, objectives=objectives, saved=saved)
        self.alignment: LinearAlignment | None = None
        self.temperatures = {target.name: 1.0 for target in schema.targets}
        self.conformal: dict[str, Conformal] = {}
        self.familiar: Familiarity | None = None
        self.typical: dict[str, Tensor] = {}
        self.history: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {}
        self.course = b""

    def outputs(
        self, samples: Samples, rows: npt.NDArray[np.int64], subsets: Sequence[Subset], *, complete: bool = True,
        shown: npt.NDArray[np.bool_] | None = None, batch_size: int = INFERENCE_BATCH,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, dict[Subset, npt.NDArray[np.float64]]]:
        """Raw outputs of every target for several subsets; each row is encoded once, subsets cost only fusion.

        Args:
            samples: a decoded table.
            rows: (row,) row numbers.
            subsets: sets of modality names.
            complete: score a subset only in rows that have all of it; else with whatever of it a row has.
            shown: (row, modality) what may be read of these rows; None: all they have.
            batch_size: rows encoded together.
            progress: called with (rows done, rows in all).

        Returns:
            target → subset → (row, output) logits or standardised numbers; NaN for rows that are not scored.
        """
        return self.outputs_and_vectors(samples, rows, subsets, (), complete=complete, shown=shown,
                                        batch_size=batch_size, progress=progress)[0]

    def fused_vectors(
        self, samples: Samples, rows: npt.NDArray[np.int64], subsets: Sequence[Subset], *, complete: bool = True,
    ) -> dict[Subset, npt.NDArray[np.float64]]:
        """subset → (row, width) what fusing it gives, on which every head is linear; NaN as in `outputs`."""
        return self.outputs_and_vectors(samples, rows, (), subsets, complete=complete)[1]

    def outputs_and_vectors(
        self, samples: Samples, rows: npt.NDArray[np.int64], subsets: Sequence[Subset], vectors_of: Sequence[Subset], *,
        complete: bool = True, shown: npt.NDArray[np.bool_] | None = None, batch_size: int = INFERENCE_BATCH,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[dict[str, dict[Subset, npt.NDArray[np.float64]]], dict[Subset, npt.NDArray[np.float64]]]:
        """`outputs` of some subsets and `fused_vectors` of some, with each row encoded once."""
        def read(view: View) -> Iterator[tuple[tuple[str, Subset] | Subset, Tensor, Tensor]]:
            for subset in vectors_of:
                whole, there = view.fuse(self.subset_of(view.presence, subset, complete))
                if whole is not None:
                    yield subset, whole.vector, there
            for subset in subsets:
                presence = self.subset_of(view.presence, subset, complete)
                for predictor in self.objectives():
                    own = view.restricted(predictor)
                    fused, kept = own.fuse(own.asked(presence))
                    if fused is not None:
                        yield (predictor.name, subset), predictor.outputs(fused), kept

        sizes: dict[tuple[str, Subset] | Subset, int] = dict.fromkeys(vectors_of, self.recipe.model.width)
        sizes |= {(target.name, subset): max(1, len(target.classes))
                  for target in self.schema.targets for subset in subsets}
        found = self.gathered(samples, rows, read, sizes, shown=shown, batch_size=batch_size, progress=progress)
        return ({target.name: {subset: found[target.name, subset] for subset in subsets}
                 for target in self.schema.targets}, {subset: found[subset] for subset in vectors_of})

    def gathered(
        self, samples: Samples, rows: npt.NDArray[np.int64],
        read: Callable[[View], Iterable[tuple[K, Tensor, Tensor]]], sizes: Mapping[K, int], *,
        shown: npt.NDArray[np.bool_] | None = None, batch_size: int = INFERENCE_BATCH,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[K, npt.NDArray[np.float64]]:
        """What is read off the view of every batch, put together.

        Args:
            samples: a decoded table.
            rows: (row,) row numbers.
            read: a batch's view → (key, (kept, number) values, (kept,) positions in the batch) …
            sizes: key → numbers a row.
            shown: (row, modality) what may be read of these rows; None: all they have.
            batch_size: rows encoded together.
            progress: called with (rows done, rows in all).

        Returns:
            key → (row, number); NaN in rows about which nothing was read.
        """
        results = {key: np.full((len(rows), size), np.nan) for key, size in sizes.items()}
        self.eval()
        with torch.inference_mode():
            for start in range(0, len(rows), batch_size):
                prefetch(samples, rows[start + batch_size : start + 2 * batch_size])
                batch = make_batch(samples, rows[start : start + batch_size], unread=self.unread)
                encoded = self.encode(batch.to(self.device))
                some = None if shown is None else torch.from_numpy(shown[start : start + batch_size]).to(self.device)
                for key, values, kept in read(self.view(encoded, some)):
                    results[key][start + kept.cpu().numpy()] = values.double().cpu().numpy()
                if progress is not None:
                    progress(min(len(rows), start + batch_size), len(rows))
        return results

    def predict(
        self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Data | str | Path, *,
        modalities: Collection[str] | None = None, explain: bool = False, root: str | Path = ".",
    ) -> Any:
        """Predict every target from whatever is there.

        Args:
            rows: one row as a dictionary (media as paths, bytes, PIL pictures, arrays or (waveform, rate)), several of
                them, data from `sensorium.read`, or the path of a table.
            modalities: use only these; all that are there where None.
            explain: add each modality's contribution (exact Shapley values).
            root: the folder that paths in dictionaries start from.

        Returns:
            For one dictionary target → Answer; else one such dictionary a row.

        Example: model.predict({"photo": "a.jpg", "note": "dry cough"})["diagnosis"].value
        """
        if not self.schema.targets:
            raise DataError("this model predicts no target: it was trained to "
                            "embed (Model.embed), to make something (generate) or to answer in words (ask)")
        if isinstance(rows, Mapping):
            self.schema.refuse_strangers(rows)
        samples = as_samples(rows, self.schema, root=root)
        answers = self.answers(samples, modalities=modalities, explain=explain)
        return answers[0] if isinstance(rows, Mapping) else answers

    def answers(
        self, samples: Samples, *, rows: npt.NDArray[np.int64] | None = None,
        modalities: Collection[str] | None = None, explain: bool = False,
    ) -> list[dict[str, Answer]]:
        """One dictionary target → Answer for every row (or those given by number) of a decoded table."""
        allowed = self.columns_of(modalities).numpy()
        usable = frozenset(name for name, kept in zip(self.schema.names, allowed, strict=True) if kept)
        chosen = np.arange(len(samples)) if rows is None else rows

        vectors: dict[Subset, npt.NDArray[np.float64]] = {}
        present = samples.presence[chosen] & allowed

        def outputs(subsets: Sequence[Subset]) -> dict[str, dict[Subset, npt.NDArray[np.float64]]]:
            first = [usable] if self.familiar is not None and not vectors else []
            wanted = list({subset & usable for subset in subsets})
            found, read = self.outputs_and_vectors(samples, chosen, wanted, first, complete=False)
            vectors.update(read)
            return {target: {subset: values[subset & usable] for subset in subsets} for target, values in found.items()}

        broken: dict[int, list[str]] = {}
        for cell in samples.unreadable:
            broken.setdefault(cell.row - 1, []).append(f"{cell.column}: {cell.reason}")
        unreadable = {place: tuple(broken[row]) for place, row in enumerate(chosen.tolist()) if row in broken}
        answers = make_answers(outputs, self.schema, present, temperatures=self.temperatures,
                               balance=self.recipe.training.balance, explain=explain, unreadable=unreadable,
                               conformal=self.conformal, asks=self.asking)
        return answers if self.familiar is None or not vectors else with_unlike(
            answers, self.familiar.strangeness(vectors[usable], present))

    @property
    def aligned(self) -> bool:
        """Whether embeddings of different modalities are in one space: they were contrasted, or aligned afterwards."""
        return self.alignment is not None or self.contrast is not None

    @property
    def embedding_width(self) -> int:
        """Numbers of an embedding."""
        if self.alignment is not None:
            return self.alignment.width
        return self.recipe.model.width if self.contrast is None else self.contrast.width

    @property
    def similarity_scale(self) -> float | None:
        """What similarities are multiplied by, 1 / temperature, as objective contrast learned it; None without it."""
        if self.contrast is None or self.alignment is not None:
            return None
        return float(self.contrast.scale().detach())

    def embeddings(
        self, samples: Samples, rows: npt.NDArray[np.int64], subsets: Sequence[Subset], *, complete: bool = True,
    ) -> dict[Subset, npt.NDArray[np.float32]]:
        """Where rows are in the shared space, read from several subsets; each row is encoded once.

        Args:
            samples: a decoded table.
            rows: (row,) row numbers.
            subsets: sets of modality names.
            complete: read a subset only in rows that have all of it; else whatever of it a row has.

        Returns:
            subset → (row, width) unit-length vectors; NaN for rows that are not read. Where the modalities are not
            aligned these are the fused vectors.
        """
        def read(view: View) -> Iterator[tuple[Subset, Tensor, Tensor]]:
            for subset in subsets:
                vectors, kept = self._embedded(view, self.subset_of(view.presence, subset, complete))
                if vectors is not None:
                    yield subset, vectors, kept

        found = self.gathered(samples, rows, read, dict.fromkeys(subsets, self.embedding_width))
        return {subset: values.astype(np.float32) for subset, values in found.items()}

    def _embedded(self, view: View, presence: Tensor) -> tuple[Tensor | None, Tensor]:
        """Unit-length vectors of the rows that have any of the presence, and their positions."""
        view = self.view(view.encoded, view.presence, impute=False)
        if self.alignment is not None:
            return self._by_alignment(self.alignment, view, presence)
        fused, kept = view.fuse(presence)
        if fused is None:
            return None, kept
        contrast = self.contrast
        return F.normalize(fused.vector.float(), dim=1) if contrast is None else contrast.embed(fused), kept

    def _by_alignment(self, alignment: LinearAlignment, view: View, presence: Tensor) -> tuple[Tensor | None, Tensor]:
        """The unit-length mean of what the closed form makes of each present modality."""
        kept = presence.any(dim=1).nonzero()[:, 0]
        total = torch.zeros(len(presence), alignment.width, device=presence.device)
        for name, values, rows in self.alone(view, presence):
            total = total.index_add(0, rows, alignment({name: values})[name])
        return (F.normalize(total[kept], dim=1), kept) if len(kept) else (None, kept)

    def alone(self, view: View, presence: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """What each modality says alone: its name, (kept, number) values, and the positions of the rows that have it.

        The values are those that objective correlate makes of it, where the model has it, else the fused vector.
        """
        correlate = self.correlate
        view = self.view(view.encoded, view.presence, impute=False)
        for name in self.schema.names:
            fused, rows = view.alone(name, presence)
            if fused is not None:
                yield name, fused.vector.float() if correlate is None else correlate.read(fused, name), rows

    def embed(
        self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Data | str | Path, *,
        modalities: str | Collection[str] | None = None, root: str | Path = ".",
    ) -> npt.NDArray[np.float32]:
        """(row, width) unit-length embeddings of whatever is there; NaN for rows in which nothing is readable.

        Those of different modalities can be compared where the model is `aligned`: trained with objective contrast or
        correlate, or aligned afterwards by `sensorium.align`.

        Example: model.embed({"note": "a red circle"}) @ model.embed("photos.csv", modalities=["photo"]).T
        """
        if isinstance(rows, Mapping):
            self.schema.refuse_strangers(rows)
        modalities = [modalities] if isinstance(modalities, str) else modalities
        self.columns_of(modalities)
        if modalities is not None and not modalities:
            raise RecipeError(f"modalities: expected some of {', '.join(self.schema.names)}, or None for all; found "
                              f"none")
        samples = as_samples(rows, self.schema, root=root)
        subset = frozenset(self.schema.names if modalities is None else modalities)
        return self.embeddings(samples, np.arange(len(samples)), [subset], complete=False)[subset]

    def ask(
        self, question: Any, given: Mapping[str, Any], *, target: str | None = None, explain: bool = False,
        modalities: Collection[str] | None = None, root: str | Path = ".",
    ) -> Answer:
        """Answer a question, asked in text or sound, about whatever is there.

        Args:
            question: a text; or a sound (a `Path`, bytes or (waveform, rate)) where the model is asked in sound.
            given: what it is about, by column, as for `predict`.
            target: which target answers; the answer in words, or the first target, where None.
            explain: add what each modality contributed: first the question alone, then what the others add to it.
            modalities: read only these.
            root: the folder that paths start from.

        Raises:
            RecipeError: the model was trained without objective answer.
            DataError: the question is blank, too long or unreadable, or there is nothing to answer it from.

        Example: model.ask("what colour is the circle?", {"photo": "a.jpg"}).value
        """
        from sensorium.asked import ask

        return ask(self, question, given, target=target, explain=explain, modalities=modalities, root=root)

    def generate(
        self, to: str | None = None, given: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Data | str | Path = "",
        *, n: int = 1, seed: int = 0, guidance: float | None = None, sampling: Sampling | None = None, beams: int = 4,
        rerank: bool = False, modalities: Collection[str] | None = None, root: str | Path = ".",
    ) -> list[Any]:
        """Make pictures or texts from whatever is there.

        Args:
            to: the modality that is made, of those it was trained to make; None: the only one.
            given: as for `predict`; what stands in the column that is made is not read.
            n: how many of each row.
            seed: of noise and draws: the same seed makes the same pictures.
            guidance: pictures: how closely they follow what they are made from; None: the method's own (2 for flow, 1
                for gan).
            sampling: texts: draw them so (`sensorium.Sampling`); None: the n most probable ones, the best first.
            beams: texts: how many the search for the most probable ones keeps.
            rerank: texts: make 32 or more and order them also by how near objective contrast finds them to what they
                are about.
            modalities: read only these.
            root: the folder that paths in dictionaries start from.

        Returns:
            For one dictionary n pictures (PIL) or texts; else such a list for every row.

        Raises:
            RecipeError: it does not make this.
            DataError: a row has nothing to make it from, a text is too long to be read whole, or n is not 1 to 1,000.

        Example: model.generate("photo", {"note": "a red circle"}, n=4)[0].save("circle.png")
        """
        from sensorium.made import generate

        return generate(self, to, given, n=n, seed=seed, guidance=guidance, sampling=sampling, beams=beams,
                        rerank=rerank, modalities=modalities, root=root)

    def save(self, folder: str | Path, *, report: str | None = None, overwrite: bool = False) -> Path:
        """Write the model folder; it appears whole or not at all."""
        from sensorium.folder import save_model

        return save_model(self, folder, report=report, overwrite=overwrite)

    @classmethod
    def load(
        cls, folder: str | Path, *, fusion: Fusion | None = None, objectives: Sequence[Objective] = (),
    ) -> Model:
        """Read a model folder. Executes no code from it; what was given as an object is given again."""
        from sensorium.folder import load_model

        return load_model(folder, fusion=fusion, objectives=objectives)


__all__ = ["INFERENCE_BATCH", "Answer", "Model", "Subset", "encoder_folder"]
