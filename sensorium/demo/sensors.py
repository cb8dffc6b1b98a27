"""The scene as a vehicle's sensors see it: how it moves itself, and what its radar receives."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

from sensorium.demo.scene import Floats, Scenes

MOTION_SECONDS = 5.0
MOTION_RATE = 20
"""Readings per second, on average."""
MOTION_COLUMNS = ("time", "speed", "turn_rate")
MOST_CLUTTER, MOST_ECHOES = 24, 14
RETURN = np.dtype([("x", "<f4"), ("y", "<f4"), ("doppler", "<f4"), ("intensity", "<f4")])


def motions(scenes: Scenes) -> list[Floats]:
    """(reading, 3) for each scene: seconds, speed in m/s and turn rate in rad/s; times uneven, readings lost.

    Slot braking: gets faster (0), slower (1), keeps its speed where hidden. Slot turning: to the left (0), to the right
    (1), straight on where hidden. Every recording has a gap of up to .6 s; what happens takes longer.
    """
    draws = scenes.draws
    count = round(MOTION_SECONDS * MOTION_RATE)
    even = np.arange(count)[None, :] / MOTION_RATE
    times = even + draws.uniform("motion/jitter", count, low=0.0, high=0.4) / MOTION_RATE
    braking, turning = (scenes.shown["motion", slot] for slot in ("braking", "turning"))
    gain = np.choose(braking, (1.0, -1.0, 0.0)) * draws.uniform("motion/gain", low=3.0, high=5.0)
    first = draws.uniform("motion/speed", low=8.0, high=20.0)
    middle = draws.uniform("motion/when", 2, low=1.6, high=3.4)
    sharp = draws.uniform("motion/sharp", 2, low=0.5, high=0.8)
    risen = 1.0 / (1.0 + np.exp(-4.0 * (times - middle[:, :1]) / sharp[:, :1]))
    speed = first[:, None] + gain[:, None] * risen + 0.15 * draws.normal("motion/rough", count)
    size = np.choose(turning, (1.0, -1.0, 0.0)) * draws.uniform("motion/turn", low=0.2, high=0.4)
    bump = np.exp(-0.5 * ((times - middle[:, 1:]) / sharp[:, 1:]) ** 2)
    turn = size[:, None] * bump + 0.015 * draws.normal("motion/shake", count)
    gap = draws.uniform("motion/gap", 2)
    begin = gap[:, :1] * (MOTION_SECONDS - 0.6)
    kept = (times < begin) | (times > begin + 0.2 + 0.4 * gap[:, 1:])
    kept &= draws.uniform("motion/lost", count) >= 0.05
    return [np.stack([times[row, keep], speed[row, keep], turn[row, keep]], axis=1) for row, keep in enumerate(kept)]


def returns(scenes: Scenes) -> list[npt.NDArray[np.void]]:
    """Radar returns for each scene: x to the right and y ahead in m, Doppler in m/s, intensity in 0…1; in no order.

    Slot range: something bright is near (0), far (1), halfway where hidden. Slot closing: it comes nearer (0, negative
    Doppler), goes away (1), stands still where hidden. Around it dim clutter that stands still.
    """
    draws = scenes.draws
    far, closing = (scenes.shown["returns", slot] for slot in ("range", "closing"))
    num_clutter = 10 + draws.integers("returns/clutter", high=MOST_CLUTTER - 9)
    num_echoes = 6 + draws.integers("returns/echoes", high=MOST_ECHOES - 5)
    reach = np.choose(far, (12.0, 44.0, 28.0)) + draws.uniform("returns/reach", low=-4.0, high=4.0)
    bearing = draws.uniform("returns/bearing", low=-0.35, high=0.35)
    moves = np.choose(closing, (-1.0, 1.0, 0.0)) * draws.uniform("returns/speed", low=4.0, high=9.0)
    size = MOST_CLUTTER + MOST_ECHOES
    spread, wobble = draws.normal("returns/spread", size, 2), draws.normal("returns/wobble", size)
    shine = draws.uniform("returns/shine", size)
    wide, ahead = (draws.uniform(f"returns/{name}", size, low=low, high=high)
                   for name, low, high in (("wide", -20.0, 20.0), ("ahead", 2.0, 56.0)))
    order = draws.bits("returns/order", size)
    clouds = []
    for row in range(len(scenes)):
        clutter, echoes = slice(0, num_clutter[row]), slice(MOST_CLUTTER, MOST_CLUTTER + num_echoes[row])
        cloud = np.zeros(num_clutter[row] + num_echoes[row], dtype=RETURN)
        centre = reach[row] * np.array([np.sin(bearing[row]), np.cos(bearing[row])])
        cloud["x"] = np.concatenate([wide[row, clutter], centre[0] + spread[row, echoes, 0]])
        cloud["y"] = np.concatenate([ahead[row, clutter], centre[1] + 1.5 * spread[row, echoes, 1]])
        cloud["doppler"] = 0.3 * np.concatenate([wobble[row, clutter], wobble[row, echoes]])
        cloud["doppler"][num_clutter[row] :] += np.float32(moves[row])
        cloud["intensity"] = np.concatenate([0.4 * shine[row, clutter], 0.6 + 0.4 * shine[row, echoes]])
        clouds.append(cloud[np.argsort(order[row, : len(cloud)], kind="stable")])
    return clouds


def motion_csv(readings: Floats) -> bytes:
    """A recording's CSV file: milliseconds are enough for its stamps."""
    lines = [f"{time:.3f},{speed:.3f},{turn:.4f}" for time, speed, turn in readings]
    return "\n".join([",".join(MOTION_COLUMNS), *lines, ""]).encode()


def npy(cloud: npt.NDArray[np.void]) -> bytes:
    """A cloud's file: an NPY array whose fields name the columns."""
    buffer = io.BytesIO()
    np.save(buffer, cloud, allow_pickle=False)
    return buffer.getvalue()
