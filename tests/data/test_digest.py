"""Digests: equal for equal content and for nothing else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.cache.digest import CacheKey, content_digest, weights_digest


@dataclass(frozen=True)
class _Pair:
    first: np.ndarray
    second: np.ndarray


def test_a_file_its_copy_and_its_bytes_are_the_same_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").write_bytes(b"content")
    digests = {content_digest(tmp_path / "a"), content_digest(tmp_path / "b"), content_digest(b"content")}
    assert len(digests) == 1
    assert len(digests.pop()) == 32


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    before, state = content_digest(path), path.stat()
    path.write_bytes(b"new")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert content_digest(path) == before  # size and time say that it is the same
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert content_digest(path) == content_digest(b"new")


def test_different_content_has_different_digests() -> None:
    array = np.arange(6, dtype=np.float32)
    picture = Image.fromarray(np.zeros((4, 6), dtype=np.uint8))
    cells = [b"6", "6", "", 6, 6.5, None, True, array, array.astype(np.float64), array.reshape(2, 3),
             array.reshape(3, 2), array + 1, array.view(np.int32), (array,), (array, array), ("a", "bc"), ("ab", "c"),
             ("abc",), ("a", ("bc",)), _Pair(array, array + 1), _Pair(array + 1, array), picture,
             picture.resize((4, 6)), picture.convert("RGB")]
    assert len({content_digest(cell) for cell in cells}) == len(cells)


def test_equal_content_has_equal_digests_however_it_lies_in_memory() -> None:
    array = np.arange(12).reshape(3, 4)
    assert content_digest(array) == content_digest(np.asfortranarray(array))
    assert content_digest(array[:, ::2]) == content_digest(array[:, ::2].copy())
    assert content_digest([1, "a"]) == content_digest((1, "a"))


def test_what_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(TypeError, match="a object has no digest: expected a Path, bytes"):
        content_digest(object())
    with pytest.raises(TypeError, match="array of Python objects"):
        content_digest(np.array([None]))
    with pytest.raises(FileNotFoundError):
        content_digest(Path("no such file"))


def test_weights() -> None:
    state = torch.nn.Linear(3, 2).state_dict() | {"steps": torch.tensor(7), "half": torch.ones(3, dtype=torch.bfloat16)}
    same = {name: state[name].clone() for name in reversed(list(state))}
    assert weights_digest(state) == weights_digest(same)
    changed = {"weight": state["weight"] + 1e-6, "bias": state["bias"].double(), "steps": torch.tensor(8),
               "half": torch.ones(3, dtype=torch.float16)}
    digests = {weights_digest(state | {name: tensor}) for name, tensor in changed.items()}
    digests |= {weights_digest({**state, "more": torch.zeros(1)}), weights_digest(state),
                weights_digest(state | {"weight": state["weight"].reshape(2, 3).T.contiguous().reshape(2, 3)})}
    assert len(digests) == 7


def test_a_key_depends_on_everything_but_the_encoder_s_name() -> None:
    key = CacheKey("resnet", "00", {"height": 112, "mean": [0.5]}, 16)
    assert CacheKey("other", "00", {"mean": [0.5], "height": 112}, 16).digest == key.digest
    others = [CacheKey("resnet", "01", key.preprocessing, 16), CacheKey("resnet", "00", {"height": 112}, 16),
              CacheKey("resnet", "00", key.preprocessing, 8), CacheKey("resnet", "00", key.preprocessing)]
    assert len({key.digest, *(other.digest for other in others)}) == 5
    with pytest.raises(ValueError, match="not JSON compliant"):
        _ = CacheKey("resnet", "00", {"mean": float("nan")}).digest
