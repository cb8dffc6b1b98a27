"""Shape annotations are checked by beartype in the packages that compute; one thread."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from jaxtyping import install_import_hook  # noqa: E402

CHECKED = ("sensorium.encoders", "sensorium.fusion", "sensorium.generation", "sensorium.objectives")
install_import_hook(CHECKED, "beartype.beartype")

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; the test is skipped, saying so, where it is absent."""
    found = Path(os.environ.get("SENSORIUM_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not found.is_dir():
        pytest.skip(f"real data is not at {found} (set SENSORIUM_DATA)")
    return found
