"""Emoji painted from their names: names never trained on, under a judge that knows another hand's drawings.

The painter learns from Google's drawings and a frozen BERT's reading of their names, without the names of one fold of
five (whole base names; flags are left out). The judge is a contrast of a frozen ResNet-50 and the same BERT, trained on
Twitter's drawings of all names. A painted picture finds its name where that is the nearest of 100, the other 99 drawn
among the held-out ones. Beside stand Google's own drawing (the most that can be reached) and the training drawing whose
name is nearest to the BERT (retrieval instead of generation).

    python benchmarks/emoji_painting.py [--data FOLDER] [--method flow gan] [--size 32] [--epochs 650]
        [--objectives contrast] [--out DIR]

Writes sheets of held-out and of training names, and the painter, to the folder of --out; --kept judges it again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from PIL import Image

from sensorium.evaluation.sheet import sheet
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import estimate, mean_value, replicate_weights
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training.console import Terminal
from sensorium.training.fit import fit

Array = npt.NDArray[Any]
Pictures = Sequence[Image.Image]
AMONG, FOLDS, SHOWN, EACH = 100, 5, 16, 4


def main() -> None:
    """Train judge and painters, paint, judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--method", nargs="+", default=["flow"])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=650)
    parser.add_argument("--objectives", nargs="*", default=["contrast"], help="that learn beside the painter")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--guidance", type=float, nargs="+", default=[2.0])
    parser.add_argument("--kept", action="store_true", help="judge the painters that an earlier run left in --out")
    parser.add_argument("--out", type=Path, default=Path("painting"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    frame = pl.read_csv(given.data / "emoji" / "emoji.csv").filter(pl.col("group") != "flags")
    folder = f"{given.data.resolve() / 'emoji'}/"
    frame = frame.with_columns([(folder + pl.col(style)).alias(style) for style in ("google", "twitter")])
    held = _fold(frame["base"].to_list()) == 0
    train, test = frame.filter(~held), frame.filter(held)
    print(f"{len(train):,} names to learn from, {len(test)} held out")
    judge = _judge(frame, given)
    _say("Google's own drawings", judge, [_read(path) for path in test["google"]], test)
    _say("drawing of the nearest training name", judge, [_read(path) for path in _nearest(train, test, given)], test)
    for method in given.method:
        begun = time.monotonic()
        model = Model.load(given.out / method) if given.kept else _painter(train, method, given)
        print(f"\n{method}, {given.size} px: {model.facts['steps']} steps, {time.monotonic() - begun:.0f} s on "
              f"{given.threads} threads")
        for guidance in given.guidance:
            _paint(model, judge, train, test, f"{method}, {given.size} px, guidance {guidance:g}", guidance)
        for what, rows in (("held-out", test.sample(SHOWN, seed=1)), ("training", train.sample(SHOWN, seed=1))):
            several = model.generate("google", [{"label": name} for name in rows["label"]], n=EACH,
                                     guidance=given.guidance[0])
            real = [_read(path).resize((given.size, given.size)) for path in rows["google"]]
            file = given.out / f"emoji-{method}-{what}-{given.size}.png"
            sheet([[one, *own] for one, own in zip(real, several, strict=True)], side=64).save(file)
            print(f"{file}, Google's own first: {' | '.join(rows['label'])}")


def _paint(model: Model, judge: Model, train: pl.DataFrame, test: pl.DataFrame, what: str, guidance: float) -> None:
    """Paint the held-out names and as many of the training names, and have them judged."""
    for which, rows in (("held-out", test), ("training", train.sample(len(test), seed=0))):
        made = model.generate("google", [{"label": name} for name in rows["label"]], guidance=guidance)
        _say(f"{what}, {which} names", judge, [own[0] for own in made], rows)


def _fold(bases: Sequence[str]) -> Array:
    """Which of five folds each base name is in."""
    names = sorted(set(bases))
    order = Draws(0, 0, np.arange(len(names))).order("fold")
    fold = {names[place]: number % FOLDS for number, place in enumerate(order.tolist())}
    return np.array([fold[base] for base in bases])


def _table(frame: pl.DataFrame, columns: Sequence[str], folder: Path) -> Path:
    frame.select(columns).write_csv(folder / "table.csv")
    return folder / "table.csv"


def _encoders(data: Path, **names: str) -> dict[str, dict[str, str]]:
    return {column: {"name": str((data / f"weights_{name}").resolve())} for column, name in names.items()}


def _judge(frame: pl.DataFrame, given: argparse.Namespace) -> Model:
    recipe = Recipe.checked({
        "data": {"inputs": ["twitter", "label"], "allow_outside": True,
                 "settings": {"twitter": {"height": 112, "width": 112, "augmentation": 0.0}}},
        "model": {"encoders": _encoders(given.data, twitter="resnet50", label="minilm_l6")},
        "objectives": {"contrast": {}},
        "training": {"batch_size": 256, "epochs": 40, "refit": "never", "seed": given.seed, "workers": 0}})
    with tempfile.TemporaryDirectory() as work:
        return fit(_table(frame, ["twitter", "label"], Path(work)), recipe, console=Terminal())


def _painter(train: pl.DataFrame, method: str, given: argparse.Namespace) -> Model:
    recipe = Recipe.read(Path(__file__).parents[1] / "recipes" / "generation.yaml")
    recipe = Recipe.checked({**recipe.model_dump(mode="json"),
                             "objectives": {"paint": {"method": method, "size": given.size},
                                            **{name: {} for name in given.objectives}}})
    recipe = recipe.changed("data", inputs=["google", "label"], allow_outside=True)
    recipe = recipe.changed("model", encoders=_encoders(given.data, label="minilm_l6"))
    recipe = recipe.changed("training", epochs=given.epochs, seed=given.seed, workers=0)
    places = np.arange(len(train)) % 40
    split = np.where(places == 0, "validation", np.where(places == 20, "calibration", "train"))
    train = train.with_columns(pl.Series("split", split))
    with tempfile.TemporaryDirectory() as work:
        model = fit(_table(train, ["google", "label", "split"], Path(work)), recipe, console=Terminal())
    model.save(given.out / method, overwrite=True)
    return model


def _read(path: str) -> Image.Image:
    overlay = Image.open(path).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", overlay.size, (255, 255, 255, 255)), overlay).convert("RGB")


def _nearest(train: pl.DataFrame, test: pl.DataFrame, given: argparse.Namespace) -> list[str]:
    """Google's drawing of the training name that is nearest to each held-out one, by the BERT's mean token."""
    from transformers import AutoModel, AutoTokenizer

    source = given.data / "weights_minilm_l6"
    tokenizer, model = AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source).float().eval()

    def read(names: list[str]) -> torch.Tensor:
        inputs = tokenizer(names, padding=True, return_tensors="pt")
        with torch.inference_mode():
            tokens = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][:, :, None]
        return torch.nn.functional.normalize((tokens * mask).sum(dim=1) / mask.sum(dim=1), dim=1)

    closest = (read(test["label"].to_list()) @ read(train["label"].to_list()).T).argmax(dim=1)
    return [train["google"][int(place)] for place in closest]


def _say(what: str, judge: Model, pictures: Pictures, rows: pl.DataFrame) -> None:
    """How many pictures are nearest to their own name among 100."""
    names = rows["label"].to_list()
    seen = judge.embed([{"twitter": picture} for picture in pictures], modalities=["twitter"])
    told = judge.embed([{"label": name} for name in names], modalities=["label"])
    similar = seen @ told.T
    hits = np.zeros(len(names))
    for row in range(len(names)):
        others = Draws(row, 0, np.arange(len(names))).order("among")
        others = others[others != row][: AMONG - 1]
        hits[row] = float(similar[row, row] > similar[row, others].max())
    found = estimate(mean_value, hits, hits, replicate_weights(len(hits), seed=0))
    print(f"{what}: {found.value:.3f} ({found.low:.3f} to {found.high:.3f}) of {len(hits)} find their name among "
          f"{AMONG} (chance {1 / AMONG:.2f})", flush=True)


if __name__ == "__main__":
    main()
