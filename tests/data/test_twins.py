"""Near pairs equal the naive search; fingerprints of every kind forgive what a copy suffers and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sensorium.data.checks.fingerprint import LOOKS, content_key, fingerprint, nearly_same
from sensorium.data.checks.near_text import near_texts, plain_text
from sensorium.data.checks.neighbours import Pairs, leaders, near_pairs
from sensorium.data.kinds import KINDS
from sensorium.data.kinds.audio import AudioKind
from sensorium.data.kinds.image import ImageKind
from sensorium.data.kinds.points import PointsKind
from sensorium.data.kinds.series import Recording, SeriesKind
from sensorium.data.kinds.video import Clip, VideoKind


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("width", [16, 300])
def test_near_pairs_are_those_of_the_naive_search(width: int) -> None:
    random = np.random.default_rng(width)
    centres = random.normal(size=(70, width))
    vectors = _unit(centres[random.integers(0, 70, 2300)] + 0.3 * random.normal(size=(2300, width)))  # several blocks
    dots = np.triu(vectors.astype(np.float64) @ vectors.T.astype(np.float64), 1)
    least = float(np.quantile(dots[dots > 0.5], 0.5))
    clear = np.abs(dots - least) > 1e-5
    found = near_pairs(vectors, least, most=10**6)
    expected = {(int(a), int(b)) for a, b in np.argwhere((dots >= least) & clear)}
    assert expected and {pair for pair in zip(found.first.tolist(), found.second.tolist(), strict=True)
                         if clear[pair]} == expected
    assert np.allclose(found.likeness, dots[found.first, found.second], atol=1e-5) and not found.cut
    few = near_pairs(vectors, least, most=50)
    assert few.cut and len(few) == 50
    assert few.likeness.min() >= np.sort(found.likeness)[-50] - 1e-6


def test_leaders_are_no_chains() -> None:
    chain = Pairs(np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4]), np.ones(4))
    assert leaders(6, chain).tolist() == [0, 0, 2, 2, 4, 5]
    assert leaders(3, Pairs(np.array([1, 0]), np.array([2, 2]), np.ones(2))).tolist() == [0, 1, 0]


def test_texts() -> None:
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdefghijklmnopqrstuvwxyz"), 7)) for _ in range(500)]
    texts = [" ".join(random.choice(words, 12)) for _ in range(300)]
    texts += [texts[3].title() + ".", texts[8] + " indeed", texts[9].replace(texts[9].split()[4], "zzzz", 1), "x", "X"]
    found = near_texts(texts)
    assert sorted(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [
        (3, 300), (8, 301), (9, 302), (303, 304)]
    assert near_texts(texts, thoroughly=False).first.tolist() == [3, 303]
    forms = [f"the patient {name} came to the ward on the morning of the visit with {ill}"
             for name, ill in zip(random.choice(words, 200), random.choice(words, 200), strict=True)]
    found = near_texts([*forms, forms[5].replace(" ward ", " wards ")])
    assert (found.first.tolist(), found.second.tolist()) == ([5], [200])  # not alike for being one form
    assert not found.cut
    assert plain_text("¿?") == "¿?" and plain_text("Straße  7") == "strasse 7"


# ---- kinds ----

def _picture(random: np.random.Generator) -> np.ndarray:
    from PIL import Image

    coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((40, 40), Image.Resampling.BICUBIC))


def _clip(random: np.random.Generator) -> Clip:
    scene = _picture(random).astype(np.float32)
    path = np.cumsum(random.normal(size=(15, 2)), axis=0)
    frames = [np.roll(scene, np.round(4 * step).astype(int), axis=(0, 1)) for step in path]
    return Clip(np.stack(frames).astype(np.uint8), np.zeros((15, 2), dtype=np.float32))


def _recording(random: np.random.Generator) -> Recording:
    values = np.cumsum(random.normal(size=(300, 2)), axis=0).astype(np.float32)
    values[40:60] = np.nan
    return Recording(values, 0.0)


def _sound(random: np.random.Generator) -> np.ndarray:
    return (np.repeat(random.uniform(0.05, 0.5, 20), 100) * random.normal(size=2000)).astype(np.float32)


def _cloud(random: np.random.Generator) -> np.ndarray:
    return (random.normal(size=(120, 4)) * random.uniform(0.3, 2.0, 4)).astype(np.float32)


def _noisy(frames: np.ndarray) -> np.ndarray:
    return np.clip(frames + np.random.default_rng(0).normal(0, 4, frames.shape), 0, 255).astype(np.uint8)


def _later(recording: Recording) -> Recording:
    return Recording(recording.values * 3 + 1, recording.start + 9)


MADE: dict[str, tuple[Any, Callable[[np.random.Generator], Any], list[Callable[[Any], Any]]]] = {
    "image": (ImageKind(height=40, width=40, channels=3), _picture,
              [_noisy, lambda p: (p * 0.8 + 20).astype(np.uint8)]),
    "audio": (AudioKind(rate=4000, max_seconds=2.0), _sound, [lambda s: 0.1 * s, lambda s: s[9:-12]]),
    "video": (VideoKind(height=40, width=40, channels=3, rate=10.0, max_seconds=2.0), _clip,
              [lambda c: Clip(_noisy(c.frames), c.times)]),
    "series": (SeriesKind(channels=("a", "b"), rate=100.0, max_steps=300), _recording, [_later]),
    "points": (PointsKind(dimensions=3, features=("v",)), _cloud,
               [lambda c: np.random.default_rng(0).permutation(c), lambda c: (c + 0.003).astype(np.float32)]),
}


def test_every_kind_but_tables_and_texts_has_a_look() -> None:
    assert set(LOOKS) == set(MADE) == set(KINDS) - {"table", "text"}


@pytest.mark.parametrize("name", MADE)
def test_copies_are_alike_and_others_are_not(name: str) -> None:
    kind, make, copies = MADE[name]
    arrays = [make(np.random.default_rng(seed)) for seed in range(25)]
    for place, array in enumerate(arrays):
        for copy in copies:
            assert nearly_same(kind, array, copy(array))
        others = [other for other in arrays if other is not array]
        assert not any(nearly_same(kind, array, other) for other in others), place
    prints = np.stack([fingerprint(kind, array) for array in arrays])
    assert np.isfinite(prints).all() and np.allclose(np.linalg.norm(prints, axis=1), 1.0, atol=1e-5)


def test_what_looks_or_sounds_alike_is_not_the_same() -> None:
    """A grey disc and a black one; one tone in two takes."""
    across, down = np.mgrid[:40, :40]
    discs = [np.where((across - 15) ** 2 + (down - 22) ** 2 < 90, ink, 250)[:, :, None].repeat(3, axis=2)
             for ink in (5, 120)]
    assert not nearly_same(MADE["image"][0], *(disc.astype(np.uint8) for disc in discs))
    random = np.random.default_rng(0)
    tone = np.sin(2 * np.pi * 440 * np.arange(3000) / 4000) * np.linspace(0.3, 0.9, 3000)
    takes = [(tone + 0.05 * random.normal(size=3000)).astype(np.float32) for _ in range(2)]
    assert not nearly_same(MADE["audio"][0], *takes)
    kind = MADE["audio"][0]
    assert float(fingerprint(kind, takes[0]) @ fingerprint(kind, takes[1])) < 0.5


def test_featureless_cells_are_like_nothing() -> None:
    for name, array in (("image", np.full((40, 40, 3), 200, np.uint8)), ("audio", np.zeros(900, np.float32)),
                        ("points", np.zeros((0, 4), np.float32)),
                        ("series", Recording(np.full((50, 2), np.nan, np.float32), 0.0))):
        kind = MADE[name][0]
        assert float(np.linalg.norm(fingerprint(kind, array))) < 0.1 and not nearly_same(kind, array, array), name


def test_content_keys() -> None:
    random = np.random.default_rng(0)
    arrays: list[Any] = [_picture(random), _clip(random), _recording(random), "a", "b", np.zeros((2, 3)),
                         np.zeros((3, 2))]
    keys = [content_key(array) for array in arrays]
    assert len(set(keys)) == len(arrays)
    assert content_key(arrays[0].copy()) == keys[0] and content_key(Clip(*vars(arrays[1]).values())) == keys[1]
