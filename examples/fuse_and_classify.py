"""Several modalities, one answer: attention fusion, optimised jointly, and what each modality is worth.

    python examples/fuse_and_classify.py ../shared/data/avdigits --group speaker

The folder holds train.csv and test.csv, tables whose cells name pictures or sounds, or are texts or numbers. Here the
digit is read from a blurred picture and from the voice of somebody who was not heard in training. With --minutes 3 all
of it, decoding and evaluation included, takes less than 4 minutes on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import sensorium as sm

RECIPE = sm.Recipe().changed("model", fusion="attention").changed(
    "training",
    singles=True,  # in every step each row is also answered from one modality alone, so that no encoder starves
    ogm_ge=0.3,  # and a modality that learns faster than the others is slowed
    weighting="uncertainty",  # losses (one here, one a target where there are several) weigh themselves
)


def main() -> None:
    """Train, evaluate on every subset of the modalities, explain one answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="digit")
    parser.add_argument("--group", help="the column whose equal values stay together when rows are split")
    parser.add_argument("--ignore", nargs="*", default=[], help="columns to leave out")
    parser.add_argument("--minutes", type=float, default=3.0, help="for training")
    given = parser.parse_args()
    for name in ("train.csv", "test.csv"):
        if not (given.folder / name).is_file():
            parser.exit(1, f"{given.folder / name} is not here: give a folder with train.csv and test.csv\n")

    data = sm.read(given.folder / "train.csv", targets=given.target, group=given.group, ignore=given.ignore)
    model = sm.fit(data, RECIPE.changed("training", minutes=given.minutes))
    found = sm.evaluate(model, given.folder / "test.csv")

    metric = found.fusion[0].metric
    print(f"\n{given.target}: {metric.replace('_', ' ')} from every subset, on {found.rows:,} new rows")
    for score in found.subsets:
        value = score.metrics[metric]
        print(f"  {' + '.join(score.modalities):24} {value.value:.3f} ({value.low:.3f} to {value.high:.3f})")
    print(f"\n{found.fusion[0].sentence}")
    for modality, bits in found.contributions[given.target].items():
        print(f"  {modality} contributes {bits.value:+.2f} ({bits.low:+.2f} to {bits.high:+.2f})")

    first = sm.read(given.folder / "test.csv").table.frame.row(0, named=True)
    row = {column: value for modality in model.schema.modalities for column, value in first.items()
           if column in modality.columns}
    answer = model.predict(row, explain=True, root=given.folder)[given.target]
    print(f"\nthe first row of test.csv is {first[given.target]!r}; answered: {answer.value!r}, of which",
          ", ".join(f"{name} {share:+.2f}" for name, share in (answer.contributions or {}).items()))


if __name__ == "__main__":
    main()
