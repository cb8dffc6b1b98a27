"""`sensorium demo`: the scene world, generated, learnt and explained, without any download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.options import Json, print_json


def demo(
    folder: Annotated[Path, typer.Option(help="Where to write the world and the model.")] = Path("runs/demo"),
    rows: Annotated[int, typer.Option(help="Training rows to generate.")] = 3000,
    seed: Annotated[int, typer.Option(help="Of the world and of the training.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Passes over the rows.")] = None,
    json: Json = False,
) -> None:
    """Generate a synthetic world of pictures, sounds, captions and tables; train, evaluate and report on it.

    The world's ceiling is known exactly for every subset of modalities, so one sees how much a model misses.

    Example: [bold]sensorium demo[/bold]
    """
    import shutil
    import time

    from sensorium.data.read import read
    from sensorium.demo import World, write_world
    from sensorium.evaluation.evaluate import evaluate
    from sensorium.evaluation.report import write_report
    from sensorium.evaluation.words import aligned, score_lines
    from sensorium.recipe import Recipe
    from sensorium.training.console import Terminal
    from sensorium.training.fit import fit

    started = time.monotonic()
    console = Terminal()
    if (folder / "world" / "world.json").exists():
        shutil.rmtree(folder / "world")
    world: World = write_world(folder / "world", rows=rows, seed=seed)
    console.say(f"a synthetic world of {world.rows} training and {world.test_rows} test scenes: {folder / 'world'}")
    data = read(world.train, targets=world.target)
    for line in str(data).splitlines()[1:]:
        console.say(line)
    recipe = Recipe().changed("training", epochs=epochs or DEMO_EPOCHS, refit="never", seed=seed)
    model = fit(data, recipe, console=console)
    evaluation = evaluate(model, world.test, baselines=True)
    report = write_report(model, evaluation, title="The scene world",
                          about=f"{evaluation.rows:,} synthetic test scenes whose ceilings are known")
    saved = model.save(folder / "model", report=report, overwrite=True)
    for line in score_lines(evaluation):
        console.say(line)
    table = [["modalities", "accuracy", "ceiling"]]
    for score in evaluation.subsets:
        ceiling = world.ceilings["+".join(world_names(score.modalities, world))]
        table.append([" + ".join(score.modalities), f"{score.metrics['accuracy'].value:.3f}", f"{ceiling:.3f}"])
    accuracy = evaluation.subsets[-1].metrics["accuracy"].value
    closed = (accuracy - world.best_single) / (world.full - world.best_single)
    finding = (f"the best single modality could reach {world.best_single:.3f}, all together {world.full:.3f}; the "
               f"model reaches {accuracy:.3f}: it closes {closed:.0%} of the gap")
    for line in ["", *aligned(table), "", finding,
                 f"report: {saved / 'report.html'}", f"done in {time.monotonic() - started:.0f} s"]:
        console.say(line)
    if json:
        print_json({"world": world.to_json(), "model": str(saved), "report": str(saved / "report.html"),
                    "gap_closed": closed, "evaluation": evaluation.to_json()})


DEMO_EPOCHS = 14


def world_names(modalities: tuple[str, ...], world: object) -> list[str]:
    """The modalities in the order in which the world names its ceilings."""
    from sensorium.demo import World

    assert isinstance(world, World)
    return [name for name in world.columns if name in modalities]
