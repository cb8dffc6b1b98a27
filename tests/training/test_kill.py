"""kill -9 in the middle of a real training: resumed, it ends with the same weights; no half folder is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from worlds import write_small_world

OPTIONS = ["--target", "kind,size", "--epochs", "12", "--batch-size", "16", "--width", "32", "--allow-leak",
           "--workers", "0"]


def _train(table: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sensorium.cli.main", "train", str(table), "--out", str(out), *OPTIONS, *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
@pytest.mark.parametrize("dies_in", ["choose.safetensors", "refit.safetensors"])
def test_killed_and_resumed(tmp_path: Path, dies_in: str) -> None:
    table = write_small_world(tmp_path / "world", rows=120)
    assert _train(table, tmp_path / "whole").wait() == 0
    process = _train(table, tmp_path / "run")
    checkpoint = tmp_path / "run.training" / dies_in
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run").exists()
    assert _train(table, tmp_path / "run", "--resume").wait() == 0
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "run"))
    assert all(bool((whole[name] == resumed[name]).all()) for name in whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "whole", "world"]
