"""From the names of classes to embeddings: prompts, embedded, averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.kinds import TextKind
from sensorium.data.schema import Schema
from sensorium.errors import AlignmentError, RecipeError, unknown_name
from sensorium.evaluation.embedder import Embedder, Vectors
from sensorium.metrics.bootstrap import Floats
from sensorium.metrics.calibration import apply_temperature

PLACE = "{}"
SCALE = 1 / 0.07  # the inverse of the temperature that contrastive training starts from
SHORTEST = 1e-6


def prompts_of(labels: Sequence[str], templates: str | Sequence[str] = (PLACE,)) -> list[list[str]]:
    """Each label's prompts, one a template.

    Args:
        labels: names of classes: two at least, each once, none blank.
        templates: texts with exactly one {} each, where the label goes.

    Raises:
        AlignmentError: labels or templates are not as said.

    Example:
        >>> prompts_of(["ant", "bee"], "a photo of a {}")
        [['a photo of a ant'], ['a photo of a bee']]
    """
    forms = [templates] if isinstance(templates, str) else list(templates)
    if not forms:
        raise AlignmentError("expected at least one prompt template, found none: \"{}\" is the label alone")
    for form in forms:
        if form.count(PLACE) != 1:
            raise AlignmentError(f"prompt template {form!r}: expected exactly one {{}} where the label goes, found "
                                 f"{form.count(PLACE)}")
    if isinstance(labels, str) or len(labels) < 2:
        raise AlignmentError(f"classes to choose from: expected at least 2 labels, found {labels!r}")
    seen: set[str] = set()
    for number, label in enumerate(labels, start=1):
        if not label.strip() or label in seen:
            raise AlignmentError(f"label {number} of {len(labels)}, {label!r}, is "
                                 f"{'there twice' if label in seen else 'blank'}")
        seen.add(label)
    return [[form.replace(PLACE, label) for form in forms] for label in labels]


def class_embeddings(
    embed: Callable[[list[str]], npt.NDArray[Any]], labels: Sequence[str], templates: str | Sequence[str] = (PLACE,),
) -> Vectors:
    """(class_, width) unit-length embeddings: each prompt's is normalised, their mean is normalised again.

    Args:
        embed: texts → (text, width) embeddings; called once, with every prompt.
        labels: names of classes: two at least, each once.
        templates: texts with exactly one {} each, where the label goes.

    Raises:
        AlignmentError: labels or templates are wrong, or a prompt has no embedding or one of length 0.

    Source: Radford et al. 2021 (CLIP), section 3.1.4: ensembling in embedding space.

    Example:
        >>> class_embeddings(lambda texts: np.array([[len(text), 0.0] for text in texts]), ["a", "b"]).tolist()
        [[1.0, 0.0], [1.0, 0.0]]
    """
    prompts = prompts_of(labels, templates)
    texts = [prompt for own in prompts for prompt in own]
    found = np.asarray(embed(texts), dtype=np.float64)
    if found.ndim != 2 or len(found) != len(texts):
        raise AlignmentError(f"expected an embedding for each of {len(texts)} prompts, found shape {found.shape}")
    lengths = np.linalg.norm(found, axis=1)
    bad = ~(np.isfinite(lengths) & (lengths > 0))
    if bad.any():
        raise AlignmentError(f"{int(bad.sum())} of {len(texts)} prompts have no embedding, the first is "
                             f"{texts[int(bad.argmax())]!r}")
    means = (found / lengths[:, None]).reshape(len(labels), -1, found.shape[1]).mean(axis=1)
    length = np.linalg.norm(means, axis=1, keepdims=True)
    if (length < SHORTEST).any():
        raise AlignmentError(f"the {len(prompts[0])} prompts of {labels[int(length.argmin())]!r} cancel each other: "
                             f"their mean has length {float(length.min()):.2g}")
    return np.asarray(means / length, dtype=np.float32)


def zero_shot_probabilities(embeddings: Vectors, classes: Vectors, *, scale: float = SCALE) -> Floats:
    """(row, class_) float64 softmax of scale · cosine; NaN in rows whose embedding is NaN.

    Args:
        embeddings: (row, width) unit-length embeddings.
        classes: (class_, width) unit-length embeddings.
        scale: 1 / temperature, above 0: the larger, the surer.

    Example:
        >>> zero_shot_probabilities(np.eye(2), np.eye(2), scale=np.log(3)).round(2).tolist()
        [[0.75, 0.25], [0.25, 0.75]]
    """
    if embeddings.ndim != 2 or classes.ndim != 2 or embeddings.shape[1] != classes.shape[1]:
        raise AlignmentError(f"expected embeddings of rows and classes of one width, found shapes {embeddings.shape} "
                             f"and {classes.shape}")
    if not (np.isfinite(scale) and scale > 0):
        raise AlignmentError(f"expected a scale above 0, found {scale!r}")
    probabilities = np.full((len(embeddings), len(classes)), np.nan)
    there = ~np.isnan(embeddings).any(axis=1)
    if there.any():
        cosines = embeddings[there].astype(np.float64) @ classes.T.astype(np.float64)
        probabilities[there] = apply_temperature(cosines, 1 / scale)
    return probabilities


def text_modality(schema: Schema, name: str | None) -> str:
    """The text modality that reads prompts: the one named, or the only one.

    Raises:
        AlignmentError: there is none, there are several and none is named, or the one named is no text.
        RecipeError: the name is unknown.
    """
    texts = [one.name for one in schema.modalities if isinstance(one.kind, TextKind) and not one.part]
    if name is not None:
        if name not in schema.names:
            raise RecipeError(str(unknown_name("modality", name, list(schema.names))))
        if name not in texts:
            kind = schema.modality(name).kind.name
            what = "the subtitles of videos" if kind == "text" else f"of kind {kind}"
            raise AlignmentError(f"prompts need a text modality to read them, and {name!r} is {what}; text modalities: "
                                 f"{', '.join(texts) or 'none'}")
        return name
    if len(texts) != 1:
        raise AlignmentError(f"prompts need a text modality to read them, and the model has {len(texts)} "
                             f"({', '.join(texts) or 'none'}){': name one' if texts else ''}; its modalities are "
                             f"{', '.join(schema.names)}")
    return texts[0]


def prompt_embeddings(model: Embedder, texts: Sequence[str], text: str) -> Vectors:
    """(text, width) embeddings of texts as the cells of a text modality."""
    modality = model.schema.modality(text)
    rows = [{modality.columns[0]: [one] if modality.separator else one} for one in texts]
    return model.embed(rows, modalities=[text])
