"""Names and pictures in one space: a frozen BERT and a frozen ResNet-50, aligned on emoji in four ways.

    python examples/align_text_image.py [--data FOLDER] [--out emoji.html]

Neither encoder has ever seen a picture together with its name, and neither is changed here. Only what joins them is
learned, from Google's drawings of four fifths of the emoji. Then the names of the others look for their pictures among
Twitter's drawings: names that were never seen, in a style that was never seen.

FOLDER (default: $SENSORIUM_DATA, else ../shared/data) holds emoji/emoji.csv with its pictures, and two folders of
Hugging Face models, weights_minilm_l6 and weights_resnet50; --text-model and --image-model name others. The first run
encodes 3,822 pictures (five minutes on one core); later ones read the cache. The page shows what each way finds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from emoji_page import write_page
from sklearn.linear_model import Ridge
from torch import nn
from torch.nn import functional as F

from sensorium.alignment import AlignmentPlan, DeepCCA, LinearAlignment, train_alignment
from sensorium.data.cache.digest import CacheKey, content_digest
from sensorium.data.cache.token_cache import TokenCache
from sensorium.data.kinds import AnyKind, ImageKind, TextKind
from sensorium.encoders.pretrained import PretrainedEncoder, adapt_kind, describe_source
from sensorium.metrics.bootstrap import replicate_weights
from sensorium.metrics.relevance import Relevance
from sensorium.metrics.retrieval import rank, retrieval_metrics
from sensorium.recipe import EncoderOptions

Array = npt.NDArray[Any]
Views = Mapping[str, Array]
Embedder = Callable[[Views], dict[str, Array]]
SIDE, FOLDS, AT_ONCE = 160, 5, 64


# --- 1. what the frozen encoders say ----------------------------------------------------------------------------------

def frozen_features(folder: Path, kind: AnyKind, cells: Sequence[str | Path], *, largest: bool = False) -> Array:
    """(cell, features): the mean of a frozen model's tokens and, if `largest`, the largest value of each channel too.

    A cell is encoded once; after that its features come from sensorium's cache.
    """
    encoder = PretrainedEncoder.build(kind, 1, EncoderOptions(name=str(folder)))
    digests = [content_digest(cell) for cell in cells]
    settings = {**kind.model_dump(mode="json"), "pooled": "mean and largest" if largest else "mean"}
    with TokenCache().open(CacheKey(folder.name, encoder.fingerprint(), settings, 1)) as store:
        missing = store.missing(digests)
        for start in range(0, len(missing), AT_ONCE):
            some = missing[start : start + AT_ONCE].tolist()
            tokens = encoder.features(kind.collate([kind.decode(cells[cell]) for cell in some]))
            real = tokens.mask[:, :, None]
            pooled = [torch.where(real, tokens.values, 0.0).sum(dim=1) / real.sum(dim=1)]
            pooled += [torch.where(real, tokens.values, -torch.inf).amax(dim=1)] if largest else []
            unit = torch.cat([F.normalize(part, dim=1) for part in pooled], dim=1)
            store.add([digests[cell] for cell in some], unit[:, None].numpy(), np.ones((len(some), 1), dtype=bool))
            print(f"\r{folder.name}: {start + len(some):,} of {len(missing):,} encoded", end="", flush=True)
        print("" if len(missing) == 0 else "\n", end="")
        store.flush()
        return np.asarray(store.gather(store.find(digests)).values[:, 0], dtype=np.float32)


def read_views(data: Path, text_model: Path, image_model: Path) -> tuple[pl.DataFrame, Views]:
    """The table, and views of it: "name" (row, reading, features), "google" and "twitter" (row, features).

    A name has three readings: itself, itself with its tags, and the tags alone. Training reads any of them; questions
    are names alone.
    """
    table = pl.read_csv(data / "emoji.csv")
    names, tags = table["label"].to_list(), table["tags"].to_list()
    readings = [names, [f"{name}: {tag}" for name, tag in zip(names, tags, strict=True)], tags]
    text = adapt_kind(TextKind(), describe_source(str(text_model)))
    picture = adapt_kind(ImageKind(height=SIDE, width=SIDE), describe_source(str(image_model)))
    picture = picture.model_copy(update={"fit": "squash", "scaled": None})  # emoji fill their square: cut nothing off
    views = {"name": np.stack([frozen_features(text_model, text, reading) for reading in readings], axis=1)}
    for style in ("google", "twitter"):
        files = [data / file for file in table[style]]
        views[style] = frozen_features(image_model, picture, files, largest=True)
    return table, views


def fold_of(table: pl.DataFrame) -> Array:
    """(row,) 0 … 4; variants of one emoji ("man running: facing right") share their `base`, and so their fold.

    −1: the flags of countries, whose names tell nothing of the picture.
    """
    base = table["base"].to_numpy()
    names, number = np.unique(base[base != "flag"], return_inverse=True)
    shuffled = np.empty(len(names), dtype=np.int64)
    shuffled[np.random.default_rng(0).permutation(len(names))] = np.arange(len(names)) % FOLDS
    fold = np.full(len(base), -1)
    fold[base != "flag"] = shuffled[number]
    return fold



# --- 2. four ways of aligning them ------------------------------------------------------------------------------------
# Each takes training views, "name" (row, reading, features) and "picture" (row, features), and answers with a function
# from views to unit-length embeddings. benchmarks/emoji.py chooses their numbers by cross-validation.

def ridge_map(train: Views, *, penalty: float = 1.0, readings: int = 2) -> Embedder:
    """No shared space: least squares from the features of a picture to those of its name, compared there."""
    name, picture = train["name"][:, :readings].mean(axis=1), train["picture"]
    model = Ridge(alpha=penalty * len(name) * mean_variance(picture)).fit(picture, name)

    def embed(views: Views) -> dict[str, Array]:
        told = {key: model.predict(values) if key == "picture" else values for key, values in views.items()}
        return {key: F.normalize(torch.as_tensor(values - name.mean(axis=0)), dim=1).numpy()
                for key, values in told.items()}

    return embed


def cca(train: Views, *, width: int = 256, penalty: float = 1.0, power: float = 1.0) -> Embedder:
    """Canonical correlation analysis in closed form, each canonical variate as loud as it correlates."""
    return embedder(cca_alignment(train, width=width, penalty=penalty, power=power))


def deep_cca(train: Views, *, width: int = 128, hidden: int = 512, epochs: int = 60, penalty: float = 0.1) -> Embedder:
    """A small network on each encoder, trained so that what they say correlates; then a linear alignment of that."""
    views = {"name": train["name"][:, 0], "picture": train["picture"]}
    means = {key: values.mean(axis=0) for key, values in views.items()}
    scales = {key: mean_variance(values) ** 0.5 for key, values in views.items()}
    networks = [nn.Sequential(nn.Dropout(0.5), nn.Linear(values.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, width))
                for values in views.values()]
    deep = DeepCCA(width, encoders=networks, epochs=epochs, learning_rate=3e-3, ridge=1e-2)
    deep.fit([(values - means[key]) / scales[key] for key, values in views.items()])
    network = dict(zip(views, deep.encoders_, strict=True))

    def said(given: Views) -> dict[str, Array]:
        with torch.no_grad():
            return {key: network[key](torch.as_tensor((values - means[key]) / scales[key])).numpy()
                    for key, values in given.items()}

    alignment, outputs = LinearAlignment({"name": width, "picture": width}, width), said(views)
    alignment.initialise(outputs, ridge=[penalty * mean_variance(values) for values in outputs.values()], power=1.0)
    return lambda given: embedder(alignment)(said(given))


def contrast(train: Views, *, width: int = 256, plan: AlignmentPlan | None = None) -> Embedder:
    """The projections of CCA, trained further so that a name tells its own picture from all others of a batch."""
    alignment = cca_alignment(train, width=width, penalty=1.0, power=0.5)
    train_alignment(alignment, train, plan=plan or AlignmentPlan(epochs=15, hide={"name": 0.3, "picture": 0.7}))
    return embedder(alignment)


def cca_alignment(train: Views, *, width: int, penalty: float, power: float) -> LinearAlignment:
    """A linear alignment that CCA has set; its ridge in units of each view's mean variance."""
    views = {"name": train["name"][:, 0], "picture": train["picture"]}
    alignment = LinearAlignment({key: values.shape[1] for key, values in views.items()}, width)
    alignment.initialise(views, ridge=[penalty * mean_variance(values) for values in views.values()], power=power)
    return alignment


def embedder(alignment: LinearAlignment) -> Embedder:
    """The alignment as a function of arrays."""

    def embed(views: Views) -> dict[str, Array]:
        with torch.no_grad():
            found = alignment({key: torch.as_tensor(values) for key, values in views.items()})
        return {key: vectors.numpy() for key, vectors in found.items()}

    return embed


def mean_variance(values: Array) -> float:
    """The mean variance of a view's features."""
    return float(values.var(axis=0).mean())


WAYS: dict[str, Callable[[Views], Embedder]] = {
    "ridge map": ridge_map, "CCA": cca, "deep CCA": deep_cca, "contrast": contrast}


# --- 3. what each finds -----------------------------------------------------------------------------------------------

def score(queries: Array, gallery: Array, pictures: Array, bases: Array) -> dict[str, str]:
    """R@1, R@5, R@10 with 95 % intervals over base names. Pictures that are equal byte for byte are equally right."""
    ranking = rank(queries, gallery, Relevance.by_code(pictures, pictures))
    found = retrieval_metrics(ranking, replicate_weights(len(ranking), bases))
    return {f"R@{cut}": f"{value.value:.3f} ({value.low:.3f}–{value.high:.3f})"
            for cut, value in ((cut, found[f"recall_at_{cut}"]) for cut in (1, 5, 10))}


def codes(files: Sequence[Path]) -> Array:
    """(file,) numbers, equal where the files are equal."""
    return np.unique([content_digest(file) for file in files], return_inverse=True)[1]


def main() -> None:
    """Encode, align in every way, print the scores, write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SENSORIUM_DATA", "../shared/data")))
    parser.add_argument("--text-model", type=Path, help="default: FOLDER/weights_minilm_l6")
    parser.add_argument("--image-model", type=Path, help="default: FOLDER/weights_resnet50")
    parser.add_argument("--out", type=Path, default=Path("emoji.html"))
    given = parser.parse_args()
    folder = given.data / "emoji"
    if not (folder / "emoji.csv").is_file():
        parser.exit(1, f"{folder / 'emoji.csv'} is not here: give --data FOLDER or set SENSORIUM_DATA\n")
    table, views = read_views(folder, given.text_model or given.data / "weights_minilm_l6",
                              given.image_model or given.data / "weights_resnet50")
    fold = fold_of(table)
    training, test = np.flatnonzero(fold > 0), np.flatnonzero(fold == 0)
    known = {"name": views["name"][training], "picture": views["google"][training]}
    asked = {"name": views["name"][test, 0], "picture": views["twitter"][test]}
    held_out = table[test.tolist()]
    pictures = codes([folder / file for file in held_out["twitter"]])
    print(f"{len(training):,} emoji to learn from, {len(test)} others to find")
    scores: dict[str, dict[str, dict[str, str]]] = {}
    found: dict[str, dict[str, Array]] = {}
    bases = held_out["base"].to_numpy()
    for way, align in WAYS.items():
        found[way] = align(known)(asked)
        name, picture = found[way]["name"], found[way]["picture"]
        scores[way] = {"a name finds its picture": score(name, picture, pictures, bases),
                       "a picture finds its name": score(picture, name, pictures, bases)}
        for direction, values in scores[way].items():
            print(f"{way:9}  {direction}  " + "  ".join(f"{cut} {value}" for cut, value in values.items()), flush=True)
    write_page(given.out, folder, held_out, found, scores)
    print(f"what each finds: {given.out}")


if __name__ == "__main__":
    main()
