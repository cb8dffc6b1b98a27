"""The scene world: an embedded, seeded generator of real media files with planted, exactly known truth."""

from sensorium.demo.objects import Combination, Objects, combinations, draw_objects, held_out
from sensorium.demo.objects_render import object_pictures
from sensorium.demo.objects_write import ObjectWorld, write_generation
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
from sensorium.demo.wording import Attributes, attributes_of, captions
from sensorium.demo.write import World, write_world

__all__ = [
    "HIDDEN", "PLANS", "SLOTS", "Attributes", "Bit", "Channel", "Combination", "ObjectWorld", "Objects", "Plan",
    "Scenes", "World", "attributes_of", "captions", "ceiling", "ceiling_as_found", "ceilings", "chance",
    "combinations", "draw_objects", "draw_scenes", "held_out", "information", "object_pictures", "posterior",
    "write_generation", "write_world",
]
