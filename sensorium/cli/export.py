"""`sensorium export`: a model as ONNX graphs that run without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.options import Json, Outside, print_json


def export(
    run: Annotated[Path, typer.Argument(help="A model folder.")],
    onnx: Annotated[Path, typer.Option("--onnx", help="The folder to write.")],
    rows: Annotated[Path | None, typer.Option("--rows", help="A table on whose rows the graphs are compared with "
                                                            "torch; the training table by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an exported folder that is there.")] = False,
    allow_outside: Outside = False,
    json: Json = False,
) -> None:
    """Write a model as ONNX graphs, with the preprocessing of pictures, sounds and tables in them.

    The graphs are compared with torch on every subset of the modalities; where they differ by more than 1e-4 nothing is
    written. The folder is read by `sensorium predict`, `sensorium serve --onnx` and `sensorium.runtime.Runtime`, which
    need no torch: [bold]pip install 'sensorium\\[runtime]'[/bold].

    Example: [bold]sensorium export runs/species --onnx out[/bold]
    """
    from sensorium.exporting.writing import export_model
    from sensorium.model import Model
    from sensorium.training.console import Terminal

    console = Terminal()
    model = Model.load(run)
    written = export_model(model, onnx, rows=rows, name=run.resolve().name, allow_outside=allow_outside,
                           overwrite=overwrite, say=console.say)
    for note in written.notes:
        console.say(note)
    parity = written.parity
    if json:
        print_json({"folder": str(written.folder), "bytes": written.sizes, "parity": parity.to_json(),
                    "notes": list(written.notes)})
        return
    console.say(f"{sum(written.sizes.values()) / 1e6:.1f} MB in {len(written.sizes)} files: {written.folder}")
    console.say(f"at most {parity.largest:.1e} from torch in {parity.numbers:,} numbers: {parity.subsets} subsets of "
                f"{' and '.join(parity.rows)}")
