"""Checkpoints: all a killed run needs to end with the same weights, in one safetensors file, replaced atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sensorium.errors import ResumeError


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, best: dict[str, Tensor] | None,
    facts: dict[str, Any], opponents: Mapping[str, torch.optim.Optimizer] | None = None,
) -> None:
    """Write weights, optimiser moments, the best weights so far and plain facts.

    Args:
        path: the file; it is replaced whole.
        model: its weights are kept.
        optimizer: its per-parameter tensors are kept.
        best: weights at the best validation, or None.
        facts: JSON values (step, history …).
        opponents: the optimisers of opponents, by objective.
    """
    tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
    tensors |= _moments("optimizer/", optimizer)
    for name, own in (opponents or {}).items():
        tensors |= _moments(f"opponent/{name}/", own)
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
    opponents: Mapping[str, torch.optim.Optimizer] | None = None,
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
    _restore(optimizer, _part(tensors, "optimizer/"))
    for name, own in (opponents or {}).items():
        _restore(own, _part(tensors, f"opponent/{name}/"))
    best = _part(tensors, "best/")
    return best or None, facts


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _moments(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {f"{prefix}{number}/{name}": torch.as_tensor(value)
            for number, moments in optimizer.state_dict()["state"].items() for name, value in moments.items()}


def _restore(optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    state = optimizer.state_dict()
    state["state"] = {}
    for name, value in moments.items():
        number, key = name.split("/")
        state["state"].setdefault(int(number), {})[key] = value
    optimizer.load_state_dict(state)
