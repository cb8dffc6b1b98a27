"""Guarded decoding: one cell's crash, hang or hunger is its own, results keep their order, no process is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hostile import HarmfulKind

from sensorium.data.decoding import decoder, limits, workers
from sensorium.data.decoding.workers import Refused, decode_guarded, decode_one
from sensorium.data.kinds import ImageKind

KIND = HarmfulKind()
posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no limits")


def _decoded(sources: list[Any], num_workers: int = 2, **limits: Any) -> list[Any]:
    return list(decode_guarded(KIND, sources, num_workers, **limits))


def test_results_come_in_order_whatever_the_workers() -> None:
    sources = [str(number) for number in range(700)]
    assert _decoded(sources) == _decoded(sources, 1) == list(range(700))
    assert _decoded([]) == [] and _decoded(["5"], 3) == [5]


@posix
def test_a_cell_that_ends_its_process_is_refused_and_the_others_are_not() -> None:
    harm = {"segfault": "the decoder crashed (signal 11)", "exit 3": "the decoder crashed (exit code 3)",
            "spin": "took more than 0.2 s to decode", "sleep 99": "took more than 0.2 s to decode",
            "swallow 700": "needs more than 512 MB of memory to decode", "hide": "needs more than 512 MB of memory",
            "bad reason": "reason", "raise x": "the decoder failed (KeyError: 'x')"}
    sources = [str(number) for number in range(200)]
    for place, word in enumerate(harm):
        sources[7 + 20 * place] = word
    found = _decoded(sources, seconds=0.2)
    for number, result in enumerate(found):
        if sources[number] in harm:
            assert isinstance(result, Refused) and harm[sources[number]] in result.reason, (sources[number], result)
        else:
            assert result == number


@posix
def test_memory_is_judged_in_a_fresh_process(tmp_path: Path) -> None:
    assert _decoded(["swallow 300"] * 3) == [300 << 20] * 3
    found = _decoded(["1", "keep 200", "swallow 400", "swallow 600", "5"], 1)
    assert found[:3] == [1, "keep", 400 << 20] and isinstance(found[3], Refused) and found[4] == 5


@posix
def test_one_harm_after_the_other() -> None:
    sources = ["segfault", "exit 1", "1", "segfault", "2"]
    assert [isinstance(result, Refused) for result in _decoded(sources)] == [True, True, False, True, False]


def test_a_crash_that_does_not_happen_again_is_forgiven(tmp_path: Path) -> None:
    sources = ["1", f"once {tmp_path / 'marker'}", "3"]
    assert _decoded(sources, 1) == [1, "once", 3]


def test_a_mistake_in_a_kind_is_an_error_not_a_refused_cell() -> None:
    with pytest.raises(RuntimeError, match=r"decoding harmful cells failed: AssertionError: a kind that is broken"):
        list(decode_guarded(HarmfulKind(broken=True), ["1"] * 9, 2))
    assert _decoded(["4"]) == [4]


def test_processes_that_never_start_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "serve", os.abort)
    monkeypatch.setattr(workers, "_IDLE", {})
    with pytest.raises(RuntimeError, match="end as soon as they are started"):
        _decoded(["1"])


def test_workers_import_no_torch_and_are_used_again() -> None:
    modules = _decoded(["modules"], 1)[0]
    assert "sensorium.data.kinds" in modules
    assert not {"torch", "transformers", "pandas", "matplotlib", "scipy"} & set(modules)
    assert _decoded(["pid"], 1) == _decoded(["pid"], 1) != [os.getpid()]


def test_an_idle_worker_ends_by_itself_and_a_dead_one_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    pid = _decoded(["pid"], 1)[0]
    os.kill(pid, signal.SIGKILL)
    assert _decoded(["pid"], 1)[0] != pid
    monkeypatch.setattr(workers, "_IDLE", {})
    served: list[Any] = []
    monkeypatch.setattr(decoder, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(decoder, "retire_from_terminal", lambda: served.append(time.monotonic()))
    from multiprocessing import Pipe

    ours, theirs = Pipe()
    thread = threading.Thread(target=decoder.serve, args=(theirs, theirs))
    thread.start()
    thread.join(timeout=5)
    assert served and not thread.is_alive()
    ours.close()
    theirs.close()


def test_several_calls_at_once_and_one_that_is_left_half_way() -> None:
    first, second = (decode_guarded(KIND, [str(n) for n in range(300)], 1) for _ in range(2))
    assert list(zip(first, second, strict=True)) == [(n, n) for n in range(300)]
    found: dict[int, list[Any]] = {}
    threads = [threading.Thread(target=lambda k=k: found.update({k: _decoded([str(n) for n in range(k, 200)])}))
               for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {k: list(range(k, 200)) for k in range(3)}
    half = decode_guarded(KIND, ["pid", "sleep 0.03", *["sleep 60"] * 10], 1)
    pid = next(half)
    half.close()
    _wait_until_gone(pid)
    assert _decoded(["6"]) == [6]


def test_large_cells_and_large_results() -> None:
    assert _decoded([bytes(3 << 20)] * 6 + ["7"]) == [3 << 20] * 6 + [7]
    arrays = _decoded(["array 2000"] * 20)
    assert all(array.shape == (2000, 1024) and (array == 7).all() for array in arrays)
    jobs = workers._jobs([b"x" * (5 << 20)] * 4 + ["a"] * 200, 1)
    assert [(job.first, job.stop) for job in jobs[:4]] == [(0, 1), (1, 2), (2, 3), (3, 54)]
    assert all(a.stop == b.first for a, b in pairwise(jobs)) and jobs[-1].stop == 204


@posix
def test_nothing_of_a_decoder_reaches_the_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "_IDLE", {})  # a new process, which has this test's terminal
    assert _decoded(["shout", "shout"]) == ["shout", "shout"]
    assert capfd.readouterr() == ("", "")


def test_time_grows_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(3 << 20))
    assert limits.allowed_seconds(str(tmp_path / "large")) == 5.0
    assert limits.allowed_seconds("no such file") == limits.allowed_seconds(None) == 2.0
    assert limits.allowed_seconds(bytes(99 << 20)) == 60.0 and limits.allowed_seconds(b"", 90.0) == 90.0


def test_one_cell_in_this_process() -> None:
    assert decode_one(KIND, "5") == 5 and decode_one(KIND, "bad words") == Refused("words")
    long = decode_one(KIND, "bad " + "name\n" * 999 + "of a column")
    assert isinstance(long, Refused) and "\n" not in long.reason and len(long.reason) < 300
    assert long.reason.startswith("name name") and long.reason.endswith("of a column")
    assert decode_one(KIND, "raise x") == Refused("the decoder failed (KeyError: 'x')")
    with pytest.raises(AssertionError):
        decode_one(HarmfulKind(broken=True), "5")


def test_pictures_are_the_same_as_in_this_process(tmp_path: Path) -> None:
    from PIL import Image

    kind = ImageKind(height=8, width=8, channels=3)
    sources = []
    for number in range(80):
        pixels = np.random.default_rng(number).integers(0, 256, (11, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        sources.append(str(tmp_path / f"{number}.png"))
    (tmp_path / "5.png").write_bytes(b"")
    results = list(decode_guarded(kind, sources, 2))
    assert results[5] == Refused("empty file (0 bytes)")
    for number in (0, 1, 63, 64, 79):
        np.testing.assert_array_equal(results[number], kind.decode(sources[number]))


SCRIPT = """
import os, sys, time
print("script", flush=True)
from hostile import HarmfulKind
from sensorium.data.decoding.workers import decode_guarded
results = decode_guarded(HarmfulKind(), ["pid", "sleep 0.03", *["sleep 60"] * 20], 2, seconds=0.2)
print(next(results), flush=True)
next(results)
{ending}
"""


@posix
@pytest.mark.parametrize("ending", ["leave", "interrupt", "kill"])
def test_no_process_is_left_over_and_the_script_is_not_run_again(tmp_path: Path, ending: str) -> None:
    lines = {"leave": "", "interrupt": "next(results)", "kill": "os.kill(os.getpid(), 9)"}
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(SCRIPT).format(ending=lines[ending]))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    script = subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=environment, start_new_session=True)
    assert script.stdout is not None
    assert script.stdout.readline() == "script\n"
    pid = int(script.stdout.readline())
    if ending == "interrupt":
        time.sleep(0.1)
        os.killpg(script.pid, signal.SIGINT)
    output, errors = script.communicate(timeout=20)
    assert output == "" and errors.count("Traceback") == (ending == "interrupt"), errors
    _wait_until_gone(pid)


def _wait_until_gone(pid: int) -> None:
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} still runs")
