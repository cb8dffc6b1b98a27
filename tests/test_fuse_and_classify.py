"""The example of fusing and classifying runs on a small table, with a small model."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from worlds import write_small_world

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    module = importlib.import_module("fuse_and_classify")
    recipe = module.RECIPE.changed("model", width=16).changed("training", refit="never", workers=0, batch_size=16)
    monkeypatch.setattr(module, "RECIPE", recipe)
    return module


def test_it_trains_evaluates_and_explains(
    example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    for name, seed in (("train", 0), ("test", 1)):
        written = pl.read_csv(write_small_world(tmp_path / name, seed=seed, missing=0.0))
        files = [pl.concat_str(pl.lit(f"{name}/"), pl.col(column)).alias(column) for column in ("image", "sound")]
        written.select(*files, "kind").write_csv(tmp_path / f"{name}.csv")
    monkeypatch.setattr("sys.argv", ["fuse_and_classify.py", str(tmp_path), "--target", "kind", "--minutes", "0.02"])
    example.main()
    said = capsys.readouterr().out
    assert "kind: accuracy from every subset, on 48 new rows" in said
    assert all(re.search(rf"\n  {name} +[01]\.\d\d\d \([01]\.\d+ to [01]\.\d+\)", said)
               for name in ("image", "sound", r"image \+ sound"))
    assert re.search(r"\n  image contributes [+-]\d\.\d\d \([+-]", said)
    assert re.search(r"first row of test.csv is '(ant|bee|cat)'; answered: '(ant|bee|cat)', of which image [+-]", said)
    assert example.RECIPE.model.fusion == "attention" and example.RECIPE.training.ogm_ge > 0


def test_missing_tables_are_named(example: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.argv", ["fuse_and_classify.py", str(tmp_path)])
    with pytest.raises(SystemExit):
        example.main()
    assert "train.csv is not here: give a folder" in capsys.readouterr().err
