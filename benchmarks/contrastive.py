"""What contrastive losses cost: memory and seconds of forward and backward, tiled beside dense formulas.

    python benchmarks/contrastive.py [--rows 1024 4096 16384] [--width 512] [--threads 1] [--repeats 3] [--peers PYTHON]

Each configuration runs in a process of its own, with the same number of threads. Memory is the growth of the peak
resident set (VmHWM in /proc/self/status, reset before) over the process that has torch, the embeddings and one step of
64 rows behind it; seconds are the fastest of the repeats. Ratios are to CLIP's dense formula, the logits computed once.

Formulas written out here: that one; open_clip's ClipLoss, which computes them twice; open_clip's SigLipLoss;
sentence-transformers' MultipleNegativesRankingLoss in one and in both directions (similarities of embeddings normalised
again), and its cached form in one direction, which is differentiated chunk by chunk, each chunk against all rows. With
--peers, an interpreter with sentence-transformers and open_clip_torch, their own classes run there too (of open_clip
only its file loss.py: the rest wants torchvision).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

MEGABYTE = 2**20
SCALE = 1 / 0.07
CHUNKS = (32, 512)

Step = Callable[..., float]  # (a, b, scale) → the loss, its gradients having been left in .grad


def peak_bytes() -> int:
    """The largest resident set this process has had since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("VmHWM is not in /proc/self/status: Linux is needed")


def forget_peak() -> None:
    """The peak is the present resident set again (man 5 proc, clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def differentiated(loss: Callable) -> Step:
    """Forward and backward in one go."""
    def step(a, b, scale):
        value = loss(a, b, scale)
        value.backward()
        return value.item()
    return step


def formulas() -> dict[str, Step]:
    """Losses of unit-length (row, width) a and b at a learned scale, as their authors write them."""
    import torch
    from torch.nn import functional as F

    def dense(a, b, scale):
        logits, labels = scale * a @ b.T, torch.arange(len(a))
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2

    def clip(a, b, scale):
        logits_a, logits_b, labels = scale * a @ b.T, scale * b @ a.T, torch.arange(len(a))
        return (F.cross_entropy(logits_a, labels) + F.cross_entropy(logits_b, labels)) / 2

    def siglip(a, b, scale):
        labels = 2 * torch.eye(len(a)) - torch.ones(len(a), len(a))
        return -F.logsigmoid(labels * (scale * a @ b.T - 10.0)).sum() / len(a)

    def ranking(a, b, scale):
        scores = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T * scale
        return F.cross_entropy(scores, torch.arange(len(a)))

    def symmetric(a, b, scale):
        scores, labels = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T * scale, torch.arange(len(a))
        return (F.cross_entropy(scores, labels) + F.cross_entropy(scores.T, labels)) / 2

    def cached(chunk):
        def step(a, b, scale):
            total = 0.0
            for start in range(0, len(a), chunk):
                scores = F.normalize(a[start : start + chunk], dim=1) @ F.normalize(b, dim=1).T * scale
                labels = torch.arange(start, start + len(scores))
                part = F.cross_entropy(scores, labels, reduction="sum") / len(a)
                part.backward()
                total += part.item()
            return total
        return step

    named = {"dense, logits once": dense, "open_clip's ClipLoss": clip, "open_clip's SigLipLoss": siglip,
             "sentence-transformers' ranking, one direction": ranking,
             "sentence-transformers' ranking, both directions": symmetric}
    return {**{name: differentiated(loss) for name, loss in named.items()},
            **{f"sentence-transformers' cached, chunks of {chunk}": cached(chunk) for chunk in CHUNKS}}


def ours() -> dict[str, Step]:
    """sensorium's losses, as they choose their tiles."""
    import torch

    from sensorium.alignment import info_nce, siglip

    def with_keys(a, b, scale):
        return info_nce(a, b, scale=scale, keys=torch.arange(len(a))[:, None] // 4)  # four rows share a caption

    named = {"sensorium info_nce": lambda a, b, scale: info_nce(a, b, scale=scale),
             "sensorium info_nce with keys": with_keys,
             "sensorium siglip": lambda a, b, scale: siglip(a, b, scale=scale, bias=-10.0)}
    return {name: differentiated(loss) for name, loss in named.items()}


def peers() -> dict[str, Step]:
    """The peers' own classes, on embeddings."""
    from importlib.util import find_spec, module_from_spec, spec_from_file_location

    import torch
    from sentence_transformers.sentence_transformer import losses

    place = Path(find_spec("open_clip").origin).with_name("loss.py")
    spec = spec_from_file_location("open_clip_loss", place)
    open_clip_loss = module_from_spec(spec)
    spec.loader.exec_module(open_clip_loss)
    model = torch.nn.Sequential(torch.nn.Identity())
    both = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}

    def ranking(**settings):
        loss = losses.MultipleNegativesRankingLoss(model, **settings)

        def value(a, b, scale):
            loss.scale = scale
            return loss.compute_loss_from_embeddings([a, b], None)
        return differentiated(value)

    def cached(chunk, **settings):
        loss = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=chunk, **settings)

        def step(a, b, scale):
            loss.scale = scale
            return float(loss.calculate_loss([[a], [b]], with_backward=True))
        return step

    clip, sigmoid, bias = open_clip_loss.ClipLoss(), open_clip_loss.SigLipLoss(), torch.tensor(-10.0)
    return {"open_clip ClipLoss": differentiated(clip),
            "open_clip SigLipLoss": differentiated(lambda a, b, scale: sigmoid(a, b, scale, bias)),
            "MultipleNegativesRankingLoss": ranking(),
            "MultipleNegativesRankingLoss, both directions": ranking(**both),
            **{f"CachedMultipleNegativesRankingLoss, both, chunks of {chunk}": cached(chunk, **both)
               for chunk in CHUNKS}}


SOURCES = {"formulas": formulas, "ours": ours, "peers": peers}


def measure(source: str, name: str, rows: int, width: int, repeats: int) -> dict[str, float]:
    """In a process of its own: growth of the peak in bytes, seconds, the loss."""
    import torch

    step = SOURCES[source]()[name]
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(2, rows, width, generator=generator)
    directions[1] += directions[0]
    embeddings = torch.nn.functional.normalize(directions, dim=2)

    def timed(rows: int) -> tuple[float, float]:
        a, b = (side[:rows].detach().requires_grad_() for side in embeddings)
        scale = torch.tensor(SCALE, requires_grad=True)
        started = time.perf_counter()
        loss = step(a, b, scale)
        return time.perf_counter() - started, loss

    timed(64)
    del directions
    forget_peak()
    before = peak_bytes()
    taken = [timed(rows) for _ in range(repeats)]
    return {"bytes": peak_bytes() - before, "seconds": min(seconds for seconds, _ in taken), "loss": taken[0][1]}


def measured(python: str, source: str, name: str, given: argparse.Namespace, rows: int) -> dict[str, float] | str:
    """Start the process and read its answer; why there is none."""
    threads = str(given.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    done = subprocess.run([python, __file__, "--one", source, name, str(rows), str(given.width), str(given.repeats)],
                          capture_output=True, text=True, env=environment, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else f"failed: {(done.stderr.splitlines() or ['?'])[-1]}"


def report(given: argparse.Namespace) -> None:
    """One table for each number of rows; ratios are to the dense formula."""
    names = [(sys.executable, "formulas", name) for name in formulas()] + [
        (sys.executable, "ours", name) for name in ours()]
    if given.peers:
        listed = subprocess.run([given.peers, __file__, "--list-peers"], capture_output=True, text=True, check=True)
        names += [(given.peers, "peers", name) for name in json.loads(listed.stdout)]
    for rows in given.rows:
        print(f"\n{rows:,} rows of width {given.width}, {given.threads} thread(s), forward and backward")
        print(f"{'':60} {'seconds':>9} {'MB':>9} {'loss':>10}   time, memory to dense")
        dense: dict[str, float] | None = None
        for python, source, name in names:
            answer = measured(python, source, name, given, rows)
            if isinstance(answer, str):
                print(f"{name:60} {answer}", flush=True)
                continue
            dense = answer if dense is None else dense
            print(f"{name:60} {answer['seconds']:9.3f} {answer['bytes'] / MEGABYTE:9.1f} {answer['loss']:10.6f}   "
                  f"{answer['seconds'] / dense['seconds']:.2f}, 1/{dense['bytes'] / max(1, answer['bytes']):.1f}",
                  flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=[1024, 4096, 16384])
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", help="a Python interpreter that has open_clip_torch and sentence-transformers")
    parser.add_argument("--list-peers", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        source, name, *sizes = given.one
        print(json.dumps(measure(source, name, *map(int, sizes))))
    elif given.list_peers:
        print(json.dumps(list(peers())))
    else:
        report(given)


if __name__ == "__main__":
    main()
