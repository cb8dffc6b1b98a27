"""The example of aligned names and pictures runs from files to page, with tiny models in place of the real ones."""

from __future__ import annotations

import importlib
import itertools
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from pretrained_models import save_pretrained

from sensorium.alignment import AlignmentPlan

EXAMPLES = Path(__file__).parents[1] / "examples"
ROWS = 60


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    module = importlib.import_module("align_text_image")
    monkeypatch.setattr(module, "SIDE", 32)
    monkeypatch.setattr(module, "WAYS", {
        "ridge map": module.ridge_map, "CCA": partial(module.cca, width=3),
        "deep CCA": partial(module.deep_cca, width=3, hidden=8, epochs=1),
        "contrast": partial(module.contrast, width=3, plan=AlignmentPlan(epochs=2, batch_size=24))})
    return module


def _write_emoji(folder: Path) -> pl.DataFrame:
    """Squares of one colour a name; one flag in six; three emoji share their base."""
    folder.mkdir()
    random = np.random.default_rng(0)
    words = itertools.islice(itertools.product(["a", "dry", "cough", "no"], repeat=4), ROWS)
    rows = []
    for number, name in enumerate(map(" ".join, words)):
        colour = random.integers(0, 256, 3)
        row = {"label": name, "base": "flag" if number % 6 == 0 else f"base {max(number, 3)}", "tags": "fever, cough",
               "group": f"group {number % 3}"}
        for style in ("google", "twitter"):
            row[style] = f"{style}{number}.png"
            shaded = np.clip(colour + random.integers(-20, 20, (16, 16, 3)), 0, 255)
            Image.fromarray(shaded.astype(np.uint8)).save(folder / row[style])
        rows.append(row)
    table = pl.DataFrame(rows)
    table.write_csv(folder / "emoji.csv")
    return table


def test_from_files_to_a_page(
    example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    table = _write_emoji(tmp_path / "emoji")
    text, image = save_pretrained("bert", tmp_path / "text"), save_pretrained("resnet", tmp_path / "image")
    out = tmp_path / "page.html"
    monkeypatch.setattr("sys.argv", ["align_text_image.py", "--data", str(tmp_path), "--text-model", str(text),
                                     "--image-model", str(image), "--out", str(out)])
    example.main()
    said = capsys.readouterr().out
    assert f"image: {ROWS} of {ROWS} encoded" in said
    assert all(f"\n{way}" in said for way in example.WAYS)
    page = out.read_text(encoding="utf-8")
    held_out = table.filter(example.fold_of(table) == 0)
    assert "http" not in page.replace("http-equiv", "")
    assert all(name in page for name in held_out["label"])
    assert not any(f">{name}<" in page for name in table.filter(example.fold_of(table) != 0)["label"])
    assert {int(row) for row in re.findall(r'class="e p(\d+)', page)} == {
        int(row) for row in re.findall(r"\.p(\d+)\{background", page)}
    example.main()
    assert "encoded" not in capsys.readouterr().out


def test_folds_keep_bases_together_and_flags_out(example: Any, tmp_path: Path) -> None:
    table = _write_emoji(tmp_path / "emoji")
    fold = example.fold_of(table)
    assert (fold[table["base"].to_numpy() == "flag"] == -1).all()
    others = table.with_columns(fold=fold).filter(pl.col("base") != "flag").group_by("base")
    assert (others.agg(pl.col("fold").n_unique())["fold"] == 1).all()
    assert set(fold.tolist()) == {-1, 0, 1, 2, 3, 4}


def test_missing_data_are_named(example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.argv", ["align_text_image.py", "--data", str(tmp_path)])
    with pytest.raises(SystemExit):
        example.main()
    assert "emoji.csv is not here: give --data FOLDER" in capsys.readouterr().err
