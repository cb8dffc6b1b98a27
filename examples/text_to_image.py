"""Words to picture: a painter learned from pairs, asked for what it has never seen.

    python examples/text_to_image.py                     # flow matching
    python examples/text_to_image.py --method gan        # a generator against a matching-aware discriminator

The pairs are synthetic (`sensorium.demo`): coloured shapes in the corners of a picture, captions in a dozen wordings.
Twenty of the 96 combinations of colour, shape and place are held out; their captions are painted, laid out to be looked
at (sheet.png), and checked by measuring where the paint is and what colour it has. Takes ten minutes of one
core, after which every colour and place is right; shapes want longer (docs/results.md).
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import sensorium as sm
from sensorium.demo import attributes_of, write_generation

RECIPE = sm.Recipe.from_yaml("""
objectives:
  contrast: {}               # teaches the words what they mean in pictures, sooner than painting does
training:
  learning_rate: 1.0e-3
  patience: 0                # a painter is not stopped early
""")
SHOWN, EACH = 10, 4


def main() -> None:
    """Train, paint held-out captions, check colour and place, write a sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4000, help="training rows")
    parser.add_argument("--test-rows", type=int, default=100, help="captions to paint")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--method", choices=["flow", "gan"], default="flow")
    parser.add_argument("--out", type=Path, default=Path("painted"), help="a folder for world, model and pictures")
    given = parser.parse_args()

    world = write_generation(given.out / "world", rows=given.rows, test_rows=given.test_rows)
    recipe = RECIPE.changed("objectives", paint={"to": "picture", "method": given.method})
    model = sm.fit(world.table(), recipe.changed("training", epochs=given.epochs))

    asked = [row["caption"] for row in _rows(world.table("test"))]
    painted = [own[0] for own in model.generate("picture", [{"caption": caption} for caption in asked])]
    usual = _usual_colours(world.table())
    real = [Image.open(world.folder / row["picture"]) for row in _rows(world.table("test"))]
    print(f"\n{len(asked)} captions of combinations never seen, as measured in the pixels")
    for what, pictures in (("painted", painted), ("real ones", real)):
        seen = [_measured(picture, usual) for picture in pictures]
        right = np.array([[colour == told.colour, place == told.place] for (colour, place), told in
                          zip(seen, map(attributes_of, asked), strict=True)])
        print(f"  {what:9} colour {right[:, 0].mean():.3f}, place {right[:, 1].mean():.3f}, both "
              f"{right.all(axis=1).mean():.3f}")

    several = model.generate("picture", [{"caption": caption} for caption in asked[:SHOWN]], n=EACH, seed=1)
    _sheet(several).save(given.out / "sheet.png")
    print(f"\n{given.out / 'sheet.png'}, a line for each of:", *asked[:SHOWN], sep="\n  ")
    print(f"\nmodel: {model.save(given.out / 'model', overwrite=True)}")


def _usual_colours(table: Path) -> dict[str, Any]:
    """Colour → its mean (red, green, blue) in the training pictures whose caption names it."""
    paints: dict[str, list[Any]] = {}
    for row in _rows(table):
        colour = attributes_of(row["caption"]).colour
        assert colour is not None
        paints.setdefault(colour, []).append(_paint(Image.open(table.parent / row["picture"]))[0])
    return {colour: np.mean(found, axis=0) for colour, found in paints.items()}


def _measured(picture: Any, usual: dict[str, Any]) -> tuple[str, str]:
    """The colour that the paint is nearest to, and the quarter that it lies in."""
    paint, (x, y) = _paint(picture)
    colour = min(usual, key=lambda name: float(np.abs(usual[name] - paint).sum()))
    return colour, f"{'upper' if y < 0.5 else 'lower'} {'left' if x < 0.5 else 'right'}"


def _paint(picture: Any) -> tuple[Any, tuple[float, float]]:
    """The mean colour, and the centre in 0…1, of the pixels that differ most from the ground."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float64)
    away = np.abs(pixels - np.median(pixels, axis=(0, 1))).sum(axis=2)
    rows, columns = np.nonzero(away > 0.6 * away.max())
    return pixels[rows, columns].mean(axis=0), (columns.mean() / pixels.shape[1], rows.mean() / pixels.shape[0])


def _sheet(pictures: list[list[Any]]) -> Image.Image:
    """Lines of pictures, enlarged three times."""
    whole = np.concatenate([np.concatenate([np.asarray(one) for one in line], axis=1) for line in pictures], axis=0)
    return Image.fromarray(whole.repeat(3, axis=0).repeat(3, axis=1))


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
