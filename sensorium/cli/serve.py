"""`sensorium serve`: a trained model behind HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sensorium.serving.limits import Limits


def serve(
    run: Annotated[Path, typer.Argument(help="A model folder; with --onnx, an exported one.")],
    index: Annotated[Path | None, typer.Option(help="An index to search (sensorium index).")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Answer by onnxruntime, without torch.")] = False,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 is everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 is any free one.", min=0, max=65535)] = 8000,
    page: Annotated[bool, typer.Option("--page/--no-page", help="The page for a browser, where gradio is "
                                                              "installed.")] = True,
    api_key: Annotated[str | None, typer.Option("--api-key", help="Requests need this key. Other users may see it "
                                                                  "here: SENSORIUM_API_KEY or a file hide it.")] = None,
    api_key_file: Annotated[Path | None, typer.Option("--api-key-file", help="The same from a file, a key a "
                                                                             "line.")] = None,
    max_batch: Annotated[int, typer.Option("--max-batch", help="Rows that the model reads together.")] = 64,
    max_wait_ms: Annotated[float, typer.Option("--max-wait-ms", help="How long a request waits for others.")] = 5.0,
    queue: Annotated[int, typer.Option(help="Requests that may wait; more get 503.")] = 256,
    max_body_mb: Annotated[float, typer.Option("--max-body-mb", help="Megabytes of one request.")] = 32.0,
    max_rows: Annotated[int, typer.Option("--max-rows", help="Rows of one request.")] = 256,
    max_pixels: Annotated[int, typer.Option("--max-pixels", help="Pixels of one picture or frame.")] = 40_000_000,
    max_seconds: Annotated[float, typer.Option("--max-seconds", help="Seconds of one sound or video.")] = 600.0,
    max_made: Annotated[int, typer.Option("--max-made", help="Pictures or texts that one request has made.")] = 16,
    timeout: Annotated[float, typer.Option(help="Seconds until a request that is not answered is given up.")] = 60.0,
    upload_timeout: Annotated[float, typer.Option("--upload-timeout", help="Seconds that a body may take to "
                                                                           "arrive.")] = 30.0,
    decoders: Annotated[int, typer.Option(help="Processes that decode media.")] = 4,
    threads: Annotated[int, typer.Option(help="Threads of the model.")] = 1,
    grace: Annotated[float, typer.Option(help="Seconds between SIGTERM and the end of listening.")] = 1.0,
) -> None:
    """Serve a model: an HTTP API with its own documentation at /docs, and a page for people.

    Example: [bold]sensorium serve runs/species --port 8000[/bold]
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")  # of 1,024 shapes it takes 100 MB, bit by bit
    from sensorium.errors import RecipeError
    from sensorium.serving.keys import read_keys
    from sensorium.serving.limits import Limits

    if api_key is not None and api_key_file is not None:
        raise RecipeError("--api-key and --api-key-file: one of them")
    if threads < 1:
        raise RecipeError(f"--threads: expected at least 1, found {threads}")
    keys = read_keys(api_key, api_key_file)
    limits = Limits(body_mb=max_body_mb, reading_mb=8 * max_body_mb, rows=max_rows, pixels=max_pixels,
                    seconds=max_seconds, made=max_made, queue=queue, decoding=decoders, batch=max_batch,
                    wait_ms=max_wait_ms, patience_s=timeout, upload_s=upload_timeout)
    _serve(run, index, limits, keys, onnx=onnx, host=host, port=port, page=page, threads=threads, grace=grace)


def _serve(
    run: Path, index: Path | None, limits: Limits, keys: list[str], *, onnx: bool, host: str, port: int, page: bool,
    threads: int, grace: float,
) -> None:
    from sensorium.errors import SensoriumError

    try:
        from sensorium.serving import running
        from sensorium.serving.app import make_app
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "sensorium":
            raise
        raise SensoriumError(f'serving needs {error.name}: pip install "sensorium[serve]"') from error
    from sensorium.serving.engine import open_engine
    from sensorium.serving.indexed import open_index
    from sensorium.serving.logs import log_to_stderr
    from sensorium.serving.service import Service

    if not onnx:
        import torch

        torch.set_num_threads(threads)
    engine = open_engine(run, onnx=onnx, threads=threads)
    service = Service(engine, None if index is None else open_index(index, engine), limits)
    log_to_stderr()
    app = make_app(service, page=page, api_key=keys)
    if not keys and host not in ("127.0.0.1", "localhost", "::1"):
        typer.echo("no API key: everybody who reaches this address may ask (--api-key-file)", err=True)
    running.run(app, service, host=host, port=port, grace_s=grace,
                started=lambda address: typer.echo(f"{engine.identity.id} {engine.identity.version} at {address}"))
