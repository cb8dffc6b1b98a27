"""A pretrained model's own preprocessing, moved into our kinds: what is decoded is what the model was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sensorium.data.kinds import AudioKind, ImageKind, TextKind, VideoKind
from sensorium.data.kinds.base import first_line
from sensorium.encoders.pretrained.pictures import picture_rule, read_processor
from sensorium.encoders.pretrained.quiet import quiet
from sensorium.encoders.pretrained.source import PretrainedSource, read_config
from sensorium.errors import RecipeError

if TYPE_CHECKING:
    from sensorium.data.kinds import AnyKind

LONGEST_TEXT = 512
FRAMES_PER_SECOND = 100.0
MEASURED_SECONDS = 10.0
Tune = Literal["frozen", "finetune", "lora"]


def adapt_kind(kind: AnyKind, source: PretrainedSource, *, tune: Tune = "frozen") -> AnyKind:
    """The kind with the pretrained model's own preprocessing; called before the kind is measured.

    What the user set is kept where the model can follow: a picture's size (by the model's own rule), a shorter text,
    any augmentation. Cells of a frozen encoder are not augmented unless the user says so.

    Args:
        kind: as the recipe sets it.
        source: the pretrained model.
        tune: what is trained of it.

    Raises:
        RecipeError: the model encodes another kind, lacks a file of its preprocessing, or contradicts a setting.
    """
    if kind.name not in source.kinds:
        raise RecipeError(f"{source.name!r} is a {source.model_type} model for {' and '.join(source.kinds)}: it cannot "
                          f"encode {kind.name}")
    update: dict[str, Any] = {}
    if isinstance(kind, TextKind):
        update = _text_settings(kind, source)
    elif isinstance(kind, AudioKind):
        update = _sound_settings(kind, source)
    elif isinstance(kind, ImageKind | VideoKind):
        update = _picture_settings(kind, source)
    if tune == "frozen" and "augmentation" not in kind.model_fields_set:
        update["augmentation"] = 0.0
    return kind.model_copy(update=update)


def read_extractor(folder: Path, name: str) -> Any:
    """transformers' feature extractor for sound of a folder. Raises RecipeError where there is none."""
    from transformers import AutoFeatureExtractor

    try:
        with quiet():
            make: Any = AutoFeatureExtractor.from_pretrained  # untyped
            return make(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises OSError, ValueError, ImportError …
        raise RecipeError(f"{name!r} does not say how it hears ({first_line(error)}): put its preprocessor_config.json "
                          f"into the folder") from error


def heard_seconds(extractor: Any) -> float | None:
    """The window that a feature extractor pads every sound to; None where it takes any length."""
    settings = extractor.to_dict()
    if "chunk_length" in settings:
        return float(settings["chunk_length"])
    if "num_mel_bins" in settings and "max_length" in settings:
        return float(settings["max_length"]) / FRAMES_PER_SECOND
    return None


def _text_settings(kind: TextKind, source: PretrainedSource) -> dict[str, Any]:
    """The tokenizer with its own cutting, its longest text, and its special tokens."""
    from transformers import AutoTokenizer

    try:
        with quiet():
            own = AutoTokenizer.from_pretrained(source.folder, local_files_only=True, trust_remote_code=False)
            definition = json.loads(own.backend_tokenizer.to_str())
    except Exception as error:  # transformers raises OSError, ValueError, AttributeError, ImportError …
        raise RecipeError(f"{source.name!r} has no tokenizer that can be read ({first_line(error)}): put its "
                          f"tokenizer.json and tokenizer_config.json into the folder") from error
    longest = _longest_text(own.model_max_length, read_config(source.folder))
    if kind.max_tokens is not None and kind.max_tokens > longest:
        raise RecipeError(f"max_tokens {kind.max_tokens} is more than {source.name!r} reads: at most {longest}")
    max_tokens = min(longest, LONGEST_TEXT) if kind.max_tokens is None else kind.max_tokens
    definition["padding"] = None
    definition["truncation"] = {"direction": "Right", "max_length": max_tokens, "strategy": "LongestFirst", "stride": 0}
    blank = next((number for number in (own.pad_token_id, own.unk_token_id, own.eos_token_id) if number is not None), 0)
    hidden = next((number for number in (own.mask_token_id, own.unk_token_id) if number is not None), blank)
    return {"tokenizer": json.dumps(definition, ensure_ascii=False), "max_tokens": max_tokens, "padding": blank,
            "hidden": hidden, "never_hidden": tuple(sorted({int(number) for number in own.all_special_ids}))}


def _longest_text(stated: int | float, config: dict[str, Any]) -> int:
    """The most tokens: what the tokenizer states, at most the positions that the model has.

    Where only the positions are known, two are left free: some families count them from behind the padding token.
    """
    text = config.get("text_config", config)
    positions = text.get("max_position_embeddings", text.get("n_positions"))
    known = stated < 1e9
    if positions is None:
        return int(stated) if known else LONGEST_TEXT
    return min(int(stated), int(positions)) if known else max(1, int(positions) - 2)


def _sound_settings(kind: AudioKind, source: PretrainedSource) -> dict[str, Any]:
    extractor = read_extractor(source.folder, source.name)
    rate = int(extractor.sampling_rate)
    if kind.rate not in (None, rate):
        raise RecipeError(f"rate {kind.rate} contradicts {source.name!r}, which hears {rate} samples per second: leave "
                          f"it out")
    longest = heard_seconds(extractor)
    if longest is not None and kind.max_seconds is not None and kind.max_seconds > longest:
        raise RecipeError(f"max_seconds {kind.max_seconds:g} is more than {source.name!r} hears: at most {longest:g}")
    if longest is not None and kind.max_seconds is None and longest < MEASURED_SECONDS:
        return {"rate": rate, "max_seconds": longest}
    return {"rate": rate}


def _picture_settings(kind: ImageKind | VideoKind, source: PretrainedSource) -> dict[str, Any]:
    """Size, fit and filter of the model's image processor; the user's size by the same rule; a video's frames."""
    config = read_config(source.folder)
    channels = int(config.get("vision_config", config).get("num_channels", 3))
    if kind.channels not in (None, channels):
        raise RecipeError(f"channels {kind.channels} contradicts {source.name!r}, which sees {channels}: leave it out")
    frames = isinstance(kind, VideoKind)
    rule = picture_rule(read_processor(source.folder, source.name), source.name, frames=frames)
    height, width = kind.height or kind.width, kind.width or kind.height
    if height is not None and width is not None:
        rule = rule.resized(height, width)
    settings = {"channels": channels, "height": rule.height, "width": rule.width, "fit": rule.fit,
                "scaled": rule.scaled, "resample": rule.resample}
    if frames and "max_frames" not in kind.model_fields_set:
        settings["max_frames"] = int(config["num_frames"])
    return settings
