"""What a scene looks like, sounds like, and how it is put in words and numbers.

One renderer a modality: `render(scenes) -> cells`. A renderer draws what `scenes.shown` says and nothing else that
bears on the target; everything decorative (shape, place, shade, wind …) is keyed randomness, one for all modalities, so
that a caption names the shape that the picture shows. A new modality is one more function (films are in `film`, what
a vehicle measures in `sensors`), its slots in `scene.SLOTS` and its file format in `write`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.demo.scene import HIDDEN, Floats, Ints, Scenes

PICTURE_SIDE = 32
"""Pixels."""
SOUND_RATE = 8000
"""Samples per second."""
SOUND_SECONDS = 0.45

SHAPES = ("circle", "square", "triangle", "star")
COLOURS = ("blue", "green", "violet", "red", "orange", "yellow")
"""Three cool, then three warm."""
COLOUR_VALUES = np.array([(40, 90, 215), (25, 150, 95), (125, 70, 200), (215, 40, 45), (240, 125, 25), (245, 200, 30),
                 (135, 135, 140)], dtype=np.float64) / 255.0
"""(colour, 3) red, green and blue in 0…1; the last one, grey, tells neither warm nor cool."""
WINDS = ("light", "fresh", "strong")


@dataclass(frozen=True)
class Details:
    """What the modalities of a scene share but the target does not depend on.

    Args:
        shape: (row,) 0…3, a number of SHAPES.
        shade: (row,) 0…2, which of the three cool or warm colours.
        centre: (row, 2) across and down, −1…1 of the room the shape has.
        wind: (row,) 0…2, a number of WINDS.
    """

    shape: Ints
    shade: Ints
    centre: Floats
    wind: Ints


def details(scenes: Scenes) -> Details:
    """The shared details of the scenes, keyed by row."""
    draws = scenes.draws
    return Details(
        shape=draws.integers("detail/shape", high=len(SHAPES)),
        shade=draws.integers("detail/shade", high=3),
        centre=draws.uniform("detail/centre", 2, low=-1.0, high=1.0),
        wind=draws.integers("detail/wind", high=len(WINDS)),
    )


def pictures(scenes: Scenes) -> npt.NDArray[np.uint8]:
    """(row, height, width_px, 3) uint8: one shape with a shadow on a pale background, edges anti-aliased, light noise.

    Slot colour: cool (0) or warm (1), grey where hidden. Slot size: small, large, middling where hidden.
    """
    side, draws, detail = PICTURE_SIDE, scenes.draws, details(scenes)
    size = scenes.shown["image", "size"]
    radius = np.choose(size, (0.16, 0.32, 0.24)) * draws.uniform("image/radius", low=0.93, high=1.07) * side
    room = np.maximum(0.5 * side - 1.15 * radius, 0.0)
    centre = 0.5 * side + detail.centre * room[:, None]
    turn = draws.uniform("image/turn", high=2 * np.pi)
    cover = coverage(detail.shape, radius, centre, turn)
    shadow = coverage(detail.shape, radius, centre + 0.05 * side, turn)

    down = np.linspace(0.0, 1.0, side)[None, :, None, None]
    top, bottom = (draws.uniform(f"image/{end}", 1, 1, 3, low=0.82, high=0.97) for end in ("top", "bottom"))
    ground = top * (1 - down) + bottom * down - 0.22 * (shadow * (1 - cover))[..., None]
    colour = scenes.shown["image", "colour"]
    paint = COLOUR_VALUES[np.where(colour == HIDDEN, 6, 3 * colour + detail.shade)][:, None, None, :]
    lit = paint * (1.1 - 0.25 * down)
    noise = draws.uniform("image/noise", side, side, 1, low=-0.04, high=0.04)
    picture = ground * (1 - cover[..., None]) + lit * cover[..., None] + noise
    return np.asarray(np.rint(255.0 * np.clip(picture, 0.0, 1.0)), dtype=np.uint8)


def coverage(shape: Ints, radius: Floats, centre: Floats, turn: Floats) -> Floats:
    """(row, height, width_px) how much of each pixel the shape covers, 0…1; all shapes of a radius have one area."""
    pixel = np.arange(PICTURE_SIDE) + 0.5
    across = pixel[None, None, :] - centre[:, 0, None, None]
    down = pixel[None, :, None] - centre[:, 1, None, None]
    reach = np.hypot(across, down)
    corners = np.choose(shape, (1, 4, 3, 5))[:, None, None]
    # A corner at distance 1 and a dent at `dent`, half a sector apart: the edge between them is a line.
    dent = np.choose(shape, (1.0, np.cos(np.pi / 4), np.cos(np.pi / 3), 0.5))[:, None, None]
    half = np.pi / corners
    area = np.where(corners == 1, np.pi, corners * dent * np.sin(half))
    scaled = radius[:, None, None] * np.sqrt(np.pi / area)
    angle = np.abs((np.arctan2(down, across) - turn[:, None, None]) % (2 * half) - half)
    angle = half - angle
    to_x, to_y = dent * np.cos(half) - 1.0, dent * np.sin(half)
    distance = (reach * np.cos(angle) - scaled) * to_y - reach * np.sin(angle) * to_x
    polygon = distance / np.hypot(to_x, to_y)
    edge = np.where(corners == 1, reach - scaled, polygon)
    return np.asarray(np.clip(0.5 - edge, 0.0, 1.0))


def sounds(scenes: Scenes) -> npt.NDArray[np.float32]:
    """(row, sample) float32 in −1…1 at SOUND_RATE: a tone with three harmonics, and wind.

    Slot rhythm: one held tone (0) or a row of beats (1), a slow swell where hidden. Slot pitch: high (0), low (1), in
    between where hidden.
    """
    draws, detail = scenes.draws, details(scenes)
    count = round(SOUND_RATE * SOUND_SECONDS)
    time = np.arange(count)[None, :] / SOUND_RATE
    octave = draws.uniform("sound/pitch", 1, low=-0.2, high=0.2)
    pitch = np.choose(scenes.shown["sound", "pitch"], (760.0, 220.0, 410.0))[:, None] * 2.0**octave
    weights = draws.uniform("sound/harmonics", 3, low=0.2, high=1.0) * np.array([1.0, 0.6, 0.3])
    weights /= weights.sum(axis=1, keepdims=True)
    phases = draws.uniform("sound/phases", 3, high=2 * np.pi)
    tone = np.zeros((len(scenes), count))
    for harmonic in range(3):
        angle = 2 * np.pi * (harmonic + 1) * pitch * time + phases[:, harmonic, None]
        tone += weights[:, harmonic, None] * np.sin(angle)
    loudness = draws.uniform("sound/loudness", 1, low=0.5, high=0.8)
    wind = np.choose(detail.wind, (0.008, 0.02, 0.04))[:, None]
    noise = draws.uniform("sound/wind", count, low=-1.0, high=1.0)
    return np.asarray(loudness * tone * _envelope(scenes, time) + wind * noise, dtype=np.float32)


def _envelope(scenes: Scenes, time: Floats) -> Floats:
    """(row, sample) loudness over time, 0…1, of the rhythm that each scene shows; time (1, sample) in seconds."""
    draws = scenes.draws
    rhythm = scenes.shown["sound", "rhythm"][:, None]
    gate = np.clip(time / 0.02, 0.0, 1.0) * np.clip((SOUND_SECONDS - time) / 0.05, 0.0, 1.0)
    fade = draws.uniform("sound/fade", 1, low=0.2, high=1.0)
    held = np.exp(-fade * time)
    beats = draws.integers("sound/beats", 1, high=2) + 4
    since = (time * beats / SOUND_SECONDS) % 1.0
    beating = np.clip(since / 0.08, 0.0, 1.0) * np.exp(-6.0 * since)
    swell = (time / SOUND_SECONDS) ** 2
    return np.asarray(gate * np.where(rhythm == 0, held, np.where(rhythm == 1, beating, swell)))


_TIMES = (("in the morning", "at noon", "in broad daylight", "after lunch", "under the sun"),
          ("at night", "after dark", "under the stars", "at midnight", "by lamplight"),
          ("by the old wall", "near the road", "all alone", "once again", "behind a fence"))
_VERBS = (("rests quietly", "sways gently", "hums a soft tune", "drifts along slowly", "sleeps in peace"),
          ("dances wildly", "jumps up and down", "shouts with joy", "whirls around", "races past"),
          ("can be seen", "has its place", "is what we found", "waits for us", "stands there"))
_PLACES = (("on the left", "to the left"), ("in the middle", "at the centre"), ("on the right", "to the right"))
_TEMPLATES = (
    "a {thing} {verb} {time}",
    "{time} a {thing} {verb}",
    "look, {place} a {thing} {verb} {time}",
    "we noticed a {thing} that {verb} {place}, {time}",
    "{time} and {place}, the {thing} {verb}",
    "the {thing} {place} {verb} {time}",
)


def captions(scenes: Scenes) -> list[str]:
    """One English sentence a scene.

    Slot colour: a cool (0) or warm (1) colour word, none where hidden. Slot time: words of the day (0) or the night
    (1). Slot verb: a gentle (0) or wild (1) one. Where time or verb is hidden, words that say neither.
    """
    draws, detail = scenes.draws, details(scenes)
    colour, time, verb = (scenes.shown["caption", slot] for slot in ("colour", "time", "verb"))
    picks = {name: draws.integers(f"caption/{name}", high=high) for name, high in
             (("template", len(_TEMPLATES)), ("time", 5), ("verb", 5), ("place", 2))}
    third = np.clip(((detail.centre[:, 0] + 1.0) * 1.5).astype(np.int64), 0, 2)
    sentences: list[str] = []
    for row in range(len(scenes)):
        shape = SHAPES[detail.shape[row]]
        word = "" if colour[row] == HIDDEN else COLOURS[3 * colour[row] + detail.shade[row]]
        text = _TEMPLATES[picks["template"][row]].format(
            thing=f"{word} {shape}".strip(), verb=_VERBS[verb[row]][picks["verb"][row]],
            time=_TIMES[time[row]][picks["time"][row]], place=_PLACES[third[row]][picks["place"][row]])
        sentences.append(text.replace("a orange", "an orange").capitalize() + ".")
    return sentences


def table_cells(scenes: Scenes) -> dict[str, list[str]]:
    """The table's columns as text, "" = missing; `wind` is never missing by itself.

    Slot hour (0…24, one decimal): day (0) or night (1). Slot temperature (°C): cool (0) or warm (1). The column `wind`
    (a category) is heard in the sound and says nothing about the target.
    """
    draws, detail = scenes.draws, details(scenes)
    night = (draws.uniform("table/night", low=19.0, high=29.0)) % 24.0
    hours = np.where(scenes.shown["table", "hour"] == 1, night, draws.uniform("table/day", low=7.0, high=17.0))
    spread = draws.uniform("table/degrees", low=-6.0, high=6.0)
    degrees = np.where(scenes.shown["table", "temperature"] == 1, 23.0, 8.0) + spread
    return {
        "hour": _numbers(hours, scenes.shown["table", "hour"]),
        "temperature": _numbers(degrees, scenes.shown["table", "temperature"]),
        "wind": [WINDS[wind] for wind in detail.wind],
    }


def _numbers(values: Floats, shown: Ints) -> list[str]:
    return ["" if slot == HIDDEN else f"{value:.1f}" for value, slot in zip(values, shown, strict=True)]
