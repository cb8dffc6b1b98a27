"""Which generative objectives a recipe asks for, made for a schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium.data.kinds import AudioKind, ImageKind, TableKind, TextKind
from sensorium.data.schema import Modality, Schema
from sensorium.errors import RecipeError, unknown_name
from sensorium.generation.words import Words
from sensorium.objectives.caption import Caption
from sensorium.objectives.generative import Generative
from sensorium.objectives.paint import Paint
from sensorium.objectives.paint_flow import PaintFlow
from sensorium.objectives.paint_gan import PaintGAN
from sensorium.recipe import ObjectiveOptions, PaintOptions

SIZES: tuple[int, ...] = (32, 64, 128)
ENLARGED = 1.25
FLOW_BASE, GAN_BASE = 48, 16


def made_modalities(schema: Schema, options: ObjectiveOptions) -> dict[str, str]:
    """Objective → the modality it makes, of those that the recipe asks for.

    Raises:
        RecipeError: there is no such modality, several, or nothing else to make it from.
    """
    made = {}
    if options.caption is not None:
        made["caption"] = _chosen(schema, "caption", options.caption.to, TextKind, ())
    if options.answer is not None:
        asking = asked_by(schema, options)
        if options.answer.to is not None:
            made["answer"] = _chosen(schema, "answer", options.answer.to, TextKind, asking)
        elif not schema.targets:
            raise RecipeError("objective answer: name the column of the answers: as a target (--target answer), or to "
                              "be written word by word (--objective answer.to=answer)")
    if options.paint is not None:
        made["paint"] = _chosen(schema, "paint", options.paint.to, ImageKind, ())
    for name, to in made.items():
        if len(schema.names) < 2:
            raise RecipeError(f"objective {name}: {to!r} is the only modality, and there is nothing to make it from")
    return made


def asked_by(schema: Schema, options: ObjectiveOptions) -> tuple[str, ...]:
    """The modalities that ask, where the recipe has objective answer; else none.

    Raises:
        RecipeError: unknown, neither text nor sound, or not to be guessed.
    """
    if options.answer is None:
        return ()
    for name in options.answer.question:
        if name not in schema.names:
            raise RecipeError(f"objective answer: question: {unknown_name('modality', name, list(schema.names))}")
        if not isinstance(schema.modality(name).kind, TextKind | AudioKind):
            raise RecipeError(f"objective answer: question: {name!r} is {schema.modality(name).kind.name}; a question "
                              f"is text or audio")
    if options.answer.question:
        return options.answer.question
    texts = [one.name for one in schema.modalities
             if isinstance(one.kind, TextKind) and one.name != options.answer.to]
    if "question" in texts:
        return ("question",)
    if len(texts) != 1:
        raise RecipeError(f"objective answer: name the modality that asks, answer.question=…: "
                          f"{'one of ' + ', '.join(texts) if texts else 'there is no text modality'}")
    return (texts[0],)


def suited(schema: Schema, options: ObjectiveOptions, given: Mapping[str, Mapping[str, Any]]) -> Schema:
    """The schema whose kinds suit what is made, before they are measured.

    Pictures may be as large as they are to be painted; and of questions, and of texts that pictures are made from, no
    word is hidden in training, because without it the answer or the picture would be another.

    Args:
        schema: not measured yet.
        options: of the recipe.
        given: modality → settings of its kind that the user has chosen, which stay.
    """
    made = made_modalities(schema, options)
    exact = set(asked_by(schema, options))
    if "paint" in made:
        exact |= {one.name for one in schema.modalities if one.name not in made.values()}
    modalities = []
    for modality in schema.modalities:
        kind, chosen = modality.kind, given.get(modality.name, {})
        if isinstance(kind, TextKind) and modality.name in exact and "augmentation" not in chosen:
            modality = modality.model_copy(update={"kind": kind.model_copy(update={"augmentation": 0.0})})
        elif isinstance(kind, ImageKind) and modality.name == made.get("paint") and options.paint is not None and (
                options.paint.size is not None and "max_side" not in chosen):
            side = max(kind.max_side, options.paint.size)
            modality = modality.model_copy(update={"kind": kind.model_copy(update={"max_side": side})})
        modalities.append(modality)
    return schema.model_copy(update={"modalities": tuple(modalities)})


def read_modalities(schema: Schema, options: ObjectiveOptions, *, others: bool) -> frozenset[str]:
    """The modalities that any objective may read.

    Args:
        schema: of the model.
        options: of the recipe.
        others: whether there are objectives that read everything: targets, alignment, or objects.
    """
    made = set(made_modalities(schema, options).values())
    if others or len(made) != 1:
        return frozenset(schema.names)
    return frozenset(schema.names) - made


def make_generative(
    schema: Schema, options: ObjectiveOptions, width: int, words: Mapping[str, Words],
) -> list[Generative]:
    """The objectives, in the order caption, answer, paint.

    Args:
        schema: with measured kinds.
        options: of the recipe.
        width: of the tokens.
        words: modality → the words it is written in.
    """
    made = made_modalities(schema, options)
    found: list[Generative] = []
    for name, own in (("caption", options.caption), ("answer", options.answer)):
        if name in made and own is not None:
            to = made[name]
            asks = asked_by(schema, options) if name == "answer" else ()
            found.append(Caption(to, schema.names, width, words[to], layers=own.layers, weight=own.weight, name=name,
                                 label_smoothing=own.label_smoothing, asks=asks))
    if options.paint is not None:
        found.append(_paint(schema.modality(made["paint"]), options.paint, width))
    return found


def _chosen(
    schema: Schema, objective: str, given: str | None, kind: type[TextKind] | type[ImageKind], but: tuple[str, ...],
) -> str:
    word = "text" if kind is TextKind else "image"
    fitting = [one.name for one in schema.modalities if isinstance(one.kind, kind) and one.name not in but]
    if given is not None:
        if given not in schema.names:
            raise RecipeError(f"objective {objective}: to: {unknown_name('modality', given, list(schema.names))}")
        if given not in fitting:
            raise RecipeError(f"objective {objective}: to: {given!r} is {schema.modality(given).kind.name}"
                              f"{' and asks' if given in but else ''}; expected {word}")
        return given
    if len(fitting) != 1:
        if not fitting:
            column = _category(schema) if kind is TextKind else "photo"
            raise RecipeError(f"objective {objective}: there is no {word} modality to make; where a column is one, say "
                              f"so: --kind {column}={word}")
        raise RecipeError(f"objective {objective}: name what is made, {objective}.to=…: one of {', '.join(fitting)}")
    return fitting[0]


def _category(schema: Schema) -> str:
    """A column that was taken for categories, and may be short texts."""
    columns = (column for one in schema.modalities if isinstance(one.kind, TableKind) for column in one.kind.columns)
    return next((column.name for column in columns if column.type == "category"), "note")


def _paint(modality: Modality, options: PaintOptions, width: int) -> Paint:
    kind = modality.kind
    assert isinstance(kind, ImageKind) and kind.height is not None and kind.width is not None
    shorter = min(kind.height, kind.width)
    size: int = options.size or max((one for one in SIZES if one <= ENLARGED * shorter), default=SIZES[0])
    if size > ENLARGED * shorter and options.size is not None:
        raise RecipeError(f"objective paint: size {size}, but {modality.name!r} is read at {kind.height} by "
                          f"{kind.width} pixels: --set {modality.name}.height={size} "
                          f"--set {modality.name}.width={size}")
    channels = kind.channels or 3
    if options.method == "gan":
        return PaintGAN(modality.name, width, size=size, channels=channels, weight=options.weight,
                        base=_base(GAN_BASE, options.channels), rate=options.learning_rate)
    return PaintFlow(modality.name, width, size=size, channels=channels, weight=options.weight,
                     base=_base(FLOW_BASE, options.channels), rate=options.learning_rate)


def _base(default: int, factor: float) -> int:
    """Channels in whole groups of eight."""
    return max(8, 8 * round(default * factor / 8))
