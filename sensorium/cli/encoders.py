"""Which modalities take a pretrained encoder: what `--encoders` matches, and what is advised for small tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sensorium.data.read import Data
    from sensorium.recipe import Recipe
    from sensorium.training.console import Console

SMALL_TABLE = 20_000
KNOWN_GAINS = {
    "image": "of 5,984 skin pictures a frozen ResNet-50 got .65 right by balanced accuracy, a network from scratch .50",
}
ADVISED = {"image": "a ResNet, ViT or DINOv2", "text": "a MiniLM or BERT", "audio": "a Wav2Vec2 or Whisper",
           "video": "a VideoMAE"}


def with_matched_encoders(recipe: Recipe, data: Data, folder: Path | None, console: Console) -> Recipe:
    """The recipe with the folder's pretrained models for the modalities that have no encoder yet; or advice.

    Args:
        recipe: as the options set it.
        data: whose schema is looked at.
        folder: of `--encoders`; None: only the advice, for small tables.
        console: where to speak.
    """
    free = {m.name: m.kind.name for m in data.schema.modalities if m.name not in recipe.model.encoders}
    if folder is None:
        for line in _advice(free, len(data)):
            console.say(line)
        return recipe
    from sensorium.encoders.pretrained import match_folders

    matched = match_folders(folder, free)
    for line in matched.lines:
        console.say(line)
    chosen = {name: one.model_dump() for name, one in recipe.model.encoders.items()}
    return recipe.changed("model", encoders={**chosen, **{name: {"name": path}
                                                          for name, path in matched.encoders.items()}})


def _advice(free: dict[str, str], num_rows: int) -> list[str]:
    """A line for each modality that a pretrained encoder would probably serve better."""
    if num_rows >= SMALL_TABLE:
        return []
    return [f"{name}: {num_rows:,} rows are few for an encoder from scratch; a pretrained one ({ADVISED[kind]}: "
            f"--encoder {name}=FOLDER) usually gains{f' ({KNOWN_GAINS[kind]})' if kind in KNOWN_GAINS else ''}"
            for name, kind in free.items() if kind in ADVISED]
