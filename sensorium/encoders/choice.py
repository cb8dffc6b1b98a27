"""Which encoder a modality gets: one of ours by its name, or a pretrained model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sensorium.data.kinds import AnyKind
from sensorium.data.schema import Schema
from sensorium.encoders import ENCODERS
from sensorium.encoders.base import Encoder
from sensorium.encoders.vgg import VGG
from sensorium.errors import RecipeError, unknown_name
from sensorium.recipe import EncoderOptions


def is_pretrained(kind_name: str, options: EncoderOptions | None) -> bool:
    """Whether the options name a pretrained model: a folder, or `owner/name` on a hub.

    Raises:
        RecipeError: the name is neither that nor one of our own encoders of this kind.
    """
    if options is None or options.name in ENCODERS[kind_name]:
        return False
    if "/" not in options.name and not Path(options.name).is_dir():
        unknown = unknown_name(f"{kind_name} encoder", options.name, list(ENCODERS[kind_name]))
        raise RecipeError(f"{unknown} Pretrained: the path of a folder, or owner/name on the Hugging Face hub.")
    return True


def adapted(schema: Schema, encoders: Mapping[str, EncoderOptions]) -> Schema:
    """The schema whose kinds give each pretrained model what it was trained on: its size, rate, tokenizer …

    What the user has set of a kind (a picture's height …) stays.
    """
    modalities = []
    for modality in schema.modalities:
        options = encoders.get(modality.name)
        if is_pretrained(modality.kind.name, options):
            from sensorium.encoders.pretrained import adapt_kind, describe_source

            assert options is not None
            kind = adapt_kind(modality.kind, describe_source(options.name), tune=options.tune)
            modality = modality.model_copy(update={"kind": kind})
        modalities.append(modality)
    return schema.model_copy(update={"modalities": tuple(modalities)})


def make_encoder(
    kind: AnyKind, width: int, options: EncoderOptions | None = None, *, saved: Path | None = None,
) -> Encoder:
    """The encoder for a measured kind.

    Args:
        kind: measured; for a pretrained model, of `adapt_kind`.
        width: of the returned tokens.
        options: None: the first encoder of the kind, from scratch.
        saved: a folder that `PretrainedEncoder.save_config` wrote, whose weights are loaded afterwards.
    """
    choices = ENCODERS[kind.name]
    if options is None:
        return next(iter(choices.values())).build(kind, width)
    if is_pretrained(kind.name, options):
        from sensorium.encoders.pretrained import PretrainedEncoder

        if saved is not None:
            return PretrainedEncoder.from_saved(saved, kind, width, options)
        return PretrainedEncoder.build(kind, width, options)
    if options.tune == "lora" or (options.tune == "finetune" and options.weights is None):
        raise RecipeError(f"{options.name} is trained from scratch: tune={options.tune} is for pretrained models")
    chosen = choices[options.name]
    if options.weights is None:
        return chosen.build(kind, width)
    if chosen is not VGG:
        raise RecipeError(f"weights: {options.name} reads no checkpoint; vgg does")
    return VGG.from_checkpoint(options.weights, kind, width, options, saved=saved)
