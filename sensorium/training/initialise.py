"""Beginning with the weights of another run: what the two models have in common, by the names of modalities, columns,
targets and classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sensorium.data.kinds import AnyKind, AudioKind, PointsKind, SeriesKind, TableColumn, TableKind, TextKind
from sensorium.data.notation import category_key
from sensorium.data.schema import Schema, Target
from sensorium.encoders.table import TableEncoder
from sensorium.fusion.concat import ConcatFusion
from sensorium.fusion.low_rank import LowRankFusion
from sensorium.model import Model
from sensorium.objectives import Contrast
from sensorium.recipe import Recipe

State = Mapping[str, Tensor]
LISTS = ("values", "streams", "readers", "maps", "reduce", "norms", "attend", "attended", "mlps", "means",
         "precisions")
"""Lists in fusions that hold a module for each modality, in the schema's order."""
AXES = {"modality": (0,), "gates": (0, 1), "factors": (0,), "bias.weight": (1,)}
"""Tensors in fusions with an entry for each modality along these axes."""
MOST_CATEGORIES = 1000


@dataclass(frozen=True)
class Taken:
    """What a model takes over from another.

    Args:
        values: names of the model's weights → what they become.
        lines: what was taken and what was not, in words.
        parts: the modalities whose encoders, and "fusion" where the fusion, took something.
    """

    values: dict[str, Tensor]
    lines: tuple[str, ...]
    parts: frozenset[str]


def taken(origin: Model, model: Model) -> Taken:
    """What a model can take over from another: encoders by modality, the fusion where both have the same, heads by
    target and class, the heads of alignment, what paints and writes. Everything has the model's shape.

    Args:
        origin: the other, trained model.
        model: freshly made; its kinds have the other's settings where they agree (`with_settings`).
    """
    values: dict[str, Tensor] = {}
    said: list[str] = []
    parts: set[str] = set()
    encoders = []
    for place, name in enumerate(model.schema.names):
        if name not in origin.schema.names:
            continue
        found = _encoder(origin, model, name)
        if found:
            values |= {f"encoders.{place}.{key}": value for key, value in found.items()}
            parts.add(name)
            encoders.append(_share(name, found, model.encoders[place]))
    said += [f"the encoder{'s' if len(encoders) > 1 else ''} of {', '.join(encoders)}"] if encoders else []
    if type(origin.fusion) is type(model.fusion):
        found = fusion_values(origin, model)
        values |= {f"fusion.{key}": value for key, value in found.items()}
        if found:
            parts.add("fusion")
            said.append(_share(f"fusion {model.recipe.model.fusion}", found, model.fusion))
    heads = []
    for place, target in enumerate(model.schema.targets):
        found, shared = _head(origin, model, target)
        values |= {f"predictors.{place}.{key}": value for key, value in found.items()}
        heads += [f"{target.name} ({shared} of {len(target.classes)} classes)" if target.classes else target.name
                  ] if found else []
    said += [f"the head{'s' if len(heads) > 1 else ''} of {', '.join(heads)}"] if heads else []
    for place, own in enumerate(model.aligning()):
        theirs = next((one for one in origin.aligning() if one.name == own.name), None)
        fits = theirs is not None and (isinstance(own, Contrast) or model.schema.names == origin.schema.names)
        found = _fitting(theirs.state_dict(), own.state_dict()) if theirs is not None and fits else {}
        values |= {f"aligners.{place}.{key}": value for key, value in found.items()}
        said += [f"objective {own.name}"] if found else []
    for place, maker in enumerate(model.generative()):
        before = next((one for one in origin.generative()
                       if (one.name, one.to_name, type(one)) == (maker.name, maker.to_name, type(maker))), None)
        found = {} if before is None else _fitting(before.state_dict(), maker.state_dict())
        if model.schema.names != origin.schema.names:
            found.pop("memory.marks", None)
        values |= {f"makers.{place}.{key}": value for key, value in found.items()}
        said += [_share(f"objective {maker.name}", found, maker)] if found else []
    own_names = [name for name in model.schema.names if name not in parts]
    lines = [f"taken over: {'; '.join(said) or 'nothing'}"]
    if own_names or "fusion" not in parts:
        fresh = [f"the encoder of {name}" for name in own_names] + ([] if "fusion" in parts else ["the fusion"])
        lines.append(f"begun afresh: {', '.join(fresh)}")
    return Taken(values, tuple(lines), frozenset(parts))


def take(model: Model, found: Taken) -> None:
    """Put the weights in, in place."""
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, value in found.values.items():
            own[name].copy_(value)


def with_settings(schema: Schema, recipe: Recipe, origin: Model) -> Schema:
    """The schema in which kinds that both have are set as the other model measured them, so that its weights fit.

    Args:
        schema: measured.
        recipe: what the user set of a kind stays, and a modality with another encoder is left alone.
        origin: the other model.
    """
    modalities = []
    for modality in schema.modalities:
        other = next((one for one in origin.schema.modalities if one.name == modality.name), None)
        if (other is not None and agree(modality.kind, other.kind)
                and same_encoder(recipe, origin.recipe, modality.name)):
            kind: AnyKind = other.kind
            if isinstance(modality.kind, TableKind) and isinstance(kind, TableKind):
                kind = _columns_of(modality.kind, kind)
            kept = list(recipe.data.settings.get(modality.name, {}))
            kept += ["keep_time"] if isinstance(kind, AudioKind) else []  # this schema's own clock
            own = {name: getattr(modality.kind, name) for name in kept}
            modality = modality.model_copy(update={"kind": kind.model_copy(update=own)})
        modalities.append(modality)
    return schema.model_copy(update={"modalities": tuple(modalities)})


def same_encoder(recipe: Recipe, other: Recipe, name: str) -> bool:
    """Whether both recipes give a modality the same encoder, however it is tuned."""
    own, theirs = recipe.model.encoders.get(name), other.model.encoders.get(name)
    return (None if own is None else own.name) == (None if theirs is None else theirs.name)


def agree(kind: AnyKind, other: AnyKind) -> bool:
    """Whether cells of one kind mean to an encoder what those of the other do: the same sort, and channels and features
    of the same names. Columns of tables are told apart by their names, so that tables always agree."""
    if isinstance(kind, SeriesKind) and isinstance(other, SeriesKind):
        return kind.channels == other.channels
    if isinstance(kind, PointsKind) and isinstance(other, PointsKind):
        return (kind.dimensions, kind.features) == (other.dimensions, other.features)
    return type(kind) is type(other)


def _columns_of(kind: TableKind, other: TableKind) -> TableKind:
    """The columns that both have with the other's scales; categories that only this table has come last."""
    known = {(column.name, column.type): column for column in other.columns}
    columns = []
    for column in kind.columns:
        theirs = known.get((column.name, column.type))
        if theirs is not None and column.type == "category":
            seen = {category_key(one) for one in theirs.categories}
            more = [one for one in column.categories if category_key(one) not in seen]
            theirs = theirs.model_copy(update={"categories": (*theirs.categories, *more)[:MOST_CATEGORIES]})
        columns.append(column if theirs is None else theirs.model_copy(update={"notation": column.notation}))
    return kind.model_copy(update={"columns": tuple(columns)})


def _share(what: str, found: State, module: nn.Module) -> str:
    """What was taken, and how many of its weights, where not all."""
    names = [name for name, _ in module.named_parameters()]
    number = sum(name in found for name in names)
    return what if number == len(names) else f"{what} ({number} of {len(names)} weights)"


def _fitting(theirs: State, own: State) -> dict[str, Tensor]:
    """By name and shape."""
    return {name: value for name, value in theirs.items() if name in own and own[name].shape == value.shape}


def _encoder(origin: Model, model: Model, name: str) -> dict[str, Tensor]:
    """An encoder's weights, by name and shape; those of a table also by column and category."""
    theirs = origin.encoders[origin.schema.names.index(name)]
    own = model.encoders[model.schema.names.index(name)]
    kind, other = model.schema.modality(name).kind, origin.schema.modality(name).kind
    if type(own) is not type(theirs) or not agree(kind, other) or not same_encoder(model.recipe, origin.recipe, name):
        return {}
    found = _fitting(theirs.state_dict(), own.state_dict())
    if isinstance(own, TableEncoder) and isinstance(kind, TableKind) and isinstance(other, TableKind):
        if kind.columns != other.columns:
            found |= _table(theirs.state_dict(), own.state_dict(), kind.columns, other.columns)
    elif isinstance(kind, TextKind) and isinstance(other, TextKind) and kind.tokenizer != other.tokenizer:
        found = {key: value for key, value in found.items() if "embedding" not in key}
    return found


def _table(
    theirs: State, own: State, columns: tuple[TableColumn, ...], others: tuple[TableColumn, ...],
) -> dict[str, Tensor]:
    """Weights of columns and categories where the columns are not the same ones."""
    found = {key: own[key].clone() for key in ("column", "number_weight", "date_weight", "embedding.weight")
             if key in own}
    for place, column in enumerate(columns):
        there = next((i for i, o in enumerate(others) if (o.name, o.type) == (column.name, column.type)), None)
        if there is None:
            continue
        found["column"][place] = theirs["column"][there]
        if column.type != "category":
            mine, its = _rank(columns, place, ("number", "date")), _rank(others, there, ("number", "date"))
            bins = min(found["number_weight"].shape[1], theirs["number_weight"].shape[1])
            found["number_weight"][mine, :bins] = theirs["number_weight"][its, :bins]
        if column.type == "date":
            mine, its = _rank(columns, place, ("date",)), _rank(others, there, ("date",))
            found["date_weight"][mine] = theirs["date_weight"][its]
        if column.type == "category":
            mine, its = _offset(columns, place), _offset(others, there)
            codes = {category_key(label): code for code, label in enumerate(others[there].categories)}
            for code, label in enumerate(column.categories):
                there_code = codes.get(category_key(label))
                if there_code is not None:
                    found["embedding.weight"][mine + code] = theirs["embedding.weight"][its + there_code]
    return found


def _rank(columns: tuple[TableColumn, ...], place: int, types: tuple[str, ...]) -> int:
    return sum(column.type in types for column in columns[:place])


def _offset(columns: tuple[TableColumn, ...], place: int) -> int:
    return sum(max(1, len(column.categories)) for column in columns[:place] if column.type == "category")


def fusion_values(origin: Model, model: Model) -> dict[str, Tensor]:
    """A fusion's weights of the modalities that both have, and those that belong to none; `volume` stays at 1."""
    theirs, own = origin.fusion.state_dict(), model.fusion.state_dict()
    names, others = model.schema.names, origin.schema.names
    both = [(place, others.index(name)) for place, name in enumerate(names) if name in others]
    if not both:
        return {}
    mine, its = (torch.tensor(places) for places in zip(*both, strict=True))
    found: dict[str, Tensor] = {}
    for key, value in own.items():
        if key == "volume":
            continue
        listed = re.match(rf"(?P<list>(?:.*\.)?(?:{'|'.join(LISTS)}))\.(?P<place>\d+)\.(?P<rest>.+)", key)
        if listed is not None:
            there = dict(both).get(int(listed["place"]))
            source = None if there is None else theirs.get(f"{listed['list']}.{there}.{listed['rest']}")
            if source is not None and source.shape == value.shape:
                found[key] = source
        elif key in AXES and key in theirs and (key != "bias.weight" or isinstance(model.fusion, ConcatFusion)):
            found[key] = _placed(value, theirs[key], mine, its, AXES[key])
        elif key == "core":
            if names == others:
                found[key] = theirs[key]
        elif key in theirs and theirs[key].shape == value.shape:
            found[key] = theirs[key]
    if isinstance(model.fusion, ConcatFusion):  # z has M / |S| before the sum
        found |= {key: value * (len(others) / len(names)) for key, value in found.items() if key.startswith("maps.")}
    if isinstance(model.fusion, LowRankFusion) and "factors" in found:
        found["factors"] = _neutral(found["factors"], theirs["factors"], mine, its)
    return found


def _placed(own: Tensor, theirs: Tensor, mine: Tensor, its: Tensor, axes: tuple[int, ...]) -> Tensor:
    """`own` with the other's entries at the places of the modalities that both have; as it is where shapes disagree."""
    if any(a != b for axis, (a, b) in enumerate(zip(own.shape, theirs.shape, strict=True)) if axis not in axes):
        return own.clone()
    values, some = own.clone(), theirs
    for axis in axes:
        some = some.index_select(axis, its)
    if axes == (0, 1):
        values[mine[:, None], mine[None, :]] = some
        return values
    return values.index_copy(axes[0], mine, some)


def _neutral(factors: Tensor, theirs: Tensor, mine: Tensor, its: Tensor) -> Tensor:
    """Factors of low-rank fusion that say of the shared modalities what the other's say: the constants of those left
    out are multiplied in, as if they were absent, and those that are new have the constant 1."""
    values = factors.clone()
    gone = [place for place in range(len(theirs)) if place not in its.tolist()]
    fresh = [place for place in range(len(values)) if place not in mine.tolist()]
    values[fresh, ..., 0] = 1.0
    for place in gone:
        values[mine[0]] = values[mine[0]] * theirs[place, ..., :1]
    return values


def _head(origin: Model, model: Model, target: Target) -> tuple[dict[str, Tensor], int]:
    """A head that answers as the other's does: classes by name, numbers in original units; and how many classes."""
    names = [one.name for one in origin.schema.targets]
    if target.name not in names or origin.schema.targets[names.index(target.name)].task != target.task:
        return {}, 0
    place = names.index(target.name)
    other = origin.schema.targets[place]
    theirs = origin.predictors[place].state_dict()
    own = {key: value.clone() for key, value in
           model.predictors[[one.name for one in model.schema.targets].index(target.name)].state_dict().items()}
    weight, bias = theirs["head.weight"], theirs["head.bias"]
    if target.task == "regress":
        ratio = other.std / target.std
        return {"head.weight": weight * ratio, "head.bias": bias * ratio + (other.mean - target.mean) / target.std}, 1
    codes = {category_key(label): code for code, label in enumerate(other.classes)}
    both = [(code, codes[category_key(label)]) for code, label in enumerate(target.classes)
            if category_key(label) in codes]
    for code, there in both:
        own["head.weight"][code], own["head.bias"][code] = weight[there], bias[there]
    return (own, len(both)) if both else ({}, 0)
