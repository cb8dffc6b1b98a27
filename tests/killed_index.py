"""Kills a process at every step of a change of an index; what is read then must be the old state or the new one.

    python tests/killed_index.py FOLDER make|replace_some|delete_most [STRIDE]

Prints the number of steps, and after how many the old and the new state was read. Every step and every look is a
process forked from this one, which has no threads.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb  # noqa: F401  imported before forking, as are the others
import faiss  # noqa: F401
import numpy as np
import polars as pl
import pyarrow.parquet  # noqa: F401

from sensorium.errors import DataError
from sensorium.retrieval import building, durable, writing
from sensorium.retrieval.index import Index

VECTORS = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)


def make(folder: Path) -> None:
    """Forty rows."""
    Index.from_vectors(folder, VECTORS[:40], pl.DataFrame({"n": list(range(40))}), ids=[f"a{n}" for n in range(40)],
                       structure="hnsw")


def replace_some(folder: Path) -> None:
    """Twenty rows, ten of which take the place of old ones."""
    with writing.exclusively(folder):
        part = writing.Part([f"a{n}" for n in range(30, 50)], pl.DataFrame({"n": list(range(100, 120))}),
                            {"n": "whole"}, {"": VECTORS[40:]})
        writing.added(folder, writing.read_manifest(folder), [part], writing.Origin(folder, "more"), lambda *_: None)


def delete_most(folder: Path) -> None:
    """So many that the rest is written anew."""
    Index.open(folder).delete([f"a{n}" for n in range(30)])


def content(folder: Path) -> dict[str, tuple[int, bytes]] | None:
    """id → what stands there and its vector; None where there is no index yet."""
    try:
        index = Index.open(folder)
    except DataError:
        return None
    found = {hit.id: (hit.row["n"], np.asarray(index.vector(hit.id)).tobytes())
             for hit in index.search(VECTORS[:1], 1000)[0]}
    assert len(found) == len(index)
    return found


def forked(call: Callable[[], Any], before: Callable[[], None] = lambda: None) -> tuple[bool, Any]:
    """(whether it was killed, what the call returned) of a call in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 1
        try:
            before()
            result = pickle.dumps(call())
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(result)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    ended = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(ended) or os.WEXITSTATUS(ended) == 0
    return os.WIFSIGNALED(ended), pickle.loads(told) if told else None


def fatal(step: int) -> Callable[[], None]:
    """What makes the `step`-th forcing, renaming, opening or removing the last thing that a process does."""
    def prepare() -> None:
        count = [0]

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **named: Any) -> Any:
                count[0] += 1
                if count[0] == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **named)
            return call

        for name in ("fsync", "replace", "mkdir", "rename", "unlink"):
            setattr(os, name, counted(getattr(os, name)))
        for module in (durable, writing, building):
            module.remove = counted(module.remove)  # type: ignore[attr-defined]
    return prepare


def main(base: Path, name: str, stride: int) -> None:
    """Kill at every step, or every few."""
    change = {"make": make, "replace_some": replace_some, "delete_most": delete_most}[name]
    start, whole = base / "start", base / "whole"
    if change is not make:
        forked(lambda: make(start))
    copied(start, whole)
    forked(lambda: change(whole))
    before, after = forked(lambda: content(start))[1], forked(lambda: content(whole))[1]
    assert before != after and after is not None
    seen = {False: 0, True: 0}
    for step in range(1, 300, stride):
        folder = base / f"at{step}"
        copied(start, folder)
        killed, _ = forked(lambda folder=folder: change(folder), fatal(step))
        found = forked(lambda folder=folder: content(folder))[1]
        assert found in (before, after), step
        seen[found == after] += 1
        if found == before:
            forked(lambda folder=folder: change(folder))
        else:
            forked(lambda folder=folder: swept(folder))
        assert forked(lambda folder=folder: content(folder))[1] == after, step
        assert kinds(folder) == kinds(whole), (step, kinds(folder))
        shutil.rmtree(folder)
        if not killed:
            print(step, seen[False], seen[True])
            return
    raise AssertionError("it never ends")


def swept(folder: Path) -> None:
    """What the next writer does first."""
    with writing.exclusively(folder):
        pass


def copied(folder: Path, to: Path) -> None:
    """A copy, where there is something."""
    if folder.exists():
        shutil.copytree(folder, to)


def kinds(folder: Path) -> list[str]:
    """What is in a folder, without the random parts of names."""
    return sorted(path.name.partition("-")[0] for path in folder.iterdir())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)
