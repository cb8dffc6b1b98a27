"""The scene world's truth: which modality knows what, and the best accuracy that any subset can reach.

A scene is a few hidden bits. Every modality has *slots* (the picture: colour and size), and a slot shows a bit, or the
parity of several, through a noisy channel: with probability `hidden` it shows nothing, else with probability `wrong`
the opposite. What a slot shows is then drawn clearly, so all the noise is planted here, and the Bayes classifier of
every subset of modalities follows exactly, by enumerating bits and what the slots show:

    ceiling(S) = Σ_o max_y P(y, o),   o = what the slots of S show,   P(y, o) = Σ_{bits → y} P(bits) Π_c P(o_c | bits)

Everything is synthetic. Every draw is keyed by (seed, split, row): row i is the same scene however many are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from sensorium.errors import RecipeError, unknown_name
from sensorium.keyed import Draws

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Split = Literal["train", "test"]

SLOTS: dict[str, tuple[str, ...]] = {
    "image": ("colour", "size"),
    "sound": ("rhythm", "pitch"),
    "caption": ("colour", "time", "verb"),
    "table": ("hour", "temperature"),
    "video": ("direction", "blink"),
    "motion": ("braking", "turning"),
    "returns": ("range", "closing"),
}
"""What each modality can show; a slot shows 0, 1 or HIDDEN. A slot without a channel shows 0 or 1 at random."""
HIDDEN = 2
SPLITS: dict[Split, int] = {"train": 0, "test": 1}
MAX_TABLE = 50_000_000


@dataclass(frozen=True)
class Bit:
    """One hidden fact of a scene: 1 with probability `share`, independent of the others."""

    name: str
    share: float = 0.5


@dataclass(frozen=True)
class Channel:
    """A slot that shows something, with planted noise.

    Args:
        modality, slot: where it shows, a pair of SLOTS.
        bits: what it shows: the parity (sum modulo 2) of these bits.
        wrong: probability, 0…1, that the opposite is shown, given that something is; 0.5 says nothing.
        hidden: probability, 0…1, that nothing is shown.
    """

    modality: str
    slot: str
    bits: tuple[str, ...]
    wrong: float = 0.0
    hidden: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A planted world: its bits, who shows them how well, and the target.

    Args:
        name: a word for it.
        bits: the independent hidden bits.
        channels: at most one for a slot; slots without one show random values.
        target: the class is made of these parities, the first the most significant digit.
        labels: a word for each of the 2^len(target) classes.
        modalities: those that the world has, in order.
        missing: probability that a modality is absent from a row, independent of everything else.
    """

    name: str
    bits: tuple[Bit, ...]
    channels: tuple[Channel, ...]
    target: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]
    modalities: tuple[str, ...] = ("image", "sound", "caption", "table")
    missing: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [bit.name for bit in self.bits]
        shown = [(channel.modality, channel.slot) for channel in self.channels]
        for modality in (*self.modalities, *self.missing):
            if modality not in SLOTS:
                raise unknown_name("modality of the scene world", modality, list(SLOTS))
        for channel in self.channels:
            if channel.modality not in self.modalities:
                raise unknown_name("modality of this plan", channel.modality, list(self.modalities))
            if channel.slot not in SLOTS[channel.modality]:
                raise unknown_name(f"slot of {channel.modality}", channel.slot, list(SLOTS[channel.modality]))
        for name in (name for names_ in (*(c.bits for c in self.channels), *self.target) for name in names_):
            if name not in names:
                raise unknown_name("bit of this plan", name, names)
        chances = [bit.share for bit in self.bits] + list(self.missing.values())
        chances += [chance for channel in self.channels for chance in (channel.wrong, channel.hidden)]
        if not all(0.0 <= chance <= 1.0 for chance in chances):
            raise RecipeError(f"plan {self.name!r}: every probability must lie in 0…1, found {chances}")
        if any(len(set(group)) != len(group) for group in (names, shown, self.labels, self.modalities)):
            raise RecipeError(f"plan {self.name!r}: bits, channels' slots, labels and modalities must be distinct")
        if not self.modalities or not self.target or len(self.labels) != 2 ** len(self.target):
            raise RecipeError(f"plan {self.name!r}: {len(self.target)} target parities need "
                              f"{2 ** len(self.target)} labels, found {len(self.labels)}")

    def parity(self, bits: Ints, names: tuple[str, ...]) -> Ints:
        """(row,) the sum modulo 2 of the named columns of bits (row, bit)."""
        columns = [bit.name for bit in self.bits]
        return np.asarray(bits[:, [columns.index(name) for name in names]].sum(axis=1) % 2, dtype=np.int64)

    def classes(self, bits: Ints) -> Ints:
        """(row,) the class, 0…len(labels) − 1, of bits (row, bit)."""
        digits = [self.parity(bits, names) << (len(self.target) - 1 - i) for i, names in enumerate(self.target)]
        return np.asarray(np.sum(digits, axis=0), dtype=np.int64)

    def subsets(self) -> Iterator[tuple[str, ...]]:
        """Every non-empty subset of the modalities, small ones first."""
        for size in range(1, len(self.modalities) + 1):
            yield from combinations(self.modalities, size)


@dataclass(frozen=True)
class Scenes:
    """Some scenes of one split.

    Args:
        plan: the world they belong to.
        draws: keyed randomness of these rows, for everything that carries no meaning.
        bits: (row, bit) the hidden truth.
        shown: what each slot of the plan's modalities shows: (row,) of 0, 1 or HIDDEN.
        classes: (row,) the target's class.
        present: (row,) for each modality, False = the cell is missing.
    """

    plan: Plan
    draws: Draws
    bits: Ints
    shown: dict[tuple[str, str], Ints]
    classes: Ints
    present: dict[str, Bools]

    def __len__(self) -> int:
        return len(self.classes)


def draw_scenes(plan: Plan, rows: Iterable[int], *, seed: int = 0, split: Split = "train") -> Scenes:
    """The scenes of these row numbers; a row's scene depends on (plan, seed, split, row number) alone."""
    if split not in SPLITS:
        raise unknown_name("split", split, list(SPLITS))
    draws = Draws(seed, SPLITS[split], np.array(list(rows), dtype=np.int64))
    columns = [draws.uniform(f"bit/{bit.name}") < bit.share for bit in plan.bits]
    bits = np.stack(columns, axis=1).astype(np.int64) if columns else np.zeros((len(draws.rows), 0), np.int64)
    by_slot = {(channel.modality, channel.slot): channel for channel in plan.channels}
    shown: dict[tuple[str, str], Ints] = {}
    for modality in plan.modalities:
        for slot in SLOTS[modality]:
            key = f"{modality}.{slot}"
            channel = by_slot.get((modality, slot))
            if channel is None:
                shown[modality, slot] = draws.integers(f"free/{key}", high=2)
                continue
            value = plan.parity(bits, channel.bits) ^ (draws.uniform(f"wrong/{key}") < channel.wrong)
            shown[modality, slot] = np.where(draws.uniform(f"hidden/{key}") < channel.hidden, HIDDEN, value)
    present = {m: draws.uniform(f"missing/{m}") >= plan.missing.get(m, 0.0) for m in plan.modalities}
    return Scenes(plan, draws, bits, shown, plan.classes(bits), present)


def chance(plan: Plan) -> float:
    """Accuracy of the best constant answer."""
    return float(_joint(plan, ()).sum(axis=1).max())


def ceiling(plan: Plan, subset: Iterable[str]) -> float:
    """Bayes accuracy, 0…1, on rows that have every modality of the subset and use no other: nothing can beat it.

    Exact up to rounding. The empty subset gives `chance`.

    Example:
        >>> from sensorium.demo.plans import PLANS
        >>> round(ceiling(PLANS["xor"], ["image"]), 6), ceiling(PLANS["xor"], ["image", "sound"]) > 0.9
        (0.5, True)
    """
    return float(_joint(plan, tuple(subset)).max(axis=0).sum())


def ceilings(plan: Plan) -> dict[str, float]:
    """`ceiling` of every non-empty subset, keyed "image+sound", in the plan's order of modalities."""
    return {"+".join(subset): ceiling(plan, subset) for subset in plan.subsets()}


def ceiling_as_found(plan: Plan) -> float:
    """Bayes accuracy on the data as written: the mean of the ceilings over the planted patterns of missing cells."""
    total = 0.0
    for subset in ((), *plan.subsets()):
        gaps = {m: plan.missing.get(m, 0.0) for m in plan.modalities}
        weight = np.prod([1.0 - gap if m in subset else gap for m, gap in gaps.items()])
        total += float(weight) * ceiling(plan, subset)
    return total


def information(plan: Plan, subset: Iterable[str]) -> float:
    """Mutual information in bits between the target and what the subset shows: I(y; o). Exact up to rounding."""
    joint = _joint(plan, tuple(subset))
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    real = joint > 0
    return float(np.sum(joint[real] * np.log2(joint[real] / apart[real])))


def posterior(scenes: Scenes, subset: Iterable[str] | None = None) -> Floats:
    """(row, class_) the exact P(class | what is shown) from the present modalities of each row, or those in subset."""
    plan = scenes.plan
    subset = _checked(plan, tuple(plan.modalities if subset is None else subset))
    bits, weights = _every_bits(plan)
    likelihood = np.tile(weights, (len(scenes), 1))
    for channel in (c for c in plan.channels if c.modality in subset):
        shown = scenes.shown[channel.modality, channel.slot]
        told = _channel_table(channel)[plan.parity(bits, channel.bits)].T[shown]
        likelihood *= np.where(scenes.present[channel.modality][:, None], told, 1.0)
    joint = likelihood @ np.eye(len(plan.labels))[plan.classes(bits)]
    return np.asarray(joint / joint.sum(axis=1, keepdims=True))


def _joint(plan: Plan, subset: tuple[str, ...]) -> Floats:
    """(class_, outcome) P(class, what the subset's slots show); three outcomes a slot."""
    subset = _checked(plan, subset)
    channels = [channel for channel in plan.channels if channel.modality in subset]
    bits, weights = _every_bits(plan)
    if len(weights) * 3 ** len(channels) > MAX_TABLE:
        raise RecipeError(f"plan {plan.name!r}: {len(plan.bits)} bits and {len(channels)} channels are too many to "
                          f"enumerate; take fewer of either")
    table = weights[:, None]
    for channel in channels:
        told = _channel_table(channel)[plan.parity(bits, channel.bits)]
        table = (table[:, :, None] * told[:, None, :]).reshape(len(weights), -1)
    return np.asarray(np.eye(len(plan.labels))[plan.classes(bits)].T @ table)


def _every_bits(plan: Plan) -> tuple[Ints, Floats]:
    """(config, bit) every value of the bits, and (config,) its probability."""
    count = len(plan.bits)
    bits = (np.arange(2**count)[:, None] >> np.arange(count)[None, :]) & 1
    shares = np.array([bit.share for bit in plan.bits])
    return bits.astype(np.int64), np.asarray(np.where(bits == 1, shares, 1.0 - shares).prod(axis=1))


def _channel_table(channel: Channel) -> Floats:
    """(2, 3) P(shown | true value); columns 0, 1, HIDDEN."""
    clear, wrong, hidden = 1.0 - channel.wrong, channel.wrong, channel.hidden
    seen = 1.0 - hidden
    return np.array([[clear * seen, wrong * seen, hidden], [wrong * seen, clear * seen, hidden]])


def _checked(plan: Plan, subset: tuple[str, ...]) -> tuple[str, ...]:
    for modality in subset:
        if modality not in plan.modalities:
            raise unknown_name("modality of this plan", modality, list(plan.modalities))
    return subset
