"""Pictures for the same few rows as training goes on: a sheet to look at, and a look at whether they collapse."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.kinds import ImageKind
from sensorium.data.samples import Samples
from sensorium.errors import DataError
from sensorium.keyed import Draws
from sensorium.made import painted
from sensorium.metrics.picture_variety import Variety, collapse
from sensorium.model import Model
from sensorium.objectives import Generative

Rows = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
MOST_ROWS, EACH = 8, 2
EARLY = 0.25
SIDE, GAP, MARGIN = 64, 4, 72


class CoursePictures:
    """Paints for the same validation rows, with the same noise, after epochs 1, 2, 4, 8 … and the last.

    Each line is kept in a file of its own, so that a resumed run has them all, and the sheet of all beside them.

    Args:
        model: with objective paint.
        samples: the decoded table.
        rows: (row,) that have a picture and something to paint it from, at most 8 of which are painted.
        checkpoint: the run's; the sheet is `pictures.png` beside it.
        say: called with a finding in words.
    """

    def __init__(
        self, model: Model, samples: Samples, rows: Rows, checkpoint: Path, say: Callable[[str], None],
    ) -> None:
        name = checkpoint.stem.replace("choose", "pictures")
        self._model, self._samples, self._say = model, samples, say
        self._folder, self._sheet = checkpoint.parent / name, checkpoint.parent / f"{name}.png"
        self._rows = rows[Draws(model.recipe.training.seed, 0, rows).order("course")][:MOST_ROWS]
        self._looked: list[Variety] = []
        self._said = False

    @classmethod
    def of(
        cls, model: Model, samples: Samples, rows: Rows, checkpoint: Path | None, say: Callable[[str], None] | None,
    ) -> CoursePictures | None:
        """None where the model paints nothing, no run is kept, or no row can be painted for."""
        painter = model.painting()
        if painter is None or checkpoint is None:
            return None
        usable = rows[_paintable(model, painter, samples, rows)]
        return cls(model, samples, usable, checkpoint, say or _silent) if len(usable) else None

    def look(self, epoch: int, *, done: float, last: bool) -> dict[str, Any] | None:
        """After an epoch: paint, where it is due.

        Args:
            epoch: from 1.
            done: the share of the schedule that is done.
            last: whether training ends here.

        Returns:
            How the pictures vary, for the history; None where it is not due.
        """
        if not last and epoch & (epoch - 1):
            return None
        made = painted(self._model, self._samples, self._rows, n=EACH, seed=self._model.recipe.training.seed)
        self._folder.mkdir(parents=True, exist_ok=True)
        _line(made[:, 0]).save(self._folder / f"{epoch:06d}.png")
        self._sheet.write_bytes(self.sheet(epoch))
        return self._variety(made, epoch, done)

    def sheet(self, epoch: int) -> bytes:
        """A PNG of the real pictures and, below, those of every epoch up to this one that was looked at."""
        from PIL import Image

        lines = {int(file.stem): Image.open(file).convert("RGB") for file in sorted(self._folder.glob("*.png"))}
        lines = {number: line for number, line in lines.items() if number <= epoch}
        if not lines:
            return b""
        like = next(iter(lines.values()))
        shape = (like.height, like.width // len(self._rows))
        shown = {"real": _line(self._real(shape)), **{f"epoch {number}": line for number, line in lines.items()}}
        buffer = io.BytesIO()
        _labelled(shown, len(self._rows)).save(buffer, format="PNG", optimize=True)
        return buffer.getvalue()

    def _real(self, shape: tuple[int, int]) -> Pixels:
        """(row, height, width_px, channel) the real pictures, stretched to the shape of the painted ones."""
        painter = self._model.painting()
        assert painter is not None
        cells = self._samples.cells[painter.to_name]
        arrays = cells.arrays.get(cells.cells_of_row[self._rows, 0].tolist())
        return np.stack([_stretched(one, shape) for one in arrays])

    def _variety(self, made: Pixels, epoch: int, done: float) -> dict[str, Any]:
        """How pictures vary; collapse is said once, where it lasts after the first quarter of training."""
        kind = ImageKind()
        features = np.stack([[kind.describe(one) for one in row] for row in made])
        real = np.stack([kind.describe(one) for one in self._real((made.shape[2], made.shape[3]))])
        try:
            found = collapse(features, real)
        except DataError:  # one row, or real pictures that are all the same
            return {}
        lost = found.collapsed and found.words != "the pictures of one condition are nearly the same"
        self._looked = [*self._looked, found] if lost and done >= EARLY else []
        if len(self._looked) >= 2 and not self._said:
            self._said = True
            self._say(f"collapse? after epoch {epoch}, {found.words}; look at {self._sheet}")
        return {"within": round(found.within, 4), "between": round(found.between, 4), "told": round(found.told, 4),
                "words": found.words}


def _paintable(model: Model, painter: Generative, samples: Samples, rows: Rows) -> npt.NDArray[np.bool_]:
    """(row,) whether a row has a picture and anything to paint it from."""
    names = model.schema.names
    reads = [names.index(name) for name in names if name in model.read and name not in painter.hidden]
    there = samples.presence[rows]
    return np.asarray(there[:, names.index(painter.to_name)] & there[:, reads].any(axis=1))


def _silent(text: str) -> None:
    """Say nothing."""


def _stretched(picture: Pixels, shape: tuple[int, int]) -> Pixels:
    from PIL import Image

    planes = [np.asarray(Image.fromarray(np.ascontiguousarray(picture[:, :, channel])).resize(
        (shape[1], shape[0]), Image.Resampling.BILINEAR)) for channel in range(picture.shape[2])]
    return np.stack(planes, axis=2)


def _line(pictures: Pixels) -> Any:
    """(row, height, width_px, channel) pictures side by side, as one of Pillow's."""
    from PIL import Image

    joined = np.concatenate(list(pictures), axis=1)
    return Image.fromarray(joined[:, :, 0] if joined.shape[2] == 1 else joined).convert("RGB")


def _labelled(lines: dict[str, Any], count: int) -> Any:
    """Lines of pictures below each other, enlarged in whole steps, each with its label."""
    from PIL import Image, ImageDraw

    first = next(iter(lines.values()))
    factor = max(1, SIDE // first.height)
    width, height = first.width // count * factor, first.height * factor
    whole = Image.new("RGB", (MARGIN + count * (width + GAP), len(lines) * (height + GAP) + GAP), (255, 255, 255))
    pen = ImageDraw.Draw(whole)
    for number, (label, line) in enumerate(lines.items()):
        top = GAP + number * (height + GAP)
        pen.text((GAP, top + height // 2 - 6), label, fill=(60, 60, 60))
        large = line.resize((count * width, height), Image.Resampling.NEAREST)
        for place in range(count):
            whole.paste(large.crop((place * width, 0, (place + 1) * width, height)),
                        (MARGIN + place * (width + GAP), top))
    return whole
