"""`sensorium demo`: synthetic worlds without any download: scenes, learnt and explained; objects, to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.options import Json, print_json
from sensorium.errors import RecipeError, unknown_name

WORLDS = ("scenes", "generation", "qa")
DEMO_EPOCHS = 14
DEMO_ROWS = 3000
OBJECT_ROWS = 4000
OBJECT_TEST_ROWS = 400


def demo(
    world: Annotated[str, typer.Argument(
        help="scenes: written, trained on, evaluated and reported; generation (pictures with captions) and qa "
             "(questions about pictures, typed and spoken): written, to train on.")] = "scenes",
    folder: Annotated[Path | None, typer.Option(
        "--folder", "--out", help="Where to write the world and, of scenes, the model; runs/demo, runs/generation or "
                                  "runs/qa.")] = None,
    rows: Annotated[int | None, typer.Option(help=f"Training rows: {DEMO_ROWS:,}, of objects {OBJECT_ROWS:,}.")] = None,
    seed: Annotated[int, typer.Option(help="Of the world and of the training.")] = 0,
    epochs: Annotated[int | None, typer.Option(help="Passes over the rows (scenes).")] = None,
    test_rows: Annotated[int | None, typer.Option(help="Rows of each test table (generation, qa).")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side: 32, 64 or 128 (generation, qa).")] = None,
    objects: Annotated[int | None, typer.Option(
        help="Objects in a picture at most, 1…3: 1 of generation, 3 of qa.")] = None,
    json: Json = False,
) -> None:
    """Write a synthetic world: scenes to train on and report at once, or objects to generate and to ask about.

    The ceiling of the scenes is known exactly for every subset of modalities, so one sees how much a model misses.
    Of the objects, twenty combinations of colour, shape and place are held out.

    Example: [bold]sensorium demo[/bold] · [bold]sensorium demo generation --out world --size 64[/bold]
    """
    if world not in WORLDS:
        raise unknown_name("world", world, list(WORLDS))
    if world == "scenes":
        foreign = {"--test-rows": test_rows, "--size": size, "--objects": objects}
    else:
        foreign = {"--epochs": epochs}
    for option, value in foreign.items():
        if value is not None:
            raise RecipeError(f"sensorium demo {world} has no {option}: leave it out")
    if world == "scenes":
        _scenes(folder or Path("runs/demo"), DEMO_ROWS if rows is None else rows, seed, epochs, json=json)
        return
    _objects(world, folder or Path("runs") / world, rows=OBJECT_ROWS if rows is None else rows,
             test_rows=OBJECT_TEST_ROWS if test_rows is None else test_rows, size=32 if size is None else size,
             objects=objects, seed=seed, json=json)


def _objects(
    about: str, folder: Path, *, rows: int, test_rows: int, size: int, objects: int | None, seed: int, json: bool,
) -> None:
    """Write a world of objects and say how to train on it."""
    from sensorium.demo import write_generation, write_qa
    from sensorium.training.console import Terminal

    write, usual = {"generation": (write_generation, 1), "qa": (write_qa, 3)}[about]
    world = write(folder, rows=rows, test_rows=test_rows, size=size, seed=seed,
                  most=usual if objects is None else objects)
    console = Terminal()
    for line in [
        f"a synthetic world of coloured shapes ({', '.join(world.columns)}; {world.size} px): {world.folder}",
        f"  {world.table('train').name}: {world.rows:,} rows",
        f"  {world.table('test_seen').name}: {world.test_rows:,} new rows of the same combinations",
        f"  {world.table('test').name}: {world.test_rows:,} rows of the combinations that training never shows",
        "  *_truth.csv: what is true of each row, for judging; not an input",
        *(f"  {split}.csv: {share:.1%} right for whoever reads the question alone"
          for split, share in world.question_only.items()),
        f"next: sensorium train {folder / 'train.csv'} {NEXT[about]}",
    ]:
        console.say(line)
    if json:
        print_json(world.to_json())


NEXT = {"generation": "--recipe recipes/generation.yaml",
        "qa": "--target answer --recipe recipes/qa.yaml --objective answer.question=question+spoken"}
"""How each world of objects is trained on."""


def _scenes(folder: Path, rows: int, seed: int, epochs: int | None, *, json: bool) -> None:
    """Generate the scene world; train, evaluate and report on it."""
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


def world_names(modalities: tuple[str, ...], world: object) -> list[str]:
    """The modalities in the order in which the world names its ceilings."""
    from sensorium.demo import World

    assert isinstance(world, World)
    return [name for name in world.columns if name in modalities]
