"""InfoNCE and SigLIP: a loop, the published formulas, tiles against the whole matrix, masks, extremes, bad input."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.alignment import Temperature, info_nce, siglip
from sensorium.errors import AlignmentError

Loss = Callable[..., Tensor]
TILES = (1, 2, 3, 5, 7, 16, 36, 37, 38, 1000)
WIDTH = 8


def embeddings(rows: int, dtype: torch.dtype = torch.float64, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Unit-length pairs that resemble each other more than others do."""
    generator = torch.Generator().manual_seed(seed)
    a, noise = torch.randn(2, rows, WIDTH, generator=generator, dtype=torch.float64)
    a, b = F.normalize(a, dim=1), F.normalize(a + noise, dim=1)
    return a.to(dtype).requires_grad_(), b.to(dtype).requires_grad_()


def some_keys(rows: int, *, columns: int = 2, seed: int = 0) -> Tensor:
    return torch.randint(-2, rows // 3 + 1, (rows, columns), generator=torch.Generator().manual_seed(seed))


def numbers(dtype: torch.dtype, *, scale: float = 14.3, bias: float = -6.0) -> tuple[Tensor, Tensor]:
    return (torch.tensor(scale, dtype=dtype, requires_grad=True), torch.tensor(bias, dtype=dtype, requires_grad=True))


def with_gradients(
    name: str, a: Tensor, b: Tensor, scale: Tensor, bias: Tensor, *, keys: Tensor | None = None,
    tile: int | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    inputs = (a, b, scale) if name == "info_nce" else (a, b, scale, bias)
    if name == "info_nce":
        loss = info_nce(a, b, scale=scale, keys=keys, tile=tile)
    else:
        loss = siglip(a, b, scale=scale, bias=bias, keys=keys, tile=tile)
    return loss, torch.autograd.grad(loss, inputs)


def negative(keys: Tensor | None, i: int, j: int) -> bool:
    return keys is None or not any(int(x) == int(y) >= 0 for x, y in zip(keys[i], keys[j], strict=True))


def loop_info_nce(a: Tensor, b: Tensor, scale: float, keys: Tensor | None) -> float:
    logits, rows, total = (scale * a @ b.T).tolist(), len(a), 0.0
    for i in range(rows):
        counted = [j for j in range(rows) if j == i or negative(keys, i, j)]
        total += math.log(sum(math.exp(logits[i][j] - logits[i][i]) for j in counted))
        total += math.log(sum(math.exp(logits[j][i] - logits[i][i]) for j in counted))
    return total / (2 * rows)


def loop_siglip(a: Tensor, b: Tensor, scale: float, bias: float, keys: Tensor | None) -> float:
    logits, rows, total = (scale * a @ b.T + bias).tolist(), len(a), 0.0
    for i in range(rows):
        for j in range(rows):
            if i == j or negative(keys, i, j):
                total += math.log1p(math.exp(-logits[i][j] if i == j else logits[i][j]))
    return total / rows


@pytest.mark.parametrize("tile", [None, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_against_a_loop(tile: int | None, masked: bool) -> None:
    a, b = embeddings(13)
    keys = some_keys(13) if masked else None
    found = info_nce(a, b, scale=9.0, keys=keys, tile=tile)
    assert found.item() == pytest.approx(loop_info_nce(a.detach(), b.detach(), 9.0, keys), rel=1e-12)
    found = siglip(a, b, scale=9.0, bias=-4.0, keys=keys, tile=tile)
    assert found.item() == pytest.approx(loop_siglip(a.detach(), b.detach(), 9.0, -4.0, keys), rel=1e-12)


@pytest.mark.parametrize("tile", [None, *TILES])
def test_published_formulas(tile: int | None) -> None:
    """open_clip's ClipLoss, and SigLIP's algorithm 1, with their gradients."""
    a, b = embeddings(37)
    scale, bias = numbers(torch.float64)
    logits, truth = scale * a @ b.T, torch.arange(37)
    clip = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
    signs = 2 * torch.eye(37, dtype=torch.float64) - 1
    sigmoid = -F.logsigmoid(signs * (logits + bias)).sum() / 37
    for name, published in (("info_nce", clip), ("siglip", sigmoid)):
        inputs = (a, b, scale) if name == "info_nce" else (a, b, scale, bias)
        wanted = torch.autograd.grad(published, inputs, retain_graph=True)
        loss, gradients = with_gradients(name, a, b, scale, bias, tile=tile)
        torch.testing.assert_close(loss, published, rtol=1e-12, atol=0)
        torch.testing.assert_close(gradients, wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["info_nce", "siglip"])
def test_tiles_equal_the_whole_matrix_in_float32(name: str, masked: bool) -> None:
    """1e-6 in value, 1e-5 of the gradient's size, for any tile, ragged ones and larger ones too."""
    scale, bias = numbers(torch.float32)
    for rows, tile in ((31, 1), (31, 2), (301, 37), (301, 100), (301, 128), (301, 300), (301, 301), (301, 512)):
        a, b = embeddings(rows, torch.float32)
        keys = some_keys(rows) if masked else None
        whole, wanted = with_gradients(name, a, b, scale, bias, keys=keys)
        loss, gradients = with_gradients(name, a, b, scale, bias, keys=keys, tile=tile)
        assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
        for found, expected in zip(gradients, wanted, strict=True):
            assert float((found - expected).norm() / expected.norm()) < 1e-5


@pytest.mark.parametrize("tile", [None, 3])
@pytest.mark.parametrize("name", ["info_nce", "siglip"])
def test_gradients_by_differences(name: str, tile: int | None) -> None:
    """All four at once; embeddings stay of unit length because they are normalised within."""
    a, b = embeddings(7)
    scale, bias, keys = *numbers(torch.float64, scale=5.0, bias=-1.0), some_keys(7)

    def loss(a: Tensor, b: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
        if name == "info_nce":
            return info_nce(a, b, scale=scale, keys=keys, tile=tile) + 0.0 * bias
        return siglip(a, b, scale=scale, bias=bias, keys=keys, tile=tile)

    assert torch.autograd.gradcheck(loss, (a, b, scale, bias))


@pytest.mark.parametrize("tile", [None, 4])
def test_frozen_sides_get_no_gradient(tile: int | None) -> None:
    a, b = embeddings(9)
    scale, _ = numbers(torch.float64)
    _, (by_a, by_b, by_scale) = with_gradients("info_nce", a, b, scale, scale, tile=tile)
    for inputs, wanted in (((a, b.detach(), scale.detach()), by_a), ((a.detach(), b, scale.detach()), by_b),
                           ((a.detach(), b.detach(), scale), by_scale)):
        loss = info_nce(inputs[0], inputs[1], scale=inputs[2], tile=tile)
        [found] = torch.autograd.grad(3.0 * loss, [tensor for tensor in inputs if tensor.requires_grad])
        torch.testing.assert_close(found, 3.0 * wanted, rtol=1e-12, atol=1e-15)
    assert not info_nce(a.detach(), b.detach(), scale=2.0, tile=tile).requires_grad


@pytest.mark.parametrize("tile", [None, 1, 2, 5])
def test_rows_without_negatives_lose_nothing(tile: int | None) -> None:
    a, b = embeddings(5, torch.float32)
    loss, gradients = with_gradients("info_nce", a, b, *numbers(torch.float32),
                                     keys=torch.zeros(5, 1, dtype=torch.int64), tile=tile)
    assert loss.item() == 0.0
    assert all(bool((gradient.abs() < 1e-7).all()) for gradient in gradients)
    one_left_out = torch.tensor([[-1], [3], [-1], [3], [-1]])
    loss, gradients = with_gradients("info_nce", a, b, *numbers(torch.float32), keys=one_left_out, tile=tile)
    assert loss.item() == pytest.approx(loop_info_nce(a.detach(), b.detach(), 14.3, one_left_out), rel=1e-5)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("tile", [None, 2])
def test_keys_hide_pairs_from_the_gradient(tile: int | None) -> None:
    """Two similar rows do not push each other away where they share a key, and do where they don't."""
    a = torch.eye(4)[[0, 0, 1, 2]].requires_grad_()
    b = F.normalize(torch.tensor([[1.0, 0, 0, 0.1], [1.0, 0, 0, -0.1], [0, 1.0, 0, 0], [0, 0, 1.0, 0]]), dim=1)
    for key, pushed in ((5, False), (-1, True)):
        keys = torch.tensor([[key], [key], [-1], [-7]])
        [gradient] = torch.autograd.grad(info_nce(a, b, scale=50.0, keys=keys, tile=tile), a)
        assert bool(gradient.abs().max() > 1e-3) == pushed


@pytest.mark.parametrize("tile", [None, 3])
@pytest.mark.parametrize("rows", [0, 1])
def test_small_batches_are_attached_zeros(rows: int, tile: int | None) -> None:
    a, b = embeddings(rows, torch.float32)
    scale, bias = numbers(torch.float32)
    keys = torch.zeros(rows, 1, dtype=torch.int64)
    loss, (by_a, by_b, by_scale) = with_gradients("info_nce", a, b, scale, bias, keys=keys, tile=tile)
    assert loss.item() == 0.0
    assert by_scale.item() == 0.0
    assert not by_a.any()
    assert not by_b.any()
    loss, _ = with_gradients("siglip", a, b, scale, bias, keys=keys, tile=tile)
    wanted = F.softplus(-(scale * (a * b).sum() + bias)).item() if rows else 0.0
    assert loss.item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("tile", [None, 3])
@pytest.mark.parametrize("scale", [1e-3, 100.0, 1e4])
def test_extremes_stay_finite_and_right(scale: float, tile: int | None) -> None:
    """Partners that are opposite, and others that are equal: logits differ by 2 · scale."""
    a = F.normalize(torch.tensor([[1.0, 0.0], [-1.0, 1e-3], [0.0, 1.0], [1.0, 1.0], [-1.0, -1.0]]), dim=1)
    b = a.flip(0).clone()
    a.requires_grad_()
    b.requires_grad_()
    exact = info_nce(a.double(), b.double(), scale=scale)
    loss = info_nce(a, b, scale=scale, tile=tile)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(loss, (a, b)))
    exact = siglip(a.double(), b.double(), scale=scale, bias=-10.0)
    loss = siglip(a, b, scale=scale, bias=-10.0, tile=tile)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    assert all(bool(g.isfinite().all()) for g in torch.autograd.grad(loss, (a, b)))


@pytest.mark.parametrize("tile", [None, 5])
@pytest.mark.parametrize("name", ["info_nce", "siglip"])
def test_order_of_rows_and_of_sides_does_not_matter(name: str, tile: int | None) -> None:
    a, b = embeddings(17)
    scale, bias, keys = *numbers(torch.float64), some_keys(17)
    order = torch.randperm(17, generator=torch.Generator().manual_seed(1))
    loss, (by_a, by_b, *_) = with_gradients(name, a, b, scale, bias, keys=keys, tile=tile)
    moved, (moved_a, moved_b, *_) = with_gradients(name, a[order], b[order], scale, bias, keys=keys[order], tile=tile)
    torch.testing.assert_close((moved, moved_a, moved_b), (loss, by_a[order], by_b[order]), rtol=1e-10, atol=1e-13)
    swapped, (swapped_b, swapped_a, *_) = with_gradients(name, b, a, scale, bias, keys=keys, tile=tile)
    torch.testing.assert_close((swapped, swapped_a, swapped_b), (loss, by_a, by_b), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("tile", [None, 5])
@pytest.mark.parametrize("name", ["info_nce", "siglip"])
def test_half_precision_and_autocast_are_computed_in_float32(name: str, tile: int | None) -> None:
    a, b = embeddings(12, torch.bfloat16)
    scale, bias = numbers(torch.float32)
    exact, wanted = with_gradients(name, a.float(), b.float(), scale, bias)
    rough, gradients = with_gradients(name, a, b, scale, bias, tile=tile)
    assert rough.dtype == torch.float32
    assert gradients[0].dtype == torch.bfloat16
    torch.testing.assert_close(rough, exact, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients[0].float(), wanted[0], rtol=0.01, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, cast_gradients = with_gradients(name, a.float(), b.float(), scale, bias, tile=tile)
    torch.testing.assert_close(cast, exact, rtol=1e-6, atol=0)
    if tile is not None:
        torch.testing.assert_close(cast_gradients, wanted, rtol=1e-5, atol=1e-6)


def test_large_batches_are_tiled_without_asking() -> None:
    def last_function(rows: int) -> str:
        a = F.normalize(torch.ones(rows, 2), dim=1).requires_grad_()
        return type(info_nce(a, a.detach(), scale=1.0).grad_fn).__name__

    assert last_function(1100) == "TiledInfoNCEBackward"
    assert last_function(64) == "DivBackward0"


def test_second_derivatives_of_tiles_are_refused() -> None:
    a, b = embeddings(6)
    for loss in (info_nce(a, b, scale=3.0, tile=2), siglip(a, b, scale=3.0, bias=-1.0, tile=2)):
        with pytest.raises(AlignmentError, match=r"create_graph=True: .* once"):
            torch.autograd.grad(loss, a, create_graph=True)
    [gradient] = torch.autograd.grad(info_nce(a, b, scale=3.0), a, create_graph=True)
    gradient.square().sum().backward()
    assert a.grad is not None


def test_chance_is_the_logarithm_of_the_batch() -> None:
    same = F.normalize(torch.ones(1500, 4), dim=1)
    assert info_nce(same, same, scale=20.0).item() == pytest.approx(math.log(1500), rel=1e-6)
    assert info_nce(same, same, scale=20.0, tile=77).item() == pytest.approx(math.log(1500), rel=1e-6)


def test_learning_finds_planted_pairs() -> None:
    """A rotation between two views is found, and the temperature falls as nothing contradicts it."""
    generator = torch.Generator().manual_seed(0)
    a = F.normalize(torch.randn(64, 6, generator=generator), dim=1)
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    map_, temperature = nn.Linear(6, 6, bias=False), Temperature()
    nn.init.normal_(map_.weight, generator=generator)
    optimizer = torch.optim.Adam([*map_.parameters(), *temperature.parameters()], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        info_nce(F.normalize(map_(a @ rotation), dim=1), a, scale=temperature(), tile=20).backward()
        optimizer.step()
        temperature.clamp_()
    similarity = F.normalize(map_(a @ rotation), dim=1) @ a.T
    assert (similarity.argmax(dim=1) == torch.arange(64)).all()
    assert temperature().item() > 17


def test_temperature_owns_the_logarithm_of_its_inverse() -> None:
    temperature = Temperature()
    assert temperature().item() == pytest.approx(1 / 0.07)
    assert [name for name, _ in temperature.named_parameters()] == ["log_scale"]
    assert temperature.log_scale.ndim == 0
    for wild, kept in ((9.0, 100.0), (-1.0, 1.0), (2.0, math.exp(2.0))):
        nn.init.constant_(temperature.log_scale, wild)
        temperature.clamp_()
        assert temperature().item() == pytest.approx(kept, rel=1e-6)
    both = Temperature(0.1, bias=-10.0)
    assert {name: value.item() for name, value in both.named_parameters()} == pytest.approx(
        {"log_scale": math.log(10.0), "bias": -10.0})
    assert Temperature(0.5).to(torch.bfloat16)().dtype == torch.float32
    both.load_state_dict(Temperature(0.2, bias=3.0).state_dict())
    assert "temperature=0.2" in repr(both)
    for wrong in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(AlignmentError, match="0.01…1"):
            Temperature(wrong)


UNIT = F.normalize(torch.ones(3, 2), dim=1)


@pytest.mark.parametrize(("changed", "words"), [
    ({"embeddings_b": torch.ones(2, 2)}, r"found \(3, 2\) and \(2, 2\)"),
    ({"embeddings_a": torch.ones(3)}, r"embeddings_a must be \(batch, width\) real numbers, found shape \(3,\)"),
    ({"embeddings_b": torch.ones(3, 2, dtype=torch.int64)}, "torch.int64"),
    ({"embeddings_a": torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]])}, "embeddings_a: row 2 has length 5, exp"),
    ({"embeddings_b": 0.5 * UNIT}, "embeddings_b: row 0 has length 0.5, expected 1; make it so with .*normalize"),
    ({"embeddings_a": torch.tensor([[1.0, 0.0], [0.0, float("nan")], [float("inf"), 0.0]])},
     "embeddings_a: 2 of 3 rows have numbers that are not finite, the first is row 1"),
    ({"scale": float("nan")}, "found nan"),
    ({"scale": torch.tensor(0.0)}, "above 0, found 0.0"),
    ({"scale": torch.ones(2)}, r"scale must be one number, found shape \(2,\)"),
    ({"keys": torch.ones(2, 1, dtype=torch.int64)}, "2 rows of keys for 3 rows"),
    ({"keys": torch.ones(3, dtype=torch.int64)}, r"\(batch, key\) whole numbers, found shape \(3,\)"),
    ({"keys": torch.ones(3, 1)}, "torch.float32"),
    ({"tile": 0}, "found tile=0"),
])
def test_bad_input(changed: dict[str, object], words: str) -> None:
    given = {"embeddings_a": UNIT, "embeddings_b": UNIT, "scale": 10.0, **changed}
    rows = {name: given.pop(name) for name in ("embeddings_a", "embeddings_b")}
    for tile in ({}, {"tile": 2}):
        with pytest.raises(AlignmentError, match=words):
            info_nce(*rows.values(), **{**tile, **given})
        with pytest.raises(AlignmentError, match=words):
            siglip(*rows.values(), bias=-10.0, **{**tile, **given})


def test_a_bias_that_is_not_finite_and_rows_of_zeros() -> None:
    with pytest.raises(AlignmentError, match="bias must be finite, found inf"):
        siglip(UNIT, UNIT, scale=10.0, bias=float("inf"))
    assert info_nce(0 * UNIT, UNIT, scale=10.0).item() == pytest.approx(math.log(3))


MEMORY = """
import torch
from sensorium.alignment import info_nce
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
torch.set_num_threads(1)
def step(rows):
    a, b = (torch.nn.functional.normalize(torch.randn(rows, 64), dim=1).requires_grad_() for _ in range(2))
    open("/proc/self/clear_refs", "w").write("5")
    before = peak()
    info_nce(a, b, scale=torch.tensor(14.3, requires_grad=True), keys=torch.arange(rows)[:, None] // 2,
             tile=512).backward()
    return peak() - before
step(1024)
print(step(16384))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_grows_with_the_rows() -> None:
    """16,384 rows of width 64: gradients of 8 MB, where one matrix of logits has 1,024 MB."""
    done = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 40
