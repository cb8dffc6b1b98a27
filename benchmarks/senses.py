"""Every encoder from scratch on its planted task of the scene world, beside the exact Bayes rate.

Each modality of the world `senses` shows two bits of a scene with planted noise; the target is the pair of them. One
model a modality and encoder, on that modality alone.

    python benchmarks/senses.py [--rows 3000] [--test-rows 4000] [ENCODER …]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from sensorium.data.read import read
from sensorium.demo import PLANS, write_world
from sensorium.encoders import ENCODERS
from sensorium.evaluation.evaluate import evaluate
from sensorium.recipe import Recipe
from sensorium.training.console import Quiet
from sensorium.training.fit import fit

KINDS = {"image": "image", "sound": "audio", "video": "video", "motion": "series", "returns": "points"}


def main() -> None:
    """Print a line an encoder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("encoders", nargs="*", help="all where none is named")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--test-rows", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = write_world(Path(folder), plan="senses", rows=given.rows, test_rows=given.test_rows)
        print("| encoder | modality | accuracy | Bayes rate | difference | seconds |\n" + 6 * "|---" + "|", flush=True)
        for modality in PLANS["senses"].modalities:
            for name in ENCODERS[KINDS[modality]]:
                if given.encoders and name not in given.encoders:
                    continue
                started = time.monotonic()
                recipe = Recipe().changed("model", encoders={modality: {"name": name}})
                recipe = recipe.changed("training", epochs=given.epochs, seed=given.seed, refit="never")
                model = fit(read(world.train, targets=world.target, inputs=world.columns[modality]), recipe,
                            console=Quiet())
                accuracy = evaluate(model, world.test).as_found[0].metrics["accuracy"].value
                complete = evaluate(model, world.test).subsets[0].metrics["accuracy"].value
                bayes = world.ceilings[modality]
                print(f"| {name} | {modality} | {complete:.3f} (as found {accuracy:.3f}) | {bayes:.3f} | "
                      f"{complete - bayes:+.3f} | {time.monotonic() - started:.0f} |", flush=True)


if __name__ == "__main__":
    main()
