"""Synthetic worlds: seeded generators of real media files with known truth; scenes to predict from, objects to make."""

from sensorium.demo.objects import Combination, Objects, combinations, draw_objects, held_out
from sensorium.demo.objects_render import object_pictures
from sensorium.demo.objects_write import ObjectWorld, write_generation, write_qa
from sensorium.demo.plans import PLANS
from sensorium.demo.questions import ANSWERS, QUESTIONS, Asked, ask, question_floor
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
from sensorium.demo.spoken import speech
from sensorium.demo.wording import Attributes, attributes_of, captions
from sensorium.demo.write import World, write_world

__all__ = [
    "ANSWERS", "HIDDEN", "PLANS", "QUESTIONS", "SLOTS", "Asked", "Attributes", "Bit", "Channel", "Combination",
    "ObjectWorld", "Objects", "Plan", "Scenes", "World", "ask", "attributes_of", "captions", "ceiling",
    "ceiling_as_found", "ceilings", "chance", "combinations", "draw_objects", "draw_scenes", "held_out", "information",
    "object_pictures", "posterior", "question_floor", "speech", "write_generation", "write_qa", "write_world",
]
