"""What a model makes: pictures and texts of rows from any subset of the other modalities."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from sensorium.data.batch import make_batch
from sensorium.data.kinds import ImageKind, TextKind
from sensorium.data.read import Data, as_samples
from sensorium.data.samples import Samples
from sensorium.data.schema import Schema
from sensorium.errors import DataError, RecipeError, unknown_name
from sensorium.generation.decoding import Hypotheses, beam_search
from sensorium.generation.sampling import nucleus_sample
from sensorium.keyed import Draws
from sensorium.model import Model
from sensorium.objectives import Caption, Condition, Generative, Paint

if TYPE_CHECKING:
    from PIL.Image import Image

Rows = npt.NDArray[np.int64]
ROWS = 64
MOST = 1000
MOST_GUIDANCE = 100.0
CANDIDATES = 32
MOST_NAMED = 5


@dataclass(frozen=True)
class Written:
    """A text that was made.

    Args:
        text: what it says.
        log_probability: log p(text | what was read), in nats.
        score: the same, normalised for length, by which texts of one row are ranked.
        whole: whether it came to an end within the most tokens.
    """

    text: str
    log_probability: float
    score: float
    whole: bool


@dataclass(frozen=True)
class Sampling:
    """How texts are drawn, where they are not to be the most probable ones.

    Args:
        top_p: the share of the probability from which each word is drawn, in (0, 1].
        temperature: above 1 more varied, below 1 more usual.
    """

    top_p: float = 0.9
    temperature: float = 1.0


@dataclass(frozen=True)
class Wish:
    """How many are made of each row, and how; the fields are those of `Model.generate`."""

    n: int = 1
    seed: int = 0
    guidance: float | None = None
    sampling: Sampling | None = None
    beams: int = 4
    rerank: bool = False
    modalities: Collection[str] | None = None

    def check(self, model: Model, maker: Generative) -> None:
        """Raise DataError or RecipeError for what cannot be made."""
        if not 1 <= self.n <= MOST:
            raise DataError(f"n: expected 1 to {MOST} of each row, found {self.n}")
        if self.guidance is not None and not 0.0 < self.guidance <= MOST_GUIDANCE:
            raise DataError(f"guidance: expected a number above 0 and at most {MOST_GUIDANCE:g}, found {self.guidance}")
        if not 1 <= self.beams <= MOST:
            raise DataError(f"beams: expected 1 to {MOST}, found {self.beams}")
        if self.rerank and isinstance(maker, Paint):
            raise RecipeError(f"rerank is for texts; {maker.to_name!r} is a picture")
        if self.rerank and (model.similarity_scale is None or maker.to_name not in model.read):
            raise RecipeError("rerank: this model does not compare texts with what they are about: train it with "
                              "--objective contrast beside --objective caption")
        model.columns_of(self.modalities)

    def of_rows(self, model: Model, maker: Generative, samples: Samples, rows: Rows) -> list[list[Any]]:
        """Pictures (PIL) or texts of some rows, each of which must show something to make them from."""
        if isinstance(maker, Paint):
            found = painted(model, samples, rows, n=self.n, seed=self.seed, guidance=self.guidance,
                            modalities=self.modalities)
            return [[pictured(one) for one in row] for row in found]
        count = max(self.n, CANDIDATES if self.rerank else 1)
        texts = written(model, maker, samples, rows, n=count, seed=self.seed, sampling=self.sampling,
                        beams=max(self.beams, count), modalities=self.modalities)
        if self.rerank:
            texts = reranked(model, maker, samples, rows, texts, modalities=self.modalities)
        return [[one.text for one in row[: self.n]] for row in texts]


def generate(
    model: Model, to: str | None,
    given: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Data | Samples | str | Path, *,
    n: int = 1, seed: int = 0, guidance: float | None = None, sampling: Sampling | None = None, beams: int = 4,
    rerank: bool = False, modalities: Collection[str] | None = None, root: str | Path = ".",
) -> list[Any]:
    """Make pictures or texts; see `Model.generate`."""
    maker, wish = maker_of(model, to), Wish(n, seed, guidance, sampling, beams, rerank, modalities)
    wish.check(model, maker)
    samples = samples_of(model, maker, given, root=root)
    found = wish.of_rows(model, maker, samples, np.arange(len(samples)))
    return found[0] if isinstance(given, Mapping) else found


def maker_of(model: Model, to: str | None) -> Generative:
    """The objective that makes this modality.

    Raises:
        RecipeError: the model makes nothing, or not this; or several things, and none is named.
    """
    makers = {maker.to_name: maker for maker in model.generative()}
    if not makers:
        raise RecipeError("this model makes nothing: train one with --objective paint or --objective caption")
    if to is None:
        if len(makers) > 1:
            raise RecipeError(f"name what to make: {' or '.join(makers)}")
        return next(iter(makers.values()))
    if to not in makers:
        if to in model.schema.names:
            raise RecipeError(f"this model does not make {to!r}: it makes {' and '.join(makers)}")
        raise RecipeError(str(unknown_name("modality to make", to, list(makers))))
    return makers[to]


def painted(
    model: Model, samples: Samples, rows: Rows, *, n: int = 1, seed: int = 0, guidance: float | None = None,
    modalities: Collection[str] | None = None, progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.uint8]:
    """Pictures of some rows.

    Args:
        model: with objective paint.
        samples: a decoded table.
        rows: (row,) row numbers; each must show something the objective may read.
        n: pictures a row.
        seed: of the noise, which depends on it, the row's number and the picture's number alone.
        guidance: how closely they follow what they are made from; None: the method's own.
        modalities: read only these.
        progress: called with (rows done, rows in all).

    Returns:
        (row, n, height, width_px, channel) uint8.

    Raises:
        DataError: naming the first row that shows nothing.
    """
    painter = model.painting()
    assert painter is not None
    found = []
    done = 0
    for part, condition in _conditions(model, painter, samples, rows, modalities):
        device = condition.vector.device
        for number in range(n):
            noise = painter.noise(Draws(seed, number, part), "made", device)
            pictures = painter.paint(condition.vector, noise, guidance=guidance)
            found.append(((pictures + 1.0) * 127.5).round().permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy())
        done += len(part)
        if progress is not None:
            progress(done, len(rows))
    size, channels = painter.painter.size, painter.painter.channels
    if not found:
        return np.zeros((0, n, size, size, channels), dtype=np.uint8)
    parts = [np.stack(found[start : start + n], axis=1) for start in range(0, len(found), n)]
    return _in_shape(np.concatenate(parts), samples, painter.to_name)


def written(
    model: Model, maker: Generative, samples: Samples, rows: Rows, *, n: int = 1, seed: int = 0,
    sampling: Sampling | None = None, beams: int = 4, modalities: Collection[str] | None = None,
) -> list[list[Written]]:
    """Texts of some rows, each row's most probable ones, the best first; or drawn.

    Args:
        model: the model.
        maker: its objective that writes.
        samples: a decoded table.
        rows: (row,) row numbers; each must show something the objective may read.
        n: texts a row, at most.
        seed: of what is drawn, which depends on it, the row's number and the text's number alone.
        sampling: draw them so; None: search for the most probable ones.
        beams: texts that the search keeps, at least n.
        modalities: read only these.

    Raises:
        DataError: naming the first row that shows nothing.
    """
    assert isinstance(maker, Caption)
    found: list[list[Written]] = []
    for part, condition in _conditions(model, maker, samples, rows, modalities):
        memory = maker.remembered(condition)
        if sampling is None:
            texts = beam_search(maker.decoder, memory, beams=max(n, beams), empty=False)
        else:
            uniform = np.stack([Draws(seed, number, part).uniform("written", maker.decoder.max_tokens)
                                for number in range(n)], axis=1)
            texts = nucleus_sample(maker.decoder, memory, torch.from_numpy(uniform).to(memory.mask.device),
                                   top_p=sampling.top_p, temperature=sampling.temperature, empty=False)
        found += _read(texts, maker, n)
    return found


def reranked(
    model: Model, maker: Generative, samples: Samples, rows: Rows, texts: Sequence[Sequence[Written]], *,
    modalities: Collection[str] | None = None,
) -> list[list[Written]]:
    """Each row's texts by score + s · cos(text, row), the best first, with the scale s that objective contrast learned.

    A writer rates a text by its words one after the other, and prefers what it has often seen together; contrast
    compares the whole text with what it is about.

    Args:
        model: with objective contrast, which reads the texts' column too.
        maker: the objective that wrote them.
        samples: the decoded rows.
        rows: (row,) row numbers.
        texts: of each row.
        modalities: what was read of the rows.
    """
    read, said = frozenset(name for name in model.schema.names if name in model.read and name not in maker.hidden
                           and (modalities is None or name in modalities)), frozenset({maker.to_name})
    column = model.schema.modality(maker.to_name).columns[0]
    flat = as_samples([{column: one.text} for row in texts for one in row], model.schema)
    about = model.embeddings(samples, rows, [read], complete=False)[read]
    embedded = model.embeddings(flat, np.arange(len(flat)), [said], complete=False)[said]
    scale = model.similarity_scale
    assert scale is not None
    found, start = [], 0
    for row, vector in zip(texts, about, strict=True):
        near = np.nan_to_num(embedded[start : start + len(row)] @ vector, nan=-1.0)
        start += len(row)
        order = np.argsort([-one.score - scale * cosine for one, cosine in zip(row, near.tolist(), strict=True)],
                           kind="stable")
        found.append([row[place] for place in order.tolist()])
    return found


def _read(texts: Hypotheses, maker: Caption, n: int) -> list[list[Written]]:
    from sensorium.data.kinds.text import EOS

    found = []
    for ids, sums, scores in zip(texts.ids, texts.log_probabilities, texts.scores, strict=True):
        kept = torch.isfinite(scores).nonzero()[:n, 0]
        said = maker.words.decode(ids[kept])
        whole = (ids[kept] == EOS).any(dim=1).tolist()
        found.append([Written(text, float(total), float(score), bool(ended)) for text, total, score, ended in
                      zip(said, sums[kept].tolist(), scores[kept].tolist(), whole, strict=True)])
    return found


def _conditions(
    model: Model, maker: Generative, samples: Samples, rows: Rows, modalities: Collection[str] | None,
) -> Iterator[tuple[Rows, Condition]]:
    """Rows, and what each of them is made from, some at a time."""
    model.eval()
    kept = model.columns_of(modalities)
    for start in range(0, len(rows), ROWS):
        part = rows[start : start + ROWS]
        with torch.inference_mode():
            batch = make_batch(samples, part, unread=model.unread).to(model.device)
            view = model.view(model.encode(batch), impute=False).restricted(maker)
            condition, there = maker.condition(view, view.presence & kept.to(model.device))
            if len(there) < len(part):
                missing = np.setdiff1d(np.arange(len(part)), there.cpu().numpy())
                raise DataError(nothing_to_make(model, maker, samples, int(part[missing[0]]), modalities))
            assert condition is not None
            yield part, condition


def makeable(
    model: Model, maker: Generative, samples: Samples, rows: Rows, modalities: Collection[str] | None = None,
) -> npt.NDArray[np.bool_]:
    """(row,) whether a row shows anything to make it from; of modalities that ask, one must be there.

    Args:
        model: the model.
        maker: its objective that makes something.
        samples: a decoded table.
        rows: (row,) row numbers.
        modalities: what may be read; None: all that the objective may.
    """
    names = [name for name in model.schema.names if name in model.read and name not in maker.hidden
             and (modalities is None or name in modalities)]
    there = [samples.presence[rows][:, [samples.schema.names.index(name) for name in some]].any(axis=1)
             for some in (names, [name for name in names if name in maker.asks])]
    return np.asarray(there[0] & there[1] if maker.asks else there[0])


def columns_said(schema: Schema, names: Collection[str]) -> str:
    """The columns of some modalities, as a person may name them: "note or hr or bp"."""
    columns = list(dict.fromkeys(column for name in names for column in schema.modality(name).columns))
    more = len(columns) - MOST_NAMED
    return " or ".join([*columns[:MOST_NAMED], *([f"{more} more columns"] if more > 0 else [])])


def nothing_to_make(
    model: Model, maker: Generative, samples: Samples, row: int, modalities: Collection[str] | None,
) -> str:
    """Why nothing can be made of a row."""
    names = [name for name in model.schema.names
             if name not in maker.hidden and (modalities is None or name in modalities)]
    reasons = [f"{cell.column}: {cell.reason}" for cell in samples.unreadable if cell.row == row + 1]
    reasons += [note for name in names for note in samples.cells[name].notes]
    broken = "; ".join(reasons)
    asked = [name for name in names if name in maker.asks]
    if not (asked if maker.asks else names):
        return (f"nothing to make {maker.to_name} from: {', '.join(modalities or ())} alone is to be read, and that "
                f"{'does not ask' if maker.asks else 'is what is made'}")
    wanted = f"{columns_said(model.schema, asked)}, which asks" if maker.asks else columns_said(model.schema, names)
    where = "" if len(samples) == 1 else f" of row {row + 1}"
    return (f"nothing to make {maker.to_name}{where} from: it needs {wanted}, and has none"
            f"{f' ({broken})' if broken else ''}")


def samples_of(
    model: Model, maker: Generative,
    given: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Data | Samples | str | Path, *, root: str | Path = ".",
) -> Samples:
    """The decoded rows; one that is given by hand may not say more than the model reads."""
    if isinstance(given, Mapping):
        model.schema.refuse_strangers(given)
    samples = as_samples(given, model.schema, root=root)
    if isinstance(given, Mapping):
        refuse_cut(model, given, but=maker.to_name)
    return samples


def refuse_cut(model: Model, given: Mapping[str, Any], *, but: str = "") -> None:
    """Raise for a text that is longer than what the model reads of it: its end would be lost without a word."""
    for modality in model.schema.modalities:
        text = given.get(modality.columns[0])
        kind = modality.kind
        if not isinstance(kind, TextKind) or modality.name == but or not isinstance(text, str) or not text.strip():
            continue
        assert kind.max_tokens is not None
        longer = kind.model_copy(update={"max_tokens": kind.max_tokens + 1000})
        length = longer.length(longer.decode(text))
        if length > kind.max_tokens:
            raise DataError(f"{modality.name}: a text of {length} tokens; this model reads {kind.max_tokens}, the "
                            f"longest it was trained on: shorten it")


def _in_shape(pictures: npt.NDArray[np.uint8], samples: Samples, name: str) -> npt.NDArray[np.uint8]:
    """Squares stretched to the shape of the column's pictures, the longer side as long as the square's."""
    kind = samples.schema.modality(name).kind
    assert isinstance(kind, ImageKind) and kind.height is not None and kind.width is not None
    if kind.height == kind.width:
        return pictures
    size, longer = pictures.shape[2], max(kind.height, kind.width)
    shape = (max(1, round(size * kind.height / longer)), max(1, round(size * kind.width / longer)))
    flat = torch.from_numpy(pictures.reshape(-1, *pictures.shape[2:])).permute(0, 3, 1, 2).float()
    scaled = torch.nn.functional.interpolate(flat, shape, mode="bilinear", antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy().reshape(
        *pictures.shape[:2], *shape, pictures.shape[4])


def pictured(picture: npt.NDArray[np.uint8]) -> Image:
    """An array as a picture of Pillow."""
    from PIL import Image as Pillow

    return Pillow.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
