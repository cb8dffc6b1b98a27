"""`sensorium`: the verbs, and how errors reach a person. Imports no torch."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from sensorium.cli import (
    ask,
    cache,
    compare,
    demo,
    evaluate,
    export,
    generate,
    index,
    inspect,
    predict,
    search,
    serve,
    train,
)

app = typer.Typer(
    name="sensorium", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="One model for everything you know about a sample: any subset of modalities in, any answer out.")
app.command("inspect")(inspect.inspect)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("predict")(predict.predict)
app.command("index")(index.index)
app.command("search")(search.search)
app.command("generate")(generate.generate)
app.command("ask")(ask.ask)
app.command("demo")(demo.demo)
app.command("serve")(serve.serve)
app.command("export")(export.export)
app.command("cache")(cache.cache)


def main() -> None:
    """Run the command line; what a user caused is one line on standard error and exit status 2."""
    prepare_threads()
    from sensorium.errors import SensoriumError

    try:
        app()
    except SensoriumError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ModuleNotFoundError as error:
        from sensorium.errors import install_command

        if error.name is None or error.name.partition(".")[0] == "sensorium":
            raise
        _fail(install_command(error.name), 2)
    except OSError as error:  # a folder that cannot be written to, a full disk
        if error.filename is None:
            raise
        _fail(f"cannot use {str(error.filename)!r}: {error.strerror or error}", 2)


def prepare_threads() -> None:
    """Settings that must be there before torch is imported: idle threads sleep soon instead of spinning.

    Spinning OpenMP threads make small operations 10–60 times slower as soon as another process wants the cores.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _fail(message: str, status: int) -> NoReturn:
    print(f"sensorium: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
