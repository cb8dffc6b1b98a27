"""Imports point only upward in the list of layers."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "sensorium"
LAYERS = (
    "axes", "errors", "keyed", "recipe", "data", "demo", "encoders", "alignment", "fusion", "generation", "metrics",
    "objectives", "answers", "runtime", "placing", "network", "model", "made", "asked", "card", "folder", "features",
    "training", "aligning", "evaluation", "retrieval", "exporting", "serving", "cli",
)
LAZY = {("model", "folder"), ("model", "made"), ("model", "asked")}  # methods of Model, imported where they are used


def _layer(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "sensorium" and len(parts) > 1 else None


def _imports(file: Path) -> list[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]


def test_every_file_is_in_a_layer() -> None:
    found = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()
             if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert found - {"__init__"} == set(LAYERS)


def test_imports_point_upward() -> None:
    wrong = []
    for file in PACKAGE.rglob("*.py"):
        own = _layer(".".join(["sensorium", *file.relative_to(PACKAGE).with_suffix("").parts]))
        if own == "__init__":
            continue
        for module in _imports(file):
            other = _layer(module)
            if other is None or other == own or (own, other) in LAZY:
                continue
            if LAYERS.index(other) > LAYERS.index(str(own)):
                wrong.append(f"{file.relative_to(PACKAGE)} imports {module}")
    assert not wrong


def test_decoding_needs_no_torch_at_the_top() -> None:
    """The processes that decode cells import kinds; torch would cost each of them 200 MB."""
    for file in (PACKAGE / "data").rglob("*.py"):
        if file.stem == "batch":
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        top = [name for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
               for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])]
        assert not any(name.split(".")[0] == "torch" for name in top), file
