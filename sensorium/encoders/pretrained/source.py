"""Where a pretrained model comes from: a folder, or a name on the Hugging Face hub; safetensors and JSON only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.data.kinds.base import first_line
from sensorium.errors import RecipeError

READ = ("*.safetensors", "*.json", "*.txt")
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


@dataclass(frozen=True)
class PretrainedSource:
    """A pretrained model on disk.

    Args:
        name: as the user gave it.
        folder: config.json, *.safetensors and the files of its tokenizer or processor.
        model_type: the architecture, by transformers' name.
        kinds: the kinds of modality that it encodes: one of text, image, audio, video; two for CLIP's two towers.
    """

    name: str
    folder: Path
    model_type: str
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Matched:
    """Pretrained folders for modalities.

    Args:
        encoders: modality → folder.
        lines: what was chosen and why, a line for every modality and every folder that was passed over.
    """

    encoders: dict[str, str]
    lines: tuple[str, ...]


def describe_source(source: str) -> PretrainedSource:
    """Find a pretrained model and tell what it encodes; a hub name is downloaded where the cache lacks it.

    Args:
        source: a folder, or a name on the hub.

    Raises:
        RecipeError: there is no such folder, the download failed, its weights are pickled, or transformers has no such
            architecture; the text names the remedy.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        if folder.exists():
            raise RecipeError(f"{source!r} is a file: expected the folder that holds config.json and model.safetensors")
        if source.startswith((".", "/", "~")) or not HUB_NAME.fullmatch(source):
            raise RecipeError(f"no folder at {source!r}: expected one that holds config.json and model.safetensors, or "
                              f"a name on the Hugging Face hub such as 'facebook/dinov2-small'")
        folder = _downloaded(source)
    _refuse_pickle(folder, source)
    return PretrainedSource(source, folder, str(read_config(folder).get("model_type", "")), kinds_of(folder))


def kinds_of(folder: str | Path) -> tuple[str, ...]:
    """The kinds of modality that the model in a folder encodes, told by its architecture.

    Raises:
        RecipeError: config.json is missing or broken, or transformers knows no such architecture without running code.
    """
    path = Path(folder)
    config = read_config(path)
    model_type = config.get("model_type")
    from transformers import CONFIG_MAPPING, MODEL_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES

    try:
        model_class: Any = MODEL_MAPPING[CONFIG_MAPPING[str(model_type)]]
    except KeyError as error:
        if "auto_map" in config:
            raise RecipeError(f"{str(folder)!r} brings Python code of its own, and sensorium runs none: choose a model "
                              f"that transformers knows") from error
        raise RecipeError(f"{str(folder)!r}: transformers has no encoder for model_type {model_type!r}") from error
    first = model_class[0] if isinstance(model_class, tuple) else model_class
    if model_type in MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES:
        return ("video",)
    if "text_config" in config and "vision_config" in config:
        return ("image", "text")
    kind = {"pixel_values": "image", "input_values": "audio", "input_features": "audio", "input_ids": "text"}
    if first.main_input_name not in kind:
        raise RecipeError(f"{str(folder)!r}: a {model_type} reads {first.main_input_name}, which is no kind of "
                          f"modality that sensorium has")
    return (kind[first.main_input_name],)


def match_folders(folder: str | Path, schema_kinds: Mapping[str, str]) -> Matched:
    """Choose a pretrained model for every modality that one of a folder's models encodes.

    Where several models encode a modality, the first by the name of its folder is taken: rename one to prefer it.

    Args:
        folder: a pretrained model, or a folder of such folders.
        schema_kinds: modality → its kind.

    Raises:
        RecipeError: there is no pretrained model in it, or none encodes a modality that is there.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise RecipeError(f"no folder at {str(folder)!r}: expected one that holds pretrained models, each in a folder "
                          f"of its own with config.json")
    found = [root] if (root / "config.json").is_file() else sorted(
        path for path in root.iterdir() if (path / "config.json").is_file())
    if not found:
        raise RecipeError(f"{str(folder)!r} holds no pretrained model: no config.json in it or in a folder just below")
    lines: list[str] = []
    usable: list[tuple[Path, tuple[str, ...]]] = []
    for path in found:
        try:
            usable.append((path, describe_source(str(path)).kinds))
        except RecipeError as error:
            lines.append(f"{path.name} is left out: {error}")
    chosen: dict[str, str] = {}
    for modality, kind in schema_kinds.items():
        fitting = [path for path, kinds in usable if kind in kinds]
        if fitting:
            chosen[modality] = str(fitting[0])
            others = ", ".join(path.name for path in fitting[1:])
            lines.append(f"{modality} ({kind}) is encoded by {fitting[0].name}"
                         f"{f' (the first by name; also fitting: {others})' if others else ''}")
    lines += [f"{path.name} ({' and '.join(kinds)}) fits no modality of this table" for path, kinds in usable
              if not set(kinds) & set(schema_kinds.values())]
    if not chosen:
        there = ", ".join(f"{name}: {kind}" for name, kind in schema_kinds.items())
        raise RecipeError(f"no pretrained model in {str(folder)!r} fits a modality of this table ({there}): "
                          f"{'; '.join(lines)}")
    return Matched(chosen, tuple(lines))


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(READ), ignore_patterns=["*/*"]))
    except Exception as error:  # the hub's errors, httpx's, OSError: all mean that the files are not here
        raise RecipeError(
            f"{name!r} is neither a folder here nor could it be downloaded ({type(error).__name__}: "
            f"{first_line(error)}). Where there is a network, run `hf download {name} --local-dir FOLDER`, copy FOLDER "
            f"here, and give it instead of the name: --encoder MODALITY=FOLDER") from error


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises RecipeError where it is missing or broken."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"{str(folder)!r} is not a pretrained model: it lacks config.json") from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"{str(folder / 'config.json')!r} is broken: {first_line(error)}") from error
    if not isinstance(config, dict):
        raise RecipeError(f"{str(folder / 'config.json')!r} is broken: expected an object, found "
                          f"{type(config).__name__}")
    return config


def _refuse_pickle(folder: Path, source: str) -> None:
    """Raise where there are no safetensors: pickled weights can run code."""
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
    if not pickled:
        raise RecipeError(f"{source!r} has no weights: expected model.safetensors beside its config.json")
    raise RecipeError(
        f"{source!r} has its weights only as {pickled[0]}, a format that can run code when it is read: take a revision "
        f"with safetensors, or convert it where you trust it: `from transformers import AutoModel; "
        f"AutoModel.from_pretrained({source!r}).save_pretrained('FOLDER')`")
