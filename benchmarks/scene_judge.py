"""A judge of generated pictures of one object: a small network that tells colour, shape and place.

It is trained on real (rendered) pictures of all 96 combinations, of another seed than the tables', half of them
blurred, noisy or pale, so that it neither flatters nor punishes a generator's softness. What it is worth on fresh real
pictures, clean and damaged, is printed:

    python benchmarks/scene_judge.py

Other benchmarks use it: `from scene_judge import trained_judge, judged`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.demo import draw_objects, object_pictures
from sensorium.demo.objects import COLOURS, PLACES, SHAPES

Pictures = npt.NDArray[np.uint8]
NAMES = {"colour": COLOURS, "shape": SHAPES, "place": PLACES}
SIDE = 32
SEED = 1001
FRESH_SEED = 1002
BATCH = 64


class Judge(nn.Module):
    """Logits of colour, shape and place from pictures (batch, 3, 32, 32) in −1…1."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, stride in ((3, 16, 1), (16, 32, 2), (32, 48, 1), (48, 64, 2), (64, 96, 2)):
            layers += [nn.Conv2d(before, after, 3, stride=stride, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
        self.seen = nn.Sequential(*layers, nn.Flatten(), nn.Linear(96 * 16, 128), nn.SiLU())
        self.heads = nn.ModuleDict({name: nn.Linear(128, len(names)) for name, names in NAMES.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Logits (batch, value) of each attribute."""
        seen = self.seen(pictures)
        return {name: head(seen) for name, head in self.heads.items()}


def real_pictures(count: int, *, seed: int, size: int = SIDE) -> tuple[Pictures, dict[str, Tensor]]:
    """(picture, height, width_px, 3) pictures of every combination, seen or held out, and their attributes' numbers."""
    held_out = round(count * 20 / 96)
    parts = [draw_objects(range(count - held_out), seed=seed), draw_objects(range(held_out), seed=seed, split="test")]
    truth = {name: torch.from_numpy(np.concatenate([getattr(part, name)[:, 0] for part in parts])) for name in NAMES}
    return np.concatenate([object_pictures(part, size) for part in parts]), truth


def as_input(pictures: Pictures) -> Tensor:
    """(batch, 3, 32, 32) in −1…1 of pictures of 32, 64 or 128 pixels a side, averaged down."""
    values = rearrange(torch.from_numpy(pictures), "batch height width rgb -> batch rgb height width").float()
    return F.avg_pool2d(values, values.shape[-1] // SIDE) / 127.5 - 1.0


def blurred(pictures: Tensor, width: float) -> Tensor:
    """The pictures under a Gaussian of a standard deviation of `width` pixels."""
    offset = torch.arange(-2, 3, dtype=pictures.dtype)
    weights = torch.exp(-0.5 * (offset / max(width, 1e-3)) ** 2)
    kernel = (weights[:, None] * weights[None, :] / weights.sum() ** 2)[None, None].expand(3, 1, 5, 5)
    return F.conv2d(F.pad(pictures, (2, 2, 2, 2), mode="replicate"), kernel, groups=3)


def damaged(pictures: Tensor, generator: torch.Generator, *, blur: float, noise: float, pale: float) -> Tensor:
    """Pictures blurred (pixels), of less contrast (share) and with normal noise (of 2, the range)."""
    soft = blurred(pictures, blur) * (1.0 - pale)
    return (soft + noise * torch.randn(soft.shape, generator=generator)).clamp(-1.0, 1.0)


def trained_judge(*, kept: Path | None = None, pictures: int = 16_000, epochs: int = 6) -> Judge:
    """A judge trained from scratch, the same every time; read from `kept` where that file is, else written there."""
    from safetensors.torch import load_file, save_file

    generator = torch.Generator().manual_seed(SEED)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        judge = Judge()
    if kept is not None and kept.exists():
        judge.load_state_dict(load_file(kept))
        return judge.eval()
    drawn, truth = real_pictures(pictures, seed=SEED)
    inputs = as_input(drawn)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=1e-2)
    steps = epochs * (pictures // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps, pct_start=0.15)
    for _ in range(epochs):
        for rows in torch.randperm(pictures, generator=generator)[: pictures // BATCH * BATCH].view(-1, BATCH):
            some, share = inputs[rows], torch.rand(3, generator=generator).tolist()
            half = BATCH // 2
            some = torch.cat([some[:half], damaged(some[half:], generator, blur=share[0], noise=0.15 * share[1],
                                                   pale=0.3 * share[2])])
            loss = torch.stack([F.cross_entropy(logits, truth[name][rows])
                                for name, logits in judge(some).items()]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    if kept is not None:
        save_file(judge.state_dict(), kept)
    return judge.eval()


@torch.no_grad()
def judged(judge: Judge, pictures: Pictures | Tensor) -> dict[str, list[str]]:
    """What the judge sees: the colour, shape and place of each picture, in words.

    Args:
        judge: a trained one.
        pictures: (batch, height, width_px, 3) uint8 of 32, 64 or 128 pixels a side, or (batch, 3, 32, 32) in −1…1.
    """
    inputs = pictures if isinstance(pictures, Tensor) else as_input(pictures)
    logits = [judge(some) for some in inputs.split(500)]
    return {name: [names[number] for some in logits for number in some[name].argmax(dim=1).tolist()]
            for name, names in NAMES.items()}


def main() -> None:
    """Train the judge and print what it is worth."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--kept", type=Path, default=None)
    given = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()
    judge = trained_judge(kept=given.kept)
    print(f"trained in {time.process_time() - begun:.0f} s of one core; right of {given.rows:,} fresh real pictures:")
    pictures, truth = real_pictures(given.rows, seed=FRESH_SEED)
    inputs, generator = as_input(pictures), torch.Generator().manual_seed(FRESH_SEED)
    conditions = {"clean": inputs}
    conditions |= {words: damaged(inputs, generator, **how) for words, how in {
        "blurred, 0.6 px": {"blur": 0.6, "noise": 0.0, "pale": 0.0},
        "blurred, 1 px": {"blur": 1.0, "noise": 0.0, "pale": 0.0},
        "noise, 5 %": {"blur": 0.0, "noise": 0.1, "pale": 0.0},
        "blurred 0.6 px, noise 3 %, pale": {"blur": 0.6, "noise": 0.06, "pale": 0.2},
    }.items()}
    conditions["64 px"] = as_input(real_pictures(given.rows, seed=FRESH_SEED, size=64)[0])
    for words, some in conditions.items():
        seen = judged(judge, some)
        shares = {name: np.mean([names[number] == said for number, said in zip(truth[name].tolist(), seen[name],
                                                                               strict=True)])
                  for name, names in NAMES.items()}
        print(f"  {words:32s} " + "  ".join(f"{name} {share:.4f}" for name, share in shares.items()), flush=True)


if __name__ == "__main__":
    main()
