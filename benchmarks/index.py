"""The index beside raw FAISS HNSW and hnswlib: recall, queries a second, filters; a million vectors.

Vectors are of unit length, 512 wide. `clustered`: 1,000 centres, each vector its centre plus noise of 0.8 of its
length; queries are new draws. `scenes`: a contrast model (width 64, embeddings of 512) is trained on 5,000 rows of the
world of objects; the gallery holds the embeddings of their pictures, each 20 times with noise of 0.25 of its length, so
that 100,000 are reached; the queries are the embeddings of 1,000 captions: another modality than what is searched.

Every measurement of speed is the median of rounds that the contestants take in turns, in batches of 1,000 queries and
one at a time, with the same M = 32, efConstruction = 64 and efSearch. hnswlib is looked for in an environment of its
own.

    python benchmarks/index.py [--peers PYTHON] [--vectors clustered scenes] [--rows 100000] [--threads 2] [--rounds 7]
    python benchmarks/index.py --million [--rows 1000000] [--structure auto]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

WIDTH, QUERIES, K = 512, 1_000, 10
LINKS, CONSTRUCTION = 32, 64
EFFORTS = (32, 64, 128, 256)
CENTRES, NOISE = 1_000, 0.8
SCENES, COPIES_NOISE = 5_000, 0.25
PEER = """
import json, sys, time
import hnswlib, numpy as np
folder, threads, rounds, links, construction = sys.argv[1], *map(int, sys.argv[2:6])
x, q = np.load(folder + "/x.npy"), np.load(folder + "/q.npy")
started = time.perf_counter()
index = hnswlib.Index(space="ip", dim=x.shape[1])
index.init_index(max_elements=len(x), M=links, ef_construction=construction, random_seed=1)
index.set_num_threads(threads)
index.add_items(x)
print(json.dumps({"build": time.perf_counter() - started}), flush=True)
for line in sys.stdin:
    effort, one = json.loads(line)
    index.set_ef(effort)
    started = time.perf_counter()
    found = index.knn_query(q[:1] if one else q, k=10)[0]
    seconds = time.perf_counter() - started
    if not one:
        np.save(folder + "/found.npy", found)
    print(json.dumps({"seconds": seconds}), flush=True)
"""


def unit(vectors: np.ndarray) -> np.ndarray:
    """The vectors divided by their lengths."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(draws: np.random.Generator, rows: int, centres: np.ndarray) -> np.ndarray:
    """Vectors around centres of which the first are the most frequent."""
    shares = 1 / np.arange(1, len(centres) + 1) ** 0.5
    chosen = centres[draws.choice(len(centres), rows, p=shares / shares.sum())]
    noise = draws.standard_normal((rows, centres.shape[1]), dtype=np.float32) / np.sqrt(centres.shape[1])
    return unit(chosen + NOISE * noise)


def clustered_set(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """(row, width) vectors and (query, width) queries."""
    draws = np.random.default_rng(0)
    centres = unit(draws.standard_normal((CENTRES, WIDTH)))
    return clustered(draws, rows, centres), clustered(draws, QUERIES, centres)


def scenes_set(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of the world of objects, perturbed, and captions that search them."""
    import sensorium as sm
    from sensorium.demo import write_generation

    draws = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        world = write_generation(Path(folder), rows=SCENES, test_rows=1, size=32, most=3)
        recipe = sm.Recipe.checked({
            "model": {"width": 64}, "objectives": {"contrast": {"width": WIDTH}},
            "training": {"epochs": 10, "refit": "never", "workers": 0}})
        model = sm.fit(sm.read(world.table("train")), recipe, progress=False)
        kinds = {one.kind.name: one.name for one in model.schema.modalities}
        pictures = model.embed(world.table("train"), modalities=kinds["image"])
        captions = model.embed(world.table("train"), modalities=kinds["text"])
    copies = np.repeat(pictures, -(-rows // len(pictures)), axis=0)[:rows]
    noise = draws.standard_normal(copies.shape, dtype=np.float32) / np.sqrt(WIDTH)
    return unit(copies + COPIES_NOISE * noise), captions[draws.permutation(len(captions))[:QUERIES]]


def exact(vectors: np.ndarray, queries: np.ndarray, kept: np.ndarray | None = None) -> np.ndarray:
    """(query, 10) the nearest by brute force."""
    rows = np.arange(len(vectors)) if kept is None else np.flatnonzero(kept)
    found = []
    for start in range(0, len(queries), 100):
        scores = queries[start : start + 100] @ vectors[rows].T if kept is not None else \
            queries[start : start + 100] @ vectors.T
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        found.append(rows[best])
    return np.concatenate(found)


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """The share of the true 10 that are found."""
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), truth.tolist(), strict=True)]))


def timed(call: Callable[[], Any]) -> float:
    """Seconds of a call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


class Peer:
    """hnswlib in a process of another environment."""

    def __init__(self, python: str, folder: Path, threads: int, rounds: int) -> None:
        self._process = subprocess.Popen(
            [python, "-c", PEER, str(folder), str(threads), str(rounds), str(LINKS), str(CONSTRUCTION)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.build = float(self._read()["build"])

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        found: dict[str, float] = json.loads(self._process.stdout.readline())
        return found

    def seconds(self, effort: int, *, one: bool = False) -> float:
        """Of a batch of all queries, or of one."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([effort, one]) + "\n")
        self._process.stdin.flush()
        return self._read()["seconds"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(name: str, vectors: np.ndarray, queries: np.ndarray, args: argparse.Namespace) -> None:
    """Build three times, search in turns, filter."""
    import faiss

    from sensorium.retrieval.index import Index

    faiss.omp_set_num_threads(args.threads)
    truth = exact(vectors, queries)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        np.save(folder / "x.npy", vectors)
        np.save(folder / "q.npy", queries)
        rows = pl.DataFrame({"bucket": np.arange(len(vectors)) % 100,
                             "name": [f"row {n}" for n in range(len(vectors))]})
        started = time.perf_counter()
        index = Index.from_vectors(folder / "idx", vectors, rows)
        ours = time.perf_counter() - started
        facts = index.manifest.structures[""]
        raw = faiss.IndexHNSWFlat(WIDTH, LINKS, faiss.METRIC_INNER_PRODUCT)
        raw.hnsw.efConstruction = CONSTRUCTION
        theirs = timed(lambda: raw.add(vectors))
        peer = None if args.peers is None else Peer(args.peers, folder, args.threads, args.rounds)
        print(f"\n## {name}: {len(vectors):,} × {WIDTH}, {args.threads} threads\n")
        print(f"build: index {ours:.0f} s (structure {facts.seconds:.0f} s with its measuring), faiss {theirs:.0f} s"
              f"{'' if peer is None else f', hnswlib {peer.build:.0f} s'}")
        print(f"chosen: {facts.kind}, efSearch {facts.effort}, recall@10 {facts.recall:.3f} measured on "
              f"{facts.queries} queries of its own\n")
        print("| efSearch | recall: index | faiss | hnswlib | queries/s: index | faiss | hnswlib | index / faiss | "
              "one at a time: index | faiss | index / faiss |")
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        for effort in sorted({*EFFORTS, facts.effort}):
            print(line(index, raw, peer, folder, queries, truth, effort, args.rounds), flush=True)
        if peer is not None:
            peer.close()
        hits = statistics.median(timed(lambda: index.search(queries)) for _ in range(3))
        flat = statistics.median(timed(lambda: exact(vectors, queries)) for _ in range(2))
        print(f"\nwith ids and cells of every hit (`search`): {QUERIES / hits:,.0f} queries/s; by brute force (numpy): "
              f"{QUERIES / flat:,.0f}\n")
        filters(index, vectors, queries)


def line(
    index: Any, raw: Any, peer: Peer | None, folder: Path, queries: np.ndarray, truth: np.ndarray, effort: int,
    rounds: int,
) -> str:
    """One efSearch: recall and speed of all."""
    import faiss

    parameters = faiss.SearchParametersHNSW(efSearch=effort)
    mine = recall(index.nearest(queries, K, effort=effort)[1], truth)
    theirs = recall(raw.search(queries, K, params=parameters)[1], truth)
    seconds: dict[str, list[float]] = {"mine": [], "raw": [], "peer": [], "mine one": [], "raw one": []}
    for turn in range(rounds):
        calls: list[tuple[str, Callable[[], float]]] = [
            ("mine", lambda: timed(lambda: index.nearest(queries, K, effort=effort))),
            ("raw", lambda: timed(lambda: raw.search(queries, K, params=parameters))),
            ("mine one", lambda: timed(lambda: [index.nearest(query, K, effort=effort) for query in queries[:200]])),
            ("raw one", lambda: timed(lambda: [raw.search(query[None], K, params=parameters)
                                               for query in queries[:200]]))]
        if peer is not None:
            calls.append(("peer", lambda: peer.seconds(effort)))
        for name, call in calls if turn % 2 else calls[::-1]:
            seconds[name].append(call())
    of = {name: statistics.median(values) if values else float("nan") for name, values in seconds.items()}
    other = "" if peer is None else f"{recall(np.load(folder / 'found.npy'), truth):.3f}"
    speed = "" if peer is None else f"{QUERIES / of['peer']:,.0f}"
    return (f"| {effort} | {mine:.3f} | {theirs:.3f} | {other} | {QUERIES / of['mine']:,.0f} | "
            f"{QUERIES / of['raw']:,.0f} | {speed} | {of['raw'] / of['mine']:.2f} | {200 / of['mine one']:,.0f} | "
            f"{200 / of['raw one']:,.0f} | {of['raw one'] / of['mine one']:.2f} |")


def filters(index: Any, vectors: np.ndarray, queries: np.ndarray) -> None:
    """Conditions that keep a share of the rows."""
    print("| where | keeps | recall@10 | queries/s |")
    print("|---|---|---|---|")
    everything = recall(index.nearest(queries, K)[1], exact(vectors, queries))
    print(f"| | 100 % | {everything:.4f} | |")
    buckets = np.arange(len(vectors)) % 100
    for share in (1, 10, 50):
        where = f"bucket < {share}"
        kept = buckets < share
        found = index.nearest(queries, K, where=where)[1]
        seconds = timed(lambda where=where: index.nearest(queries, K, where=where))
        reached = recall(found, exact(vectors, queries, kept))
        print(f"| {where} | {share} % | {reached:.4f} | {QUERIES / seconds:,.0f} |", flush=True)


MILLION_BUILD = """
import resource, sys, time
import faiss, numpy as np, polars as pl
from sensorium.retrieval.index import Index
faiss.omp_set_num_threads(int(sys.argv[3]))
x = np.load(sys.argv[1] + "/x.npy", mmap_mode="r")
rows = pl.DataFrame({"bucket": np.arange(len(x)) % 100})
started = time.perf_counter()
index = Index.from_vectors(sys.argv[2], x, rows, structure=sys.argv[4])
print(f"built in {time.perf_counter() - started:.0f} s ({time.process_time():.0f} s of a processor); peak memory "
      f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB (mapped files too)")
print("\\n".join(index.lines()), flush=True)
"""
MILLION_SEARCH = """
import resource, sys, time
import faiss, numpy as np
from sensorium.retrieval.index import Index
faiss.omp_set_num_threads(int(sys.argv[3]))
q, truth, few = (np.load(sys.argv[1] + f"/{name}.npy") for name in ("q", "truth", "few"))
index = Index.open(sys.argv[2])
share = lambda a, b: np.mean([len(set(x) & set(y)) / 10 for x, y in zip(a.tolist(), b.tolist())])
def seconds(call):
    started = time.perf_counter(); call(); return time.perf_counter() - started
def memory(name):
    return int(next(l for l in open("/proc/self/status") if l.startswith(name)).split()[1]) / 2**20
found = index.nearest(q, 10)[1]
print(f"recall@10 {share(found, truth):.3f}; {len(q) / seconds(lambda: index.nearest(q, 10)):,.0f} queries/s in one "
      f"batch, {100 / seconds(lambda: [index.nearest(one, 10) for one in q[:100]]):,.0f} one at a time")
found = index.nearest(q, 10, where="bucket < 1")[1]
print(f"where bucket < 1 (keeps 1 %): recall@10 {share(found, few):.4f}; "
      f"{len(q) / seconds(lambda: index.nearest(q, 10, where='bucket < 1')):,.0f} queries/s")
print(f"peak memory {memory('VmHWM'):.2f} GiB, mapped files included; {memory('RssAnon'):.2f} GiB of its own")
"""


def parts(rows: int, size: int = 50_000) -> Iterator[np.ndarray]:
    """Clustered vectors, a part at a time."""
    draws = np.random.default_rng(0)
    centres = unit(draws.standard_normal((CENTRES, WIDTH)))
    for start in range(0, rows, size):
        yield clustered(draws, min(size, rows - start), centres)


def million(rows: int, threads: int, structure: str) -> None:
    """Build and search in processes of their own; what is exact is found part by part."""
    draws = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        centres = unit(np.random.default_rng(0).standard_normal((CENTRES, WIDTH)))
        queries = clustered(draws, QUERIES, centres)
        best = {name: np.full((QUERIES, K), -np.inf, dtype=np.float32) for name in ("truth", "few")}
        found = {name: np.full((QUERIES, K), -1) for name in best}
        vectors = np.lib.format.open_memmap(folder / "x.npy", mode="w+", dtype=np.float32, shape=(rows, WIDTH))
        start = 0
        for part in parts(rows):
            vectors[start : start + len(part)] = part
            numbers = np.arange(start, start + len(part))
            for name, kept in (("truth", numbers), ("few", numbers[numbers % 100 == 0])):
                scores = np.concatenate([best[name], queries @ part[kept - start].T], axis=1)
                places = np.concatenate([found[name], np.broadcast_to(kept, (QUERIES, len(kept)))], axis=1)
                order = np.argpartition(-scores, K, axis=1)[:, :K]
                best[name] = np.take_along_axis(scores, order, axis=1)
                found[name] = np.take_along_axis(places, order, axis=1)
            start += len(part)
        vectors.flush()
        del vectors
        for name, array in (("q", queries), *found.items()):
            np.save(folder / f"{name}.npy", array)
        print(f"\n## clustered: {rows:,} × {WIDTH}, {threads} threads\n", flush=True)
        for script in (MILLION_BUILD, MILLION_SEARCH):
            subprocess.run([sys.executable, "-c", script, str(folder), str(folder / "idx"), str(threads), structure],
                           check=True)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="a Python that has hnswlib")
    parser.add_argument("--vectors", nargs="*", default=["clustered", "scenes"], choices=["clustered", "scenes"])
    parser.add_argument("--rows", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--structure", default="auto", help="of --million")
    args = parser.parse_args()
    if args.million:
        million(args.rows or 1_000_000, args.threads, args.structure)
        return
    for name in args.vectors:
        vectors, queries = {"clustered": clustered_set, "scenes": scenes_set}[name](args.rows or 100_000)
        compare(name, vectors, queries, args)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command does: idle threads sleep soon
    main()
