"""Checkpoints: all a killed run needs to end with the same weights, in one safetensors file, replaced atomically."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sensorium.errors import ResumeError


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, best: dict[str, Tensor] | None,
    facts: dict[str, Any],
) -> None:
    """Write weights, optimiser moments, the best weights so far and plain facts.

    Args:
        path: the file; it is replaced whole.
        model: its weights are kept.
        optimizer: its per-parameter tensors are kept.
        best: weights at the best validation, or None.
        facts: JSON values (step, history …).
    """
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": torch.as_tensor(value) for name, value in moments.items()}
    tensors |= {f"best/{name}": value for name, value in (best or {}).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, part,
              metadata={"facts": json.dumps(facts)})
    with part.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, Tensor] | None, dict[str, Any]]:
    """Put weights and moments back; returns the best weights and the facts. Raises ResumeError."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 — not a mapping
        model.load_state_dict(_part(tensors, "model/"))
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise ResumeError(f"cannot resume from {str(path)!r}: {str(error).splitlines()[0]}; start again without "
                          f"--resume") from error
    state = optimizer.state_dict()
    state["state"] = {}
    for name, value in _part(tensors, "optimizer/").items():
        number, key = name.split("/")
        state["state"].setdefault(int(number), {})[key] = value
    optimizer.load_state_dict(state)
    best = _part(tensors, "best/")
    return best or None, facts


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
