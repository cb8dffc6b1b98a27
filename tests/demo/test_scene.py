"""The scene world: keyed draws, exact ceilings, real files, and nothing that gives the label away."""

from __future__ import annotations

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sensorium.data.kinds import AudioKind, ImageKind, PointsKind, SeriesKind, VideoKind
from sensorium.demo import (
    HIDDEN,
    PLANS,
    SLOTS,
    Bit,
    Channel,
    Plan,
    Scenes,
    World,
    ceiling,
    ceiling_as_found,
    ceilings,
    chance,
    draw_scenes,
    film,
    information,
    posterior,
    render,
    sensors,
    write_world,
)
from sensorium.errors import DataError, RecipeError

SCENES = PLANS["scenes"]
SENSES = PLANS["senses"]
EVERYTHING = Plan("everything", (Bit("a"),), (), (("a",),), ("no", "yes"), modalities=tuple(SLOTS))


def _bytes_of(scenes: Scenes) -> dict[str, list[object]]:
    """What every modality makes of the scenes, row by row."""
    return {
        "image": [pixels.tobytes() for pixels in render.pictures(scenes)],
        "sound": [waveform.tobytes() for waveform in render.sounds(scenes)],
        "caption": list(render.captions(scenes)),
        "table": list(zip(*render.table_cells(scenes).values(), strict=True)),
        "video": [frames.tobytes() for frames in film.films(scenes)],
        "motion": [sensors.motion_csv(readings) for readings in sensors.motions(scenes)],
        "returns": [sensors.npy(cloud) for cloud in sensors.returns(scenes)],
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("world"), rows=60, test_rows=20, seed=3)


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def with_noise(plan: Plan, *, wrong: float, hidden: float) -> Plan:
    return replace(plan, channels=tuple(replace(c, wrong=wrong, hidden=hidden) for c in plan.channels))


def naive_ceiling(plan: Plan, subset: tuple[str, ...]) -> float:
    """The definition, by loops: sum over what is shown of the most probable class's joint probability."""
    channels = [c for c in plan.channels if c.modality in subset]
    total = 0.0
    for outcome in itertools.product((0, 1, HIDDEN), repeat=len(channels)):
        joint: dict[int, float] = {}
        for values in itertools.product((0, 1), repeat=len(plan.bits)):
            bits = {bit.name: value for bit, value in zip(plan.bits, values, strict=True)}
            p = 1.0
            for bit in plan.bits:
                p *= bit.share if bits[bit.name] else 1 - bit.share
            for channel, shown in zip(channels, outcome, strict=True):
                truth = sum(bits[name] for name in channel.bits) % 2
                seen = channel.wrong if shown != truth else 1 - channel.wrong
                p *= channel.hidden if shown == HIDDEN else (1 - channel.hidden) * seen
            label = int("".join(str(sum(bits[n] for n in names) % 2) for names in plan.target), 2)
            joint[label] = joint.get(label, 0.0) + p
        total += max(joint.values())
    return total


@pytest.mark.parametrize("name", sorted(PLANS))
def test_ceilings_equal_the_definition_by_loops(name: str) -> None:
    plan = PLANS[name]
    for subset in list(plan.subsets())[:10]:
        assert ceiling(plan, subset) == pytest.approx(naive_ceiling(plan, subset), abs=1e-12)


@pytest.mark.parametrize("name", sorted(PLANS))
def test_a_bayes_classifier_on_drawn_scenes_reaches_the_ceilings(name: str) -> None:
    plan = PLANS[name]
    scenes = draw_scenes(plan, range(20_000), seed=5)
    for subset in plan.subsets():
        rows = np.all([scenes.present[m] for m in subset], axis=0)
        right = (posterior(scenes, subset).argmax(axis=1) == scenes.classes)[rows]
        assert right.mean() == pytest.approx(ceiling(plan, subset), abs=4.5 * 0.5 / rows.sum() ** 0.5)
    as_found = (posterior(scenes).argmax(axis=1) == scenes.classes).mean()
    assert as_found == pytest.approx(ceiling_as_found(plan), abs=0.012)


def test_the_posterior_is_calibrated() -> None:
    scenes = draw_scenes(SCENES, range(20_000), seed=6)
    told = posterior(scenes, ["caption", "table"])
    sure = told.max(axis=1)
    right = told.argmax(axis=1) == scenes.classes
    for low, high in ((0.2, 0.45), (0.45, 0.7), (0.7, 1.0)):
        within = (sure >= low) & (sure < high)
        assert within.sum() > 1000
        assert right[within].mean() == pytest.approx(sure[within].mean(), abs=0.03)


def test_closed_forms_of_the_named_plans() -> None:
    redundant, xor = PLANS["redundant"], PLANS["xor"]
    assert ceiling(redundant, ["image"]) == pytest.approx(0.8)
    assert ceiling(redundant, ["image", "sound", "caption"]) == pytest.approx(0.8**3 + 3 * 0.8**2 * 0.2)
    assert ceiling(xor, ["image"]) == pytest.approx(0.5)
    assert ceiling(xor, ["sound"]) == pytest.approx(0.5)
    assert ceiling(xor, ["image", "sound"]) == pytest.approx(0.98**2 + 0.02**2)
    clean = with_noise(xor, wrong=0.0, hidden=0.0)
    told = [information(clean, subset) for subset in (["image"], ["sound"], ["image", "sound"])]
    assert told == pytest.approx([0.0, 0.0, 1.0], abs=1e-12)
    copied = with_noise(redundant, wrong=0.0, hidden=0.0)
    assert information(copied, ["image"]) == pytest.approx(information(copied, redundant.modalities)) == 1.0


@pytest.mark.parametrize("name", sorted(PLANS))
def test_limits_of_the_noise(name: str) -> None:
    plan = PLANS[name]
    assert ceiling(with_noise(plan, wrong=0.0, hidden=0.0), plan.modalities) == pytest.approx(1.0)
    for nothing in (with_noise(plan, wrong=0.5, hidden=0.0), with_noise(plan, wrong=0.0, hidden=1.0)):
        assert ceiling(nothing, plan.modalities) == pytest.approx(chance(plan)) == 1 / len(plan.labels)
        assert information(nothing, plan.modalities) == pytest.approx(0.0, abs=1e-12)
    assert ceiling(plan, ()) == pytest.approx(chance(plan))


@pytest.mark.parametrize("name", sorted(PLANS))
def test_more_modalities_never_lower_a_ceiling(name: str) -> None:
    plan = PLANS[name]
    known = {frozenset(subset): ceiling(plan, subset) for subset in plan.subsets()}
    for small, large in itertools.product(known, repeat=2):
        if small < large:
            assert known[small] <= known[large] + 1e-12


def test_the_default_plan_has_what_it_promises() -> None:
    known = ceilings(SCENES)
    assert 0.45 < max(known[m] for m in SCENES.modalities) < 0.6
    assert 0.9 < known["image+sound+caption+table"] < 0.95
    alone = information(SCENES, ["image"]) + information(SCENES, ["sound"])
    assert information(SCENES, ["image", "sound"]) > alone + 0.5, "synergy of picture and sound"
    both = information(SCENES, ["image"]) + information(SCENES, ["table"])
    assert information(SCENES, ["image", "table"]) < both - 0.1, "redundancy of picture and table"
    for modality in SCENES.modalities:
        rest = "+".join(m for m in SCENES.modalities if m != modality)
        assert known[rest] < known["image+sound+caption+table"] - 0.03, "every modality is needed"


def test_a_row_is_the_same_scene_however_many_are_drawn() -> None:
    many, few = draw_scenes(SCENES, range(50), seed=1), draw_scenes(SCENES, [40, 7], seed=1)
    for key, shown in few.shown.items():
        assert (many.shown[key][[40, 7]] == shown).all()
    other = draw_scenes(SCENES, range(50), seed=1, split="test")
    assert (other.classes != many.classes).any(), "the splits are different draws"
    many, few = draw_scenes(EVERYTHING, range(50), seed=1), draw_scenes(EVERYTHING, [40, 7], seed=1)
    rendered, again = _bytes_of(many), _bytes_of(few)
    assert set(rendered) == set(SLOTS)
    for modality, rows in again.items():
        assert rows == [rendered[modality][row] for row in (40, 7)]


def test_the_target_depends_on_the_rendering_through_the_slots_alone() -> None:
    scenes = draw_scenes(EVERYTHING, range(30), seed=2)
    turned = replace(scenes, bits=1 - scenes.bits, classes=1 - scenes.classes)
    assert _bytes_of(scenes) == _bytes_of(turned)


@pytest.mark.parametrize(("modality", "slot"), [(m, slot) for m, slots in SLOTS.items() for slot in slots])
def test_every_slot_is_visible_in_its_modality_and_in_no_other(modality: str, slot: str) -> None:
    scenes = draw_scenes(EVERYTHING, range(12), seed=4)
    drawn = [_bytes_of(replace(scenes, shown=scenes.shown | {(modality, slot): np.full(12, value)}))
             for value in (0, 1, HIDDEN)]
    for first, second in itertools.combinations(drawn, 2):
        for name in first:
            assert (first[name] != second[name]) == (name == modality)


def test_missing_shares_are_as_planted_and_independent_of_the_class() -> None:
    scenes = draw_scenes(SCENES, range(20_000), seed=8)
    for modality, share in SCENES.missing.items():
        gone = ~scenes.present[modality]
        assert gone.mean() == pytest.approx(share, abs=0.006)
        assert gone[scenes.classes < 4].mean() == pytest.approx(share, abs=0.009)


def test_a_written_world_is_the_same_bit_for_bit_and_row_for_row(world: World, tmp_path: Path) -> None:
    again = write_world(tmp_path / "again", rows=60, test_rows=20, seed=3)
    files = sorted(path.relative_to(world.folder) for path in world.folder.rglob("*") if path.is_file())
    assert files == sorted(p.relative_to(again.folder) for p in again.folder.rglob("*") if p.is_file())
    assert all((world.folder / f).read_bytes() == (again.folder / f).read_bytes() for f in files)
    fewer = write_world(tmp_path / "fewer", rows=9, test_rows=0, seed=3)
    assert read_table(fewer.train) == read_table(world.train)[:9]
    for path in fewer.folder.rglob("*.*g"):
        assert path.read_bytes() == (world.folder / path.relative_to(fewer.folder)).read_bytes()
    other = write_world(tmp_path / "other", rows=9, test_rows=0, seed=4)
    assert read_table(other.train) != read_table(fewer.train)


def test_files_are_readable_and_sized_as_said(world: World) -> None:
    import soundfile
    from PIL import Image

    rows = read_table(world.train) + read_table(world.test)
    assert len(rows) == 80
    assert list(rows[0]) == [*itertools.chain(*world.columns.values()), world.target]
    named = {row[column] for row in rows for column in ("image", "sound")} - {""}
    written = {p.relative_to(world.folder).as_posix() for p in world.folder.glob("*/*")}
    assert named == written, "every file is named once; a missing cell has none"
    for row in rows:
        assert row["scene"] in SCENES.labels
        if row["image"]:
            with Image.open(world.folder / row["image"]) as picture:
                assert (picture.size, picture.mode) == ((32, 32), "RGB")
        if row["sound"]:
            waveform, rate = soundfile.read(world.folder / row["sound"])
            assert rate == 8000
            assert waveform.shape == (3600,)
            assert 0.05 < np.abs(waveform).max() < 1.0
        for name in ("hour", "temperature"):
            assert row[name] == "" or -5 < float(row[name]) < 35


def test_nothing_names_the_label(world: World) -> None:
    for row in read_table(world.train):
        for name, cell in row.items():
            assert name == "scene" or not any(label in cell.lower() for label in SCENES.labels)
    scenes = draw_scenes(SCENES, range(2000), seed=9)
    words = " ".join(render.captions(scenes)).lower()
    assert not any(label in words for plan in PLANS.values() for label in plan.labels)


def test_world_json_and_readme_tell_the_truth(world: World) -> None:
    told = json.loads((world.folder / "world.json").read_text())
    assert told["synthetic"] is True
    assert told["ceilings"] == ceilings(SCENES)
    assert told["seed"] == 3
    assert told["best_single"] == world.best_single == world.ceilings["caption"]
    assert world.full > 0.9
    assert 0.7 < told["test_optimum"] <= 1.0
    readme = (world.folder / "README.md").read_text()
    assert "synthetic" in readme.splitlines()[0]
    assert f"| {world.full:.3f} |" in readme


def test_a_world_with_two_modalities_has_their_columns_only(tmp_path: Path) -> None:
    world = write_world(tmp_path, plan="xor", rows=5, test_rows=0)
    assert list(read_table(world.train)[0]) == ["image", "sound", "scene"]
    assert json.loads((tmp_path / "world.json").read_text())["test_optimum"] is None


def test_each_sense_alone_knows_as_much_as_is_planted(tmp_path: Path) -> None:
    known = ceilings(SENSES)
    assert [known[m] for m in SENSES.modalities] == pytest.approx([0.96 * 0.94] * 5)
    assert known["+".join(SENSES.modalities)] > 0.99
    world = write_world(tmp_path, plan="senses", rows=12, test_rows=2)
    assert world.columns == {m: [m] for m in SENSES.modalities} and world.full > 0.99


def test_every_sense_is_a_file_that_its_kind_reads(tmp_path: Path) -> None:
    world = write_world(tmp_path / "senses", plan="senses", rows=24, test_rows=0)
    rows = read_table(world.train)
    files = {name: [world.folder / row[name] for row in rows] for name in SENSES.modalities}
    assert {name: paths[0].suffix for name, paths in files.items()} == {
        "image": ".png", "sound": ".wav", "video": ".mp4", "motion": ".csv", "returns": ".npy"}
    kinds = {name: kind.measure(files[name]) for name, kind in (
        ("image", ImageKind()), ("sound", AudioKind()), ("video", VideoKind()), ("motion", SeriesKind()),
        ("returns", PointsKind()))}
    video, motion, returns = kinds["video"], kinds["motion"], kinds["returns"]
    assert isinstance(video, VideoKind) and (video.height, video.width, video.rate) == (32, 32, 8.0)
    assert {len(video.decode(file).frames) for file in files["video"]} == {film.FILM_FRAMES}
    assert isinstance(motion, SeriesKind) and motion.channels == ("speed", "turn_rate") and motion.time == "time"
    assert motion.rate == pytest.approx(sensors.MOTION_RATE, rel=0.05)
    gaps = [float(np.isnan(motion.decode(file).values).mean()) for file in files["motion"]]
    assert min(gaps) > 0.02 and max(gaps) < 0.4, "every recording has a gap"
    assert isinstance(returns, PointsKind) and returns.dimensions == 2
    assert returns.features == ("doppler", "intensity")
    again = write_world(tmp_path / "again", plan="senses", rows=24, test_rows=0)
    for name, paths in files.items():
        for file in paths[:6]:
            assert file.read_bytes() == (again.folder / name / file.name).read_bytes()


def test_what_is_planted_can_be_read_off_the_files() -> None:
    scenes = draw_scenes(SENSES, range(60), seed=11)
    frames = film.films(scenes).astype(float)
    cover = (frames.max(axis=4) - frames.min(axis=4) > 60).sum(axis=2)
    middle = (cover * np.arange(cover.shape[2])).sum(axis=2) / np.maximum(cover.sum(axis=2), 1)
    there = cover.sum(axis=2) > 0
    first = np.array([np.flatnonzero(row)[0] for row in there])
    last = np.array([np.flatnonzero(row)[-1] for row in there])
    rows = np.arange(60)
    assert ((middle[rows, first] > middle[rows, last]) == scenes.shown["video", "direction"]).all()
    assert (~there.all(axis=1) == scenes.shown["video", "blink"]).all()
    for row, readings in enumerate(sensors.motions(scenes)):
        assert (readings[-9:, 1].mean() < readings[:9, 1].mean()) == scenes.shown["motion", "braking"][row]
        assert (readings[np.abs(readings[:, 2]).argmax(), 2] < 0) == scenes.shown["motion", "turning"][row]
    for row, cloud in enumerate(sensors.returns(scenes)):
        bright = cloud[cloud["intensity"] > 0.5]
        assert (bright["y"].mean() > 28) == scenes.shown["returns", "range"][row]
        assert (bright["doppler"].mean() > 0) == scenes.shown["returns", "closing"][row]


def test_the_road_needs_its_sensors_together(tmp_path: Path) -> None:
    road = PLANS["road"]
    apart = information(road, ["motion"]) + information(road, ["returns"])
    assert information(road, ["motion", "returns"]) > apart + 0.15
    world = write_world(tmp_path, plan="road", rows=120, test_rows=0)
    named = {row[m] for row in read_table(world.train) for m in ("video", "motion", "returns")} - {""}
    assert named == {p.relative_to(world.folder).as_posix() for p in world.folder.glob("*/*")}
    assert len(named) < 360, "a missing cell has no file"


def test_errors_name_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="unknown plan of the scene world 'xors'.*Did you mean 'xor'"):
        write_world(tmp_path, plan="xors")
    with pytest.raises(DataError, match="rows >= 1 and test_rows >= 0, found 0 and 800"):
        write_world(tmp_path, rows=0)
    with pytest.raises(RecipeError, match="unknown modality of this plan 'caption'"):
        ceiling(PLANS["xor"], ["caption"])
    bits, target = (Bit("a"),), (("a",),)
    with pytest.raises(RecipeError, match="unknown slot of image 'color'.*Did you mean 'colour'"):
        Plan("p", bits, (Channel("image", "color", ("a",)),), target, ("no", "yes"))
    with pytest.raises(RecipeError, match="unknown bit of this plan 'b'"):
        Plan("p", bits, (Channel("image", "size", ("b",)),), target, ("no", "yes"))
    with pytest.raises(RecipeError, match=r"0…1, found \[1.5"):
        Plan("p", (Bit("a", 1.5),), (), target, ("no", "yes"))
    with pytest.raises(RecipeError, match="1 target parities need 2 labels, found 3"):
        Plan("p", bits, (), target, ("no", "yes", "maybe"))
