"""Two processes with shares of the rows, even none, have together the loss and the gradient of one with all rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.alignment import Temperature, info_nce, siglip

ROWS, FEATURES, WIDTH = 9, 5, 4
SHARES = {"3 and 6": (3, 6), "none and all": (0, 9), "all and none": (9, 0), "nobody has any": (0, 0)}
TILES = (None, 2, 4)


class TwoEncoders(nn.Module):
    """Two projections and a temperature; the loss of its rows."""

    def __init__(self, loss: str, tile: int | None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.first, self.second = (nn.Linear(FEATURES, WIDTH, bias=False, dtype=torch.float64) for _ in range(2))
        for layer in (self.first, self.second):
            nn.init.normal_(layer.weight, generator=generator)
        self.temperature = Temperature(0.2, bias=-2.0 if loss == "siglip" else None).double()
        self.tile = tile

    def forward(self, x: Tensor, y: Tensor, keys: Tensor | None) -> Tensor:
        a, b = F.normalize(self.first(x), dim=1), F.normalize(self.second(y), dim=1)
        settings: dict[str, Any] = {"scale": self.temperature(), "keys": keys, "tile": self.tile, "gather": True}
        bias = self.temperature.bias
        return info_nce(a, b, **settings) if bias is None else siglip(a, b, bias=bias, **settings)


def rows() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, ROWS, FEATURES, generator=generator, dtype=torch.float64)
    return x, y, torch.tensor([[0, -1], [1, 7], [-1, 4], [0, -1], [2, 7], [2, 4], [1, 7], [-1, -1], [3, -1]])


def sides() -> tuple[Tensor, Tensor]:
    """Three rows' embeddings."""
    return torch.eye(3), F.normalize(torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.5], [0.0, -1.0, 1.0]]), dim=1)


def result(module: nn.Module, x: Tensor, y: Tensor, keys: Tensor | None) -> list[Tensor]:
    """The loss and the gradients of all weights."""
    loss = module(x, y, keys)
    loss.backward()
    return [loss.detach(), *(torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters())]


SCRIPT = """
import os, sys, warnings
warnings.simplefilter("error")
sys.path.insert(0, {tests!r})
import torch
from torch import distributed as dist
torch.set_num_threads(1)
from torch.nn.parallel import DistributedDataParallel
from alignment.test_contrastive_processes import SHARES, TILES, TwoEncoders, result, rows, sides
from sensorium.alignment import info_nce
from sensorium.errors import AlignmentError

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + {meeting!r}, rank=rank, world_size=2)
x, y, keys = rows()
found = {{}}
for name, counts in SHARES.items():
    own = slice(sum(counts[:rank]), sum(counts[:rank]) + counts[rank])
    for loss in ("info_nce", "siglip"):
        for tile in TILES:
            for masked in (False, True):
                module = DistributedDataParallel(TwoEncoders(loss, tile))
                found[name, loss, tile, masked] = result(module, x[own], y[own], keys[own] if masked else None)

def said(rows, width=2, value=1.0, keys=None):
    a = torch.full((rows, width), width ** -0.5)
    a[:1] *= value
    try:
        info_nce(a, a, scale=5.0, keys=keys, gather=True)
    except AlignmentError as error:
        return str(error)

found["broken row"] = said(3, value=float("nan") if rank == 1 else 1.0)
found["widths"] = said(3, width=2 + rank)
found["keys"] = said(3, keys=None if rank else torch.ones(3, 2, dtype=torch.int64))
a, b = sides()
own = slice(0, 2) if rank == 0 else slice(2, 3)
learned = a[own].clone().requires_grad_(rank == 0)
loss = info_nce(learned, b[own], scale=5.0, gather=True)
loss.backward()
found["constant here, learned there"] = [loss.detach(), learned.grad]
found["without gradient"] = info_nce(a[own], b[own], scale=5.0, gather=True).requires_grad
here = torch.eye(2)
found["not gathered"] = info_nce(here, here.flip(0), scale=5.0, tile=1).item()
torch.save(found, {out!r} + str(rank))
dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Any]]:
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("processes")
    script = SCRIPT.format(tests=str(Path(__file__).parents[1]), meeting=str(folder / "meeting"),
                           out=str(folder / "found"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen([sys.executable, "-c", script, str(rank)], env=environment, stderr=subprocess.PIPE,
                                  text=True) for rank in range(2)]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    return [torch.load(folder / f"found{rank}") for rank in range(2)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("loss", ["info_nce", "siglip"])
@pytest.mark.parametrize("name", SHARES)
def test_two_processes_equal_one(
    found: list[dict[Any, Any]], name: str, loss: str, tile: int | None, masked: bool,
) -> None:
    """The mean of the processes' losses, and the gradient that DistributedDataParallel gives both of them."""
    x, y, keys = (tensor[: sum(SHARES[name])] for tensor in rows())
    value, *wanted = result(TwoEncoders(loss, None), x, y, keys if masked else None)
    (first, *gradients), (second, *others) = (answers[name, loss, tile, masked] for answers in found)
    torch.testing.assert_close((first + second) / 2, value, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(gradients, wanted, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(others, gradients, rtol=0, atol=0)
    assert any(bool(gradient.any()) for gradient in gradients) == bool(sum(SHARES[name]))


def test_if_one_process_refuses_its_rows_none_waits(found: list[dict[Any, Any]]) -> None:
    assert "process 1 of 2 refused its rows" in found[0]["broken row"]
    assert "1 of 3 rows have numbers that are not finite" in found[1]["broken row"]
    for answers in found:
        assert "different widths in different processes: [2, 3]" in answers["widths"]
        assert "different numbers of keys in different processes: [2, 0]" in answers["keys"]


def test_a_process_with_nothing_to_learn_takes_part(found: list[dict[Any, Any]]) -> None:
    """The gradient of a row is the whole batch's, times the number of processes, which an average divides away."""
    a, b = sides()
    loss = info_nce(a.requires_grad_(), b, scale=5.0)
    loss.backward()
    assert a.grad is not None
    (first, gradient), (second, nothing) = (answers["constant here, learned there"] for answers in found)
    assert (first + second).item() / 2 == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(gradient, 2 * a.grad[:2])
    assert nothing is None
    assert [answers["without gradient"] for answers in found] == [False, False]


def test_without_gather_each_process_is_alone(found: list[dict[Any, Any]]) -> None:
    here = torch.eye(2)
    alone = info_nce(here, here.flip(0), scale=5.0).item()
    assert [answers["not gathered"] for answers in found] == pytest.approx([alone, alone], rel=1e-6)


def test_gather_changes_nothing_in_one_process() -> None:
    x, y, keys = rows()
    a, b = F.normalize(x, dim=1), F.normalize(y, dim=1)
    assert info_nce(a, b, scale=5.0, keys=keys, gather=True) == info_nce(a, b, scale=5.0, keys=keys)
