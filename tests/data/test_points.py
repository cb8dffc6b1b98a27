"""Point clouds: columns by name and by place, scales, empty clouds, subsamples, variants."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from sensorium.data.kinds import PointsKind
from sensorium.data.kinds.points import axis_of
from sensorium.errors import BadCell
from sensorium.keyed import Draws

CLOUD = np.random.default_rng(0).normal(size=(60, 5)) * (8, 3, 1, 0.5, 20) + (40, -2, 1, 3, 100)
NAMES = ("x", "y", "z", "doppler", "intensity")
ROWS = np.arange(40)


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _structured(array: Any, names: tuple[str, ...] = NAMES) -> Any:
    return np.array(list(map(tuple, array)), dtype=[(name, "f4") for name in names])


def _raw(kind: PointsKind, cloud: Any) -> Any:
    """A decoded cloud in the units it was written in."""
    return np.concatenate([cloud[:, :3] * kind.scale + kind.centre, cloud[:, 3:] * kind.std + kind.mean], axis=1)


@pytest.mark.parametrize("cell", [
    CLOUD, _npy(CLOUD), _npy(_structured(CLOUD)), pl.DataFrame(CLOUD, schema=list(NAMES)),
    pl.DataFrame(CLOUD, schema=list(NAMES)).write_csv().encode(), dict(zip(NAMES, CLOUD.T, strict=True)),
    pl.DataFrame(CLOUD, schema=list(NAMES)).select("intensity", "z", "doppler", "x", "y"),
    pl.DataFrame(CLOUD, schema=["pos_x", "Pos_Y", "point z", "doppler", "intensity"]),
], ids=["array", "npy", "structured", "frame", "csv", "columns", "another order", "longer names"])
def test_every_form_is_the_same_cloud(cell: Any, tmp_path: Path) -> None:
    kind = PointsKind().measure([cell])
    assert kind.dimensions == 3 and kind.max_points == 60
    cloud = kind.decode(cell)
    raw = _raw(kind, cloud)
    wanted = CLOUD[:, [0, 1, 2, 4, 3]] if kind.features == ("intensity", "doppler") else CLOUD
    np.testing.assert_allclose(raw, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(cloud.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(cloud[:, 3:].std(axis=0), 1, atol=1e-4)
    assert float(np.square(cloud[:, :3]).sum(axis=1).mean() / 3) == pytest.approx(1.0, abs=1e-4)
    if isinstance(cell, bytes):
        file = tmp_path / "cloud.dat"
        file.write_bytes(cell)
        np.testing.assert_array_equal(kind.decode(file), cloud)


def test_far_away_places_keep_their_precision() -> None:
    far = CLOUD.copy()
    far[:, :2] += (500_000.0, 5_400_000.0)
    kind = PointsKind().measure([far])
    np.testing.assert_allclose(_raw(kind, kind.decode(far).astype(np.float64)), far, atol=1e-4, rtol=1e-12)


def test_two_dimensions_by_names_by_columns_and_by_setting() -> None:
    flat = _npy(_structured(CLOUD[:, [0, 1, 3]], ("x", "y", "doppler")))
    for kind, cell in ((PointsKind(), flat), (PointsKind(), CLOUD[:, :2]), (PointsKind(dimensions=2), CLOUD[:, :4])):
        measured = kind.measure([cell])
        cloud = measured.decode(cell)
        assert measured.dimensions == 2 and (cloud[:, 2] == 0).all() and measured.centre[2] == 0.0
        assert float(np.square(cloud[:, :2]).sum(axis=1).mean() / 2) == pytest.approx(1.0, abs=1e-4)
    assert PointsKind().measure([flat]).features == ("doppler",)
    assert PointsKind(dimensions=2).measure([CLOUD[:, :4]]).features == ("2", "3")
    assert PointsKind(features=()).measure([flat]).decode(flat).shape == (60, 3)


@pytest.mark.parametrize(("name", "axis"), [("x", "x"), (" Y ", "y"), ("z_m", "z"), ("x [m]", "x"), ("pos_x", "x"),
                                            ("point.y", "y"), ("xs", ""), ("size", ""), ("max", ""), ("y2", "")])
def test_names_of_places(name: str, axis: str) -> None:
    assert axis_of(name) == axis


def test_an_empty_cloud_is_present() -> None:
    kind = PointsKind().measure([CLOUD, np.zeros((0, 5))])
    holes = np.full((4, 5), np.nan)
    header = b"x,y,z,doppler,intensity\n"
    named = PointsKind().measure([pl.DataFrame(CLOUD, schema=list(NAMES))])
    for cloud in (kind.decode(np.zeros((0, 5))), kind.decode(_npy(np.zeros((0, 5)))), kind.decode(holes),
                  named.decode(header), named.decode(_npy(_structured(np.zeros((0, 5)))))):
        assert cloud.shape == (0, 5) and cloud.dtype == np.float32
    inputs = kind.collate([kind.decode(holes)] * 2)
    assert inputs.values.shape == (2, 1, 5) and not inputs.mask.any() and (inputs.values == 0).all()
    for changed in (kind.augment(inputs, Draws(0, 0, ROWS[:2])), kind.corrupt(inputs, 1.0, Draws(0, 0, ROWS[:2]))):
        assert not changed.mask.any() and (changed.values == 0).all()
    assert "an empty cloud" in kind.show(kind.decode(holes)) and kind.length(kind.decode(holes)) == 1


def test_points_of_which_something_is_missing_are_left_out() -> None:
    cloud = CLOUD.copy()
    cloud[3, 0], cloud[7, 4], cloud[9, 2] = np.nan, np.nan, np.inf
    kind = PointsKind().measure([CLOUD])
    np.testing.assert_array_equal(kind.decode(cloud), kind.decode(np.delete(CLOUD, [3, 7, 9], axis=0)))


def test_large_clouds_are_thinned_by_their_content() -> None:
    many = np.sort(np.random.default_rng(1).normal(size=(5000, 3)), axis=0)
    kind = PointsKind().measure([many])
    assert kind.max_points == 1024
    thinned = kind.decode(many)
    assert len(thinned) == 1024 and len(np.unique(thinned, axis=0)) == 1024
    np.testing.assert_array_equal(thinned, kind.decode(_npy(many)))
    np.testing.assert_allclose(thinned.mean(axis=0), 0, atol=0.12)
    other = many.copy()
    other[0] += 1e-3
    assert not np.array_equal(kind.decode(other), thinned)


def test_clouds_that_are_none() -> None:
    kind = PointsKind().measure([pl.DataFrame(CLOUD, schema=list(NAMES))])
    plain = PointsKind().measure([CLOUD])
    for one, cell, words in (
        (kind, b"x,y,z,doppler\n1,2,3,4\n", "no column of numbers 'intensity'"), (kind, b"words only", "no column"),
        (plain, CLOUD[:, :4], "4 columns without names, expected 3 places and 2 features"), (kind, b"", "0 bytes"),
        (kind, b"\0\1\2", "neither an array"), (kind, 3, "found int"), (kind, np.zeros((2, 2, 2)), "shape"),
        (kind, _npy(_structured(CLOUD))[:300], "cut short"),
    ):
        with pytest.raises(BadCell, match=words):
            one.decode(cell)


def _many(kind: PointsKind) -> Any:
    return kind.collate([kind.decode(CLOUD)] * 40)


def test_augmentation_turns_about_the_origin_and_keeps_heights_and_distances() -> None:
    kind = PointsKind(turn=180.0, augmentation=1e-4).measure([CLOUD])
    inputs = _many(kind)
    turned = kind.augment(inputs, Draws(0, 0, ROWS))
    raw = np.stack([_raw(kind, row) for row in turned.values.numpy()])
    reach, before = np.hypot(raw[..., 0], raw[..., 1]), np.hypot(CLOUD[:, 0], CLOUD[:, 1])
    there = turned.mask.numpy()
    np.testing.assert_allclose(reach[there], np.broadcast_to(before, (40, 60))[there], rtol=1e-3)
    np.testing.assert_allclose(raw[..., 2:][there], np.broadcast_to(CLOUD[:, 2:], (40, 60, 3))[there], atol=2e-2)
    angles = np.arctan2(raw[:, 0, 1], raw[:, 0, 0])
    assert np.ptp(angles) > 4, "turned all the way round"
    still = kind.model_copy(update={"turn": 0.0}).augment(inputs, Draws(0, 0, ROWS))
    np.testing.assert_allclose(still.values[turned.mask], inputs.values[turned.mask], atol=2e-3)


def test_augmentation_loses_some_points_and_never_all() -> None:
    kind = PointsKind().measure([CLOUD])
    varied = kind.augment(_many(kind), Draws(0, 0, ROWS))
    lost = 1 - varied.mask.float().mean(dim=1)
    assert 0.02 < float(lost.mean()) < 0.2 and float(lost.max()) < 0.4
    assert (varied.values[~varied.mask] == 0).all() and varied.values.isfinite().all()
    one = kind.collate([kind.decode(CLOUD[:1])] * 40)
    wild = kind.model_copy(update={"augmentation": 9.0})
    assert all(wild.augment(one, Draws(0, epoch, ROWS)).mask.all() for epoch in range(5))
    flat = PointsKind(augmentation=3.0, turn=30.0).measure([CLOUD[:, :2]])
    assert (flat.augment(_many_flat(flat), Draws(0, 0, ROWS)).values[..., 2] == 0).all()


def _many_flat(kind: PointsKind) -> Any:
    return kind.collate([kind.decode(CLOUD[:, :2])] * 40)


def test_corruption_replaces_this_share_of_the_points() -> None:
    kind = PointsKind().measure([CLOUD])
    inputs = _many(kind)
    damaged = kind.corrupt(inputs, 0.3, Draws(0, 0, ROWS))
    hit = (damaged.values != inputs.values).any(dim=2)
    assert float(hit.float().mean()) == pytest.approx(0.3, abs=0.03) and torch.equal(damaged.mask, inputs.mask)
    all_of_it = kind.corrupt(inputs, 1.0, Draws(0, 0, ROWS))
    assert (all_of_it.values != inputs.values).any(dim=2).all() and float(all_of_it.values.abs().max()) < 6


def test_description_tells_where_and_how_many() -> None:
    kind = PointsKind().measure([CLOUD])
    described = kind.describe(kind.decode(CLOUD))
    assert described[0] == pytest.approx(np.log(61))
    assert len(described) == len(kind.describe(kind.decode(CLOUD[:1]))) == len(kind.describe(kind.decode(CLOUD[:0])))
    shuffled = kind.describe(kind.decode(CLOUD[::-1]))
    np.testing.assert_allclose(described, shuffled, atol=1e-5)
    assert np.abs(described - kind.describe(kind.decode(CLOUD * (-1, 1, 1, 1, 1) + (80, 0, 0, 0, 0)))).max() > 0.5
