"""Pictures from held-out captions and captions of held-out pictures, in the synthetic world of coloured objects.

One of 96 combinations of colour, shape and place a picture; a fifth of them is never trained on. A judge trained on
real pictures of all of them (scene_judge.py) says what colour, shape and place a generated picture shows. Beside stands
the picture of the nearest training caption (cosine of tf-idf), which cannot show what was never seen.

    python benchmarks/painting.py [--method flow gan] [--epochs 100] [--size 32] [--threads 2] [--out DIR]

Writes a sheet of pictures for each method to the folder of --out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image
from scene_judge import Judge, judged, trained_judge

from sensorium.demo.objects_write import write_generation
from sensorium.demo.wording import attributes_of
from sensorium.evaluation.sheet import sheet
from sensorium.metrics.bootstrap import estimate, mean_value, replicate_weights
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training.console import Terminal
from sensorium.training.fit import fit

ASPECTS = ("colour", "shape", "place")
SHOWN, EACH = 12, 4
WORLD = "picture", "caption"


def main() -> None:
    """Train, generate, judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--method", nargs="+", default=["flow", "gan"])
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--objectives", nargs="*", default=["contrast", "caption"], help="Besides paint.")
    parser.add_argument("--init", default=None, help="A model folder to go on from.")
    parser.add_argument("--judge", type=Path, default=None, help="A file that keeps the judge.")
    parser.add_argument("--out", type=Path, default=Path("painting"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    judge = trained_judge(kept=given.judge)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "world"
        write_generation(folder, rows=given.rows, size=given.size, seed=given.seed)
        _show("real pictures of the test rows", *_judged(judge, folder, "test", _real(folder, "test")))
        _show("picture of the nearest training caption", *_judged(judge, folder, "test", _nearest(folder)))
        for method in given.method:
            model, seconds = _trained(folder, method, given)
            print(f"\n{method}: {model.num_parameters():,} parameters, {model.facts['steps']} steps, {seconds:.0f} s "
                  f"on {given.threads} threads", flush=True)
            for split in ("test", "test_seen"):
                made = _made(model, folder, split, given.out / f"{method}-{split}-{given.size}.png")
                _show(f"{method}, {'held-out' if split == 'test' else 'seen'} combinations",
                      *_judged(judge, folder, split, made))
            if "caption" in given.objectives:
                _captions(model, folder)


def _trained(folder: Path, method: str, given: argparse.Namespace) -> tuple[Model, float]:
    begun = time.monotonic()
    recipe = Recipe.read(Path(__file__).parents[1] / "recipes" / "generation.yaml")
    objectives = {"paint": {"method": method}, **{name: {} for name in given.objectives}}
    recipe = Recipe.checked({**recipe.model_dump(mode="json"), "objectives": objectives})
    recipe = recipe.changed("training", epochs=given.epochs, seed=given.seed, workers=0)
    recipe = recipe.changed("data", inputs=WORLD).changed("transfer", init=given.init)
    model = fit(folder / "train.csv", recipe, console=Terminal())
    model.save(given.out / method, overwrite=True)
    return model, time.monotonic() - begun


def _made(model: Model, folder: Path, split: str, file: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """One picture for each caption; and a sheet with several of the first ones."""
    captions = pl.read_csv(folder / f"{split}.csv")["caption"].to_list()
    rows = [{"caption": caption} for caption in captions]
    begun = time.monotonic()
    made = model.generate("picture", rows)
    print(f"{len(rows) / (time.monotonic() - begun):.0f} pictures a second")
    several = model.generate("picture", rows[:SHOWN], n=EACH)
    sheet(several).save(file)
    print(f"{file}: {' | '.join(captions[:SHOWN])}")
    return np.stack([np.asarray(own[0]) for own in made])


def _captions(model: Model, folder: Path) -> None:
    for split in ("test", "test_seen"):
        table, truth = (pl.read_csv(folder / f"{split}{end}.csv") for end in ("", "_truth"))
        made = model.generate("caption", [{"picture": str(folder / path)} for path in table["picture"].to_list()])
        said = [attributes_of(own[0]) for own in made]
        hits = {aspect: np.array([getattr(one, aspect) == right for one, right in
                                  zip(said, truth[aspect].to_list(), strict=True)]) for aspect in ASPECTS}
        print("for example: " + " | ".join(own[0] for own in made[:4]))
        _show(f"captions of {'held-out' if split == 'test' else 'seen'} combinations", hits, truth["colour"].to_list())


def _real(folder: Path, split: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.stack([np.asarray(Image.open(folder / path).convert("RGB"))
                     for path in pl.read_csv(folder / f"{split}.csv")["picture"].to_list()])


def _nearest(folder: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The picture of the most similar training caption, for each held-out one."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    train, test = (pl.read_csv(folder / f"{name}.csv")["caption"].to_list() for name in ("train", "test"))
    words = TfidfVectorizer().fit(train)
    closest = np.asarray((words.transform(test) @ words.transform(train).T).argmax(axis=1)).ravel()
    return _real(folder, "train")[closest]


def _judged(
    judge: Judge, folder: Path, split: str, pictures: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> tuple[dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]], Sequence[str]]:
    """Aspect → (row,) whether the judge sees what the caption says."""
    truth = pl.read_csv(folder / f"{split}_truth.csv")
    with torch.inference_mode():
        seen = judged(judge, pictures)
    return {aspect: np.array(seen[aspect]) == truth[aspect].to_numpy() for aspect in ASPECTS}, truth["colour"].to_list()


def _show(what: str, hits: dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]], rows: Sequence[str]) -> None:
    weights = replicate_weights(len(rows), seed=0)
    told = {**hits, "all three": np.all(list(hits.values()), axis=0)}
    parts = []
    for name, hit in told.items():
        values = hit.astype(np.float64)
        found = estimate(mean_value, values, values, weights)
        parts.append(f"{name} {found.value:.3f} ({found.low:.3f} to {found.high:.3f})")
    print(f"{what}: {', '.join(parts)}, {len(rows)} rows", flush=True)


if __name__ == "__main__":
    main()
