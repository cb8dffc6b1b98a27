"""How `sensorium serve` behaves under load: batched beside unbatched, latency at half load, 10,000 requests, hostile
uploads, slow clients, SIGTERM.

Trains two small models first, unless they are there: pictures and spoken digits (avdigits), and questions through a
frozen MiniLM (easy-VQA); two minutes each. Clients and server share the machine, so only ratios within one run mean
much. Rates are given as the median of alternating rounds.

    OMP_NUM_THREADS=1 python benchmarks/serving.py --data ../shared/data --runs /tmp/runs [--only throughput,soak …]
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "serving")]

from loading import CLIENTS, Run, closed_loop, open_loop, request, serving, until_the_end  # noqa: E402

BOUNDARY = "a-boundary"
PARTS = ("throughput", "latency", "soak", "hostile", "slow", "sigterm", "schemathesis")


def digit_requests(data: Path, count: int = 200) -> list[bytes]:
    """Requests with a picture and a sound as files."""
    folder = data / "avdigits"
    with (folder / "test.csv").open() as file:
        rows = list(csv.DictReader(file))[:count]
    return [request(b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'.encode()
        + (folder / row[name]).read_bytes() + b"\r\n" for name in ("image", "audio"))
        + f"--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}") for row in rows]


def question_requests(data: Path, count: int = 200) -> list[bytes]:
    """Requests with a question as JSON."""
    with (data / "easy_vqa" / "test.csv").open() as file:
        rows = [row for _, row in zip(range(count), csv.DictReader(file), strict=False)]
    return [request(json.dumps({"rows": {"question": row["question"]}}).encode(), "application/json") for row in rows]


def throughput(folder: Path, requests: Sequence[bytes], name: str, options: Sequence[str], total: int) -> float:
    """Batched beside unbatched, three alternating rounds; the batched rate."""
    rates: dict[str, list[float]] = {"batched": [], "unbatched": []}
    with serving(folder, *options) as batched, serving(folder, *options, "--max-batch", "1") as unbatched:
        for server in (batched, unbatched):
            asyncio.run(closed_loop(server.port, requests, 200))
        for _ in range(3):
            for which, server in (("batched", batched), ("unbatched", unbatched)):
                found = asyncio.run(closed_loop(server.port, requests, total))
                assert set(found.statuses) == {200}, found.statuses
                rates[which].append(found.rate)
    best = {which: float(np.median(values)) for which, values in rates.items()}
    ratios = [one / other for one, other in zip(rates["batched"], rates["unbatched"], strict=True)]
    print(f"{name}: {CLIENTS} clients, batched {best['batched']:.0f} requests/s, unbatched {best['unbatched']:.0f}; "
          f"ratio {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
    return best["batched"]


def latency(folder: Path, requests: Sequence[bytes], name: str, options: Sequence[str], rate: float) -> None:
    """At half of what the server can do."""
    with serving(folder, *options) as server:
        asyncio.run(closed_loop(server.port, requests, 200))
        found = asyncio.run(open_loop(server.port, requests, rate / 2, int(max(500, 10 * rate))))
    print(f"{name}: at {rate / 2:.0f} requests/s, p50 {found.quantile(0.5):.0f} ms, p99 {found.quantile(0.99):.0f} ms; "
          f"statuses {dict(found.statuses)}", flush=True)


def soak(folder: Path, requests: Sequence[bytes], name: str, options: Sequence[str], total: int = 10_000) -> None:
    """Many requests, and memory on the way."""
    with serving(folder, *options) as server:
        sizes, statuses = [], Counter[int]()
        for _ in range(10):
            found = asyncio.run(closed_loop(server.port, requests, total // 10))
            statuses += found.statuses
            sizes.append(server.rss())
    print(f"{name}: {total:,} requests from {CLIENTS} clients, statuses {dict(statuses)}; RSS after each tenth "
          f"{' '.join(f'{size:.0f}' for size in sizes)} MB", flush=True)


def hostile(folder: Path, name: str, options: Sequence[str], columns: dict[str, str]) -> None:
    """Malformed uploads."""
    from malformed import malformed
    from test_serving_hostile import statuses_of

    with serving(folder, *options) as server:
        before = server.rss()
        started = time.perf_counter()
        statuses = statuses_of(server.address, malformed(columns, 500))
        print(f"{name}: 500 malformed uploads in {time.perf_counter() - started:.0f} s, statuses "
              f"{dict(sorted(statuses.items()))}; RSS {before:.0f} → {server.rss():.0f} MB", flush=True)


def slow(folder: Path, requests: Sequence[bytes], name: str, options: Sequence[str]) -> None:
    """Twenty clients that send half of a request and then nothing, beside others."""
    async def both(port: int) -> tuple[Run, Run]:
        alone = await closed_loop(port, requests, 300, clients=4)
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        for number, (_, writer) in enumerate(idle):
            writer.write(requests[number][: len(requests[number]) // 2])
        beside = await closed_loop(port, requests, 300, clients=4)
        for _, writer in idle:
            writer.close()
        return alone, beside

    with serving(folder, *options) as server:
        asyncio.run(closed_loop(server.port, requests, 100, clients=4))
        alone, beside = asyncio.run(both(server.port))
    print(f"{name}: p99 {alone.quantile(0.99):.0f} ms alone, {beside.quantile(0.99):.0f} ms beside 20 slow clients",
          flush=True)


def sigterm(folder: Path, requests: Sequence[bytes], name: str, options: Sequence[str]) -> None:
    """SIGTERM while 50 clients ask."""
    for _ in range(3):
        with serving(folder, *options) as server:
            asyncio.run(closed_loop(server.port, requests, 200))
            found = asyncio.run(until_the_end(server.port, requests, server.terminate, 2.0))
            code = server.process.wait(60)
        print(f"{name}: SIGTERM under load: {found.statuses.total()} answered, statuses {dict(found.statuses)}, "
              f"{found.lost} lost; exit status {code}", flush=True)


def schemathesis(folder: Path, name: str, options: Sequence[str]) -> None:
    """Its checks on the OpenAPI document."""
    with serving(folder, *options) as server:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.address}/openapi.json",
             "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
             "response_schema_conformance", "--max-examples", "100", "--seed", "1"],
            capture_output=True, text=True, check=False)
    print(f"{name}: schemathesis exit status {done.returncode}: {' '.join(done.stdout.split()[-40:])}", flush=True)


def trained(runs: Path, name: str, *words: str) -> Path:
    """The folder of a model; trained for two minutes where it is not there."""
    folder = runs / name
    if not folder.exists():
        subprocess.run([sys.executable, "-m", "sensorium.cli.main", "train", *words, "--minutes", "2", "--out",
                        str(folder)], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return folder


def main() -> None:
    """Everything, or the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--total", type=int, default=2000, help="requests of a round")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--models", default="avdigits,minilm")
    parser.add_argument("--onnx", type=Path, help="an exported folder of the first model, to be served instead")
    given = parser.parse_args()
    parts, data = given.only.split(","), given.data
    models: dict[str, tuple[Path, list[bytes]]] = {}
    if "avdigits" in given.models:
        folder = given.onnx or trained(given.runs, "avdigits", str(data / "avdigits" / "train.csv"), "--target",
                                       "digit", "--ignore", "speaker")
        models["avdigits"] = folder, digit_requests(data)
    if "minilm" in given.models:
        folder = trained(given.runs, "minilm", str(data / "easy_vqa" / "train.csv"), "--inputs", "question", "--target",
                         "answer", "--encoder", f"question={data / 'weights_minilm_l6'}")
        models["minilm"] = folder, question_requests(data)
    for name, (folder, requests) in models.items():
        options = ["--onnx"] if given.onnx is not None and name == "avdigits" else []
        rate = 100.0
        if "throughput" in parts or "latency" in parts:
            rate = throughput(folder, requests, name, options, given.total)
        if "latency" in parts:
            latency(folder, requests, name, options, rate)
        if "soak" in parts:
            soak(folder, requests, name, options)
        if "slow" in parts:
            slow(folder, requests, name, options)
        if "sigterm" in parts:
            sigterm(folder, requests, name, options)
        if name == "avdigits" and "hostile" in parts:
            hostile(folder, name, options, {"image": "image", "audio": "audio"})
        if name == "avdigits" and "schemathesis" in parts:
            schemathesis(folder, name, options)


if __name__ == "__main__":
    main()
