"""kill -9 at every step of making and changing an index: what is read then is the old state or the new one, whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from worlds import write_pairs

import sensorium as sm
from sensorium.recipe import Recipe
from sensorium.retrieval.index import Index


def killed(folder: Path, change: str, stride: int) -> tuple[int, int, int]:
    """Steps, and after how many the old and the new state was read; by a process without threads, which can fork."""
    script = Path(__file__).parents[1] / "killed_index.py"
    done = subprocess.run([sys.executable, str(script), str(folder), change, str(stride)], capture_output=True,
                          text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    steps, old, new = map(int, done.stdout.split())
    return steps, old, new


def test_killed_at_some_steps(tmp_path: Path) -> None:
    steps, old, new = killed(tmp_path, "replace_some", 5)
    assert steps > 10 and old > 1 and new >= 1


@pytest.mark.slow
@pytest.mark.parametrize("change", ["make", "replace_some", "delete_most"])
def test_killed_at_every_step(tmp_path: Path, change: str) -> None:
    steps, old, new = killed(tmp_path, change, 1)
    assert steps > 10 and old > 8 and new > 1


@pytest.mark.slow
def test_the_command_is_killed_again_and_again(tmp_path: Path) -> None:
    table = write_pairs(tmp_path / "world", rows=4000)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([f"id,{lines[0]}", *(f"r{row},{line}" for row, line in enumerate(lines[1:]))]))
    recipe = Recipe.checked({"model": {"width": 32}, "objectives": {"contrast": {}}, "data": {
        "inputs": ["picture", "words"]}, "training": {"epochs": 1, "workers": 0, "refit": "never"}})
    sm.fit(sm.read(table), recipe, progress=False).save(tmp_path / "run")
    command = [sys.executable, "-m", "sensorium.cli.main", "index", str(tmp_path / "run"), str(table), "--out",
               str(tmp_path / "idx")]
    draw = random.Random(0)
    kills, sizes = 0, set()
    for attempt in range(40):
        there = (tmp_path / "idx" / "manifest.json").exists()
        process = subprocess.Popen([*command, *(["--add"] if there else ["--structure", "hnsw"])],
                                   stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   env={**os.environ, "OMP_NUM_THREADS": "1"})
        if attempt % 8 == 7:
            assert process.wait(timeout=240) == 0
        else:
            time.sleep(1.0 + 3.0 * draw.random())
            kills += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
        if (tmp_path / "idx" / "manifest.json").exists():
            index = Index.open(tmp_path / "idx")
            sizes.add(len(index))
            assert index.search(np.ones(index.width), 3)[0]
    assert kills > 15 and sizes == {4000}
