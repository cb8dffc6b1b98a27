"""What an import may cost, and the public names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sensorium


def _loaded(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_sensorium_loads_nothing_heavy() -> None:
    assert not _loaded("import sensorium") & {"torch", "numpy", "polars", "pydantic", "sklearn", "matplotlib"}


def test_public_names_do_not_load_optional_or_slow_packages() -> None:
    loaded = _loaded("import sensorium; sensorium.read, sensorium.fit, sensorium.Model")
    assert "torch" in loaded
    assert not loaded & {"sklearn", "scipy", "matplotlib", "accelerate", "transformers", "jinja2", "pandas", "rich"}


def test_help_and_inspect_help_load_no_torch() -> None:
    assert not _loaded("import sensorium.cli.main") & {"torch", "numpy", "polars", "pydantic"}


def test_every_public_name_is_there() -> None:
    for name in sensorium.__all__:
        assert getattr(sensorium, name) is not None
    assert "fit" in dir(sensorium)


def test_no_module_takes_a_public_name() -> None:
    """`import sensorium.x` would put the module in the place of the function x."""
    modules = {path.stem for path in Path(sensorium.__file__).parent.iterdir()}
    assert not modules & set(sensorium.__all__)
