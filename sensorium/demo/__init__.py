"""The scene world: an embedded, seeded generator of real media files with planted, exactly known truth."""

from sensorium.demo.plans import PLANS
from sensorium.demo.scene import (
    HIDDEN,
    SLOTS,
    Bit,
    Channel,
    Plan,
    Scenes,
    ceiling,
    ceiling_as_found,
    ceilings,
    chance,
    draw_scenes,
    information,
    posterior,
)
from sensorium.demo.write import World, write_world

__all__ = [
    "HIDDEN", "PLANS", "SLOTS", "Bit", "Channel", "Plan", "Scenes", "World", "ceiling", "ceiling_as_found",
    "ceilings", "chance", "draw_scenes", "information", "posterior", "write_world",
]
