"""Every encoder of signals learns a small planted task that a mean over positions cannot solve."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.kinds.base import Inputs
from sensorium.encoders import ENCODERS, Encoder

Task = tuple[Inputs, Tensor]
WIDTH = 48
SETTINGS: dict[str, dict[str, int | float]] = {
    "image": {"height": 24, "width_px": 24, "channels": 1}, "audio": {"rate": 2000, "max_seconds": 0.6},
    "video": {"height": 12, "width_px": 12, "channels": 1}, "series": {"num_channels": 2, "max_steps": 96},
    "points": {"num_features": 1},
}


def _bars(generator: torch.Generator, num_rows: int) -> Task:
    """A bar somewhere in noise: lying, standing, or one of the two diagonals."""
    labels = torch.randint(0, 4, (num_rows,), generator=generator)
    middle = torch.randint(8, 16, (num_rows, 2, 1, 1), generator=generator).float()
    down, across = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    angle = (labels * math.pi / 4)[:, None, None]
    along = (across - middle[:, 1]) * angle.cos() + (down - middle[:, 0]) * angle.sin()
    aside = (across - middle[:, 1]) * angle.sin() - (down - middle[:, 0]) * angle.cos()
    pictures = 90.0 + 90.0 * ((aside.abs() < 1.2) & (along.abs() < 6.0)) + 20.0 * torch.randn(
        num_rows, 24, 24, generator=generator)
    return Inputs(pictures.clamp(0, 255).to(torch.uint8)[:, None]), labels


def _two_tones(generator: torch.Generator, num_rows: int) -> Task:
    """Two short tones: which of the two pitches comes first, and whether a pause is between them."""
    labels = torch.randint(0, 4, (num_rows,), generator=generator)
    time = torch.arange(1200) / 2000
    start = 0.05 + 0.15 * torch.rand(num_rows, 1, generator=generator)
    second = start + 0.12 + 0.12 * (labels[:, None] >= 2)
    low, high = (torch.sin(2 * torch.pi * pitch * time + 6.0 * torch.rand(num_rows, 1, generator=generator))
                 for pitch in (250.0, 600.0))
    swapped = (labels[:, None] % 2).bool()
    first, last = torch.where(swapped, high, low), torch.where(swapped, low, high)
    sound = first * ((time > start) & (time < start + 0.1)) + last * ((time > second) & (time < second + 0.1))
    lengths = torch.randint(1100, 1201, (num_rows, 1), generator=generator)
    mask = torch.arange(1200) < lengths
    return Inputs(mask * (0.3 * sound + 0.05 * torch.randn(sound.shape, generator=generator)), mask), labels


def _moving_dot(generator: torch.Generator, num_rows: int) -> Task:
    """A dot that moves left, right, up or down."""
    labels = torch.randint(0, 4, (num_rows,), generator=generator)
    steps = torch.arange(6.0)
    direction = torch.tensor([[0.0, -1.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 0.0]])[labels]
    middle = 3.5 + 4.0 * torch.rand(num_rows, 2, generator=generator)
    place = middle[:, None] + direction[:, None] * (steps[None, :, None] - 2.5)
    down, across = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    away = (down - place[..., 0, None, None]).square() + (across - place[..., 1, None, None]).square()
    frames = 60.0 + 150.0 * torch.exp(-away / 2.0) + 8.0 * torch.randn(away.shape, generator=generator)
    mask = steps < torch.randint(4, 7, (num_rows, 1), generator=generator)
    span = torch.stack([steps * 0.1, steps * 0.1 + 0.1], dim=1).expand(num_rows, 6, 2)
    return Inputs(frames.clamp(0, 255).to(torch.uint8)[:, :, None], mask, span), labels


def _who_is_first(generator: torch.Generator, num_rows: int) -> Task:
    """A wave in each of two channels, some readings missing: which channel's comes first."""
    labels = torch.randint(0, 2, (num_rows,), generator=generator)
    steps = torch.arange(96.0)
    start = 8.0 + 40.0 * torch.rand(num_rows, 1, generator=generator)
    later = start + 8.0 + 16.0 * torch.rand(num_rows, 1, generator=generator)
    first, last = (torch.exp(-(steps - when - 6.0).square() / 18.0) for when in (start, later))
    swapped = labels[:, None].bool()
    readings = 2.0 * torch.stack([torch.where(swapped, last, first), torch.where(swapped, first, last)], dim=2)
    readings = readings + 0.3 * torch.randn(readings.shape, generator=generator)
    there = torch.rand(readings.shape, generator=generator) < 0.8
    mask = steps < torch.randint(85, 97, (num_rows, 1), generator=generator)
    there &= mask[:, :, None]
    span = torch.stack([steps * 0.02, steps * 0.02 + 0.02], dim=1).expand(num_rows, 96, 2)
    return Inputs(torch.cat([readings * there, there.float()], dim=2), mask, span), labels


def _solids(generator: torch.Generator, num_rows: int) -> Task:
    """Points on a sphere, on a cube's faces, on a ring, or in a ball, anywhere and in any direction."""
    labels = torch.randint(0, 4, (num_rows,), generator=generator)
    gauss = torch.randn(num_rows, 60, 3, generator=generator)
    sphere = F.normalize(gauss, dim=2)
    ring = F.normalize(gauss * torch.tensor([1.0, 1.0, 0.0]), dim=2)
    cube = sphere / sphere.abs().amax(dim=2, keepdim=True) * 0.8
    ball = sphere * torch.rand(num_rows, 60, 1, generator=generator) ** (1 / 3)
    shapes = torch.stack([sphere, cube, ring, ball], dim=1)[torch.arange(num_rows), labels]
    turn = torch.linalg.qr(torch.randn(num_rows, 3, 3, generator=generator)).Q
    shapes = shapes @ turn + 0.3 * torch.randn(num_rows, 1, 3, generator=generator)
    mask = torch.arange(60) < torch.randint(40, 61, (num_rows, 1), generator=generator)
    return Inputs(torch.cat([shapes, torch.randn(num_rows, 60, 1, generator=generator)], dim=2), mask), labels


TASKS = {"image": (_bars, 60, 0.9), "audio": (_two_tones, 60, 0.9), "video": (_moving_dot, 60, 0.9),
         "series": (_who_is_first, 120, 0.9), "points": (_solids, 120, 0.75)}


class _Reader(nn.Module):
    """An encoder, the mean of its tokens, and scores."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm, self.score = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4)

    def forward(self, inputs: Inputs) -> Tensor:
        tokens = self.encoder(inputs)
        real = tokens.mask[:, :, None]
        means = torch.where(real, self.norm(tokens.values), 0.0).sum(dim=1) / real.sum(dim=1)
        scores: Tensor = self.score(means)
        return scores


def learned(kind: str, name: str, *, seed: int = 0) -> float:
    """The accuracy on new rows after so many steps of 64 new rows each."""
    make, num_steps, _ = TASKS[kind]
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    reader = _Reader(ENCODERS[kind][name](width=WIDTH, **SETTINGS[kind]))  # type: ignore[call-arg, arg-type]
    optimizer = torch.optim.AdamW(reader.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=num_steps, pct_start=0.2)
    for _ in range(num_steps):
        inputs, labels = make(generator, 64)
        loss = F.cross_entropy(reader(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    inputs, labels = make(generator, 256)
    with torch.no_grad():
        return float((reader(inputs).argmax(dim=1) == labels).float().mean())


SIGNALS = [(kind, name) for kind in TASKS for name in ENCODERS[kind]]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), SIGNALS)
def test_a_planted_task_is_learned(kind: str, name: str) -> None:
    assert learned(kind, name) >= TASKS[kind][2]
