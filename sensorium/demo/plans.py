"""The named worlds: what is planted in which modality."""

from __future__ import annotations

from sensorium.demo.scene import Bit, Channel, Plan

_MISSING = {"image": 0.04, "sound": 0.05, "caption": 0.03, "table": 0.03}
PLANS: dict[str, Plan] = {
    "scenes": Plan(
        name="scenes",
        bits=(Bit("warm"), Bit("night"), Bit("large", 0.3), Bit("beating")),
        channels=(
            Channel("image", "colour", ("warm",), wrong=0.02, hidden=0.08),
            Channel("image", "size", ("large",), wrong=0.015),
            Channel("sound", "rhythm", ("beating",), wrong=0.015),
            Channel("sound", "pitch", ("night",), wrong=0.04, hidden=0.4),
            Channel("caption", "colour", ("warm",), wrong=0.02, hidden=0.15),
            Channel("caption", "time", ("night",), wrong=0.02, hidden=0.4),
            Channel("caption", "verb", ("large", "beating"), wrong=0.02, hidden=0.6),
            Channel("table", "hour", ("night",), wrong=0.02, hidden=0.06),
            Channel("table", "temperature", ("warm",), wrong=0.05, hidden=0.3),
        ),
        target=(("warm",), ("night",), ("large", "beating")),
        labels=("lake", "waterfall", "moonlight", "thunder", "picnic", "fair", "campfire", "fireworks"),
        missing=_MISSING,
    ),
    "redundant": Plan(
        name="redundant",
        bits=(Bit("night"),),
        channels=(
            Channel("image", "colour", ("night",), wrong=0.2),
            Channel("sound", "pitch", ("night",), wrong=0.2),
            Channel("caption", "time", ("night",), wrong=0.2),
            Channel("table", "hour", ("night",), wrong=0.2),
        ),
        target=(("night",),),
        labels=("awake", "asleep"),
        missing=_MISSING,
    ),
    "xor": Plan(
        name="xor",
        bits=(Bit("large"), Bit("beating")),
        channels=(
            Channel("image", "size", ("large",), wrong=0.02),
            Channel("sound", "rhythm", ("beating",), wrong=0.02),
        ),
        target=(("large", "beating"),),
        labels=("calm", "lively"),
        modalities=("image", "sound"),
        missing={"image": 0.04, "sound": 0.05},
    ),
    "senses": Plan(
        name="senses",
        bits=(Bit("east"), Bit("south")),
        channels=(
            Channel("image", "colour", ("east",), wrong=0.04),
            Channel("image", "size", ("south",), wrong=0.06),
            Channel("sound", "rhythm", ("east",), wrong=0.04),
            Channel("sound", "pitch", ("south",), wrong=0.06),
            Channel("video", "direction", ("east",), wrong=0.04),
            Channel("video", "blink", ("south",), wrong=0.06),
            Channel("motion", "braking", ("east",), wrong=0.04),
            Channel("motion", "turning", ("south",), wrong=0.06),
            Channel("returns", "range", ("east",), wrong=0.04),
            Channel("returns", "closing", ("south",), wrong=0.06),
        ),
        target=(("east",), ("south",)),
        labels=("harbour", "meadow", "quarry", "village"),
        modalities=("image", "sound", "video", "motion", "returns"),
    ),
    "road": Plan(
        name="road",
        bits=(Bit("crossing"), Bit("near"), Bit("braking"), Bit("night")),
        channels=(
            Channel("video", "direction", ("crossing",), wrong=0.03, hidden=0.1),
            Channel("video", "blink", ("night",), wrong=0.05, hidden=0.2),
            Channel("motion", "braking", ("braking",), wrong=0.02, hidden=0.05),
            Channel("motion", "turning", ("crossing",), wrong=0.1, hidden=0.3),
            Channel("returns", "range", ("near",), wrong=0.02),
            Channel("returns", "closing", ("near", "braking"), wrong=0.04, hidden=0.1),
            Channel("caption", "time", ("night",), wrong=0.02, hidden=0.3),
            Channel("caption", "colour", ("crossing",), wrong=0.05, hidden=0.3),
        ),
        target=(("near", "braking"), ("crossing",), ("night",)),
        labels=("cruise", "lights", "yield", "dim", "follow", "glow", "stop", "alarm"),
        modalities=("video", "motion", "returns", "caption"),
        missing={"video": 0.03, "motion": 0.04, "returns": 0.05, "caption": 0.03},
    ),
}
"""The named worlds. `senses`: every modality shows both halves of the target, each with noise of its own, so that each
alone can be right in .96 · .94 of the cases. `road`: what is near and whether one brakes matter only together."""
