"""Questions about pictures, typed or spoken, answered with what they were read from.

    python examples/question_answering.py

The world is synthetic (`sensorium.demo`): one or two coloured shapes in a picture, ten types of questions, 19 answers.
A third of the rows has its question typed and spoken, a third typed alone, a third spoken alone; one model learns both.
What the question alone tells is the floor that every answerer of questions has to be seen against. Takes six minutes on
two cores, which give .60 right where .28 is the floor; longer trainings give more.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np

import sensorium as sm
from sensorium.demo import write_qa

RECIPE = sm.Recipe.from_yaml("""
objectives:
  answer: {question: [question, spoken]}    # one of them must be there, in training and in use
model:
  fusion: low_rank                          # an answer is told by products of what is asked and what is seen
training:
  batch_size: 64
  refit: never                              # half the time; the model keeps to 80 % of the rows
""")
ASKED = ("question", "spoken")


def main() -> None:
    """Train, count right answers by how the question was asked, show what three answers were read from."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=12000, help="training rows")
    parser.add_argument("--test-rows", type=int, default=600, help="rows of each test table")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("questions"), help="a folder for the world and the model")
    given = parser.parse_args()

    world = write_qa(given.out / "world", rows=given.rows, test_rows=given.test_rows, most=2)
    model = sm.fit(sm.read(world.table(), targets="answer"), RECIPE.changed("training", epochs=given.epochs))

    for split, what in (("test_seen", "combinations seen in training"), ("test", "combinations never seen")):
        rows = _rows(world.table(split))
        print(f"\n{what}, {len(rows)} questions about new pictures")
        for asked in ASKED:
            print(f"  {asked:9}", ", ".join([_right(model, rows, world.folder, [asked, "picture"]),
                                             f"without the picture {_right(model, rows, world.folder, [asked])}"]))
        print(f"  the most frequent answer to the same words: {world.question_only[split]:.3f}")

    print("\nwhat answers were read from:")
    typed = [row for row in _rows(world.table("test_seen")) if row["question"] and row["spoken"]]
    for row in typed[:3]:
        about = {"picture": str(world.folder / row["picture"])}
        answer = model.ask(row["question"], about, explain=True)
        aloud = model.ask(world.folder / row["spoken"], about)
        bits = ", ".join(f"{name} {share:+.1f} bits" for name, share in (answer.contributions or {}).items())
        print(f"  {row['picture']}, {row['question']} {answer.value} ({answer.probability:.0%}; true: {row['answer']}; "
              f"asked aloud: {aloud.value})\n    {bits}; in the picture mostly at {_where(model, row, about)}")
    print(f"\nmodel: {model.save(given.out / 'model', overwrite=True)}")


def _right(model: sm.Model, rows: list[dict[str, str]], root: Path, read: list[str]) -> str:
    """The share of right answers where only these modalities are read, over the rows that have the question so."""
    some = [row for row in rows if row[read[0]]]
    answers = model.predict([{name: row[name] for name in read} for row in some], root=root)
    return f"{np.mean([own['answer'].value == row['answer'] for own, row in zip(answers, some, strict=True)]):.3f}"


def _where(model: sm.Model, row: dict[str, Any], about: dict[str, str]) -> str:
    """The point of the picture, in percent from its upper left corner, around which lies what spoke for the answer."""
    told = sm.attribute(model, {**about, "question": row["question"]}).tokens["picture"]
    weights = np.maximum(told.values, 1e-9)
    x, y = (np.average((told.span[:, low] + told.span[:, low + 2]) / 2, weights=weights) for low in (0, 1))
    return f"{x:.0%} from the left, {y:.0%} from the top"


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
