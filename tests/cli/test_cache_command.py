"""`sensorium cache`: it lists what is there, clears what is named, and remembers the limit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from stored import KEY, OTHER, fill

from sensorium.cli.main import main
from sensorium.data.cache.token_cache import TokenCache

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "tokens"))
    cache = TokenCache(tmp_path / "tokens")
    fill(cache.open(KEY), 0, 10)
    fill(cache.open(OTHER), 0, 3)
    return tmp_path / "tokens"


def _run(monkeypatch: pytest.MonkeyPatch, capsys: Capture, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["sensorium", "cache", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    captured = capsys.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


def test_it_lists(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    status, out, err = _run(monkeypatch, capsys)
    first, head, *lines = out.splitlines()
    assert (status, err, len(lines)) == (0, "", 2)
    assert first.startswith(f"{root}: ") and first.endswith("of at most 20 GB")
    assert head.split() == ["key", "encoder", "cells", "tokens", "size", "last", "used", "preprocessing"]
    [line] = [line for line in lines if "resnet" in line]
    assert line.startswith(KEY.digest[:12]) and line.split()[2] == "10"
    assert line.endswith("at most 5 tokens a cell, kind image, height 112")


def test_json(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    _, out, err = _run(monkeypatch, capsys, "--json")
    found = json.loads(out)
    assert err == "" and found["root"] == str(root) and found["limit_bytes"] == 20_000_000_000
    assert {entry["encoder"]: entry["cells"] for entry in found["entries"]} == {"resnet": 10, "bert": 3}
    assert {entry["key"] for entry in found["entries"]} == {KEY.digest, OTHER.digest}


def test_it_clears_one_or_all(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    status, out, _ = _run(monkeypatch, capsys, "--clear", KEY.digest[:6])
    assert status == 0 and "freed" in out.splitlines()[0] and "resnet" not in out and "bert" in out
    status, out, _ = _run(monkeypatch, capsys, "--clear", "all")
    assert status == 0 and out.splitlines()[1:] == [f"{root}: 0 bytes of at most 20 GB"]
    assert list(root.iterdir()) == []


def test_it_limits(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    status, out, _ = _run(monkeypatch, capsys, "--limit", "0.5")
    assert status == 0 and out.startswith("0 bytes freed") and "of at most 500 MB" in out
    assert "of at most 500 MB" in _run(monkeypatch, capsys)[1]


def test_refusals(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    status, out, err = _run(monkeypatch, capsys, "--clear", "zz")
    assert (status, out) == (2, "") and "no entries of the cache begin with 'zz'" in err
    status, out, err = _run(monkeypatch, capsys, "--limit", "-1")
    assert status == 2 and "--limit" in err


def test_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "none"))
    status, out, _ = _run(monkeypatch, capsys)
    assert status == 0 and out == f"{tmp_path / 'none'}: 0 bytes of at most 20 GB\n"
    assert not (tmp_path / "none").exists()
