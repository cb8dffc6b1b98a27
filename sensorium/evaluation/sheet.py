"""A sheet of pictures: a line for each thing they were made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

GAP = 4
SMALL = 96
MOST_ROWS, MOST_COLUMNS = 40, 16


def sheet(pictures: Sequence[Sequence[Image]], *, side: int = SMALL) -> Image:
    """One picture of many, on white; small ones are enlarged in whole steps, so that their pixels stay sharp.

    Args:
        pictures: lines of pictures; at most 40 lines of 16 are shown.
        side: pixels that each is enlarged to, at least, where it is smaller.
    """
    from PIL import Image as Pillow

    shown = [list(line[:MOST_COLUMNS]) for line in pictures[:MOST_ROWS]]
    factor = max(1, side // max(one.size[0] for line in shown for one in line))
    width = max(one.size[0] for line in shown for one in line) * factor + GAP
    height = max(one.size[1] for line in shown for one in line) * factor + GAP
    whole = Pillow.new("RGB", (width * max(map(len, shown)) + GAP, height * len(shown) + GAP), (255, 255, 255))
    for row, line in enumerate(shown):
        for column, one in enumerate(line):
            enlarged = one.resize((one.size[0] * factor, one.size[1] * factor), Pillow.Resampling.NEAREST)
            whole.paste(enlarged.convert("RGB"), (GAP + column * width, GAP + row * height))
    return whole
