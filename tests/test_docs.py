"""What the documentation says runs: the README's Python, its options, its links, and the examples in docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.main import get_command
from worlds import write_small_world

import sensorium
from sensorium.cli.main import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = [module.name for module in pkgutil.walk_packages(sensorium.__path__, "sensorium.")]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"torch": torch, "np": np})
    assert result.failed == 0


def test_the_readme_s_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    table = write_small_world(tmp_path, rows=40, missing=0.1)
    lines = [line.split(",") for line in table.read_text().splitlines()[1:]]
    rows = ["photo,note,label", *(f"{cells[0]},{'dry cough' if cells[6] == 'ant' else 'no cough'} today,{cells[6]}"
                                  for cells in lines)]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    (tmp_path / "test.csv").write_text("\n".join(rows[:20]))
    (tmp_path / "a.png").write_bytes((tmp_path / "0.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "modality photo: image" in said
    assert "label: all modalities together" in said
    assert "Answer(value=" in said
    assert (tmp_path / "runs" / "label" / "model.safetensors").exists()


def test_the_pages_python_that_makes_its_own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = [(page.name, code) for page in sorted((ROOT / "docs").glob("*.md"))
             for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
             if code.startswith("import numpy as np")]
    assert found
    for name, code in found:
        exec(compile(code, name, "exec"), {})


def test_the_readme_s_options_and_commands_exist() -> None:
    command = get_command(app)
    options = {option for verb in command.commands.values() for parameter in verb.params for option in parameter.opts}
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) - {"--index-url"}:
        assert option in options, option
    verbs = set(re.findall(r"^sensorium (\w+)", README, flags=re.MULTILINE))
    assert verbs <= set(command.commands)


def test_every_verb_s_help_shows_an_example() -> None:
    for name, verb in get_command(app).commands.items():
        assert f"sensorium {name}" in (verb.help or ""), name


PAGES = ["README.md", "CHANGELOG.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http"):
            assert ((ROOT / page).parent / link).exists(), link


def test_architecture_names_every_file() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for file in (ROOT / "sensorium").iterdir():
        if file.name not in {"__init__.py", "py.typed", "__pycache__"}:
            assert file.name in text or f"{file.name}/" in text, file.name
