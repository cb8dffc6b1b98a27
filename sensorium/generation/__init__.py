"""Generation: the fused vector or the tokens of any subset of modalities → a picture, or words."""

from sensorium.generation.adversarial import DiscriminatorLosses, discriminator_losses, generator_losses
from sensorium.generation.augmentation import diff_augment
from sensorium.generation.averaging import moving_average
from sensorium.generation.flow import flow_losses, flow_sample, middling_times
from sensorium.generation.mismatch import mismatches
from sensorium.generation.painter import Painter
from sensorium.generation.penalties import matching_penalties, r1_penalties
from sensorium.generation.picture_discriminator import PictureDiscriminator
from sensorium.generation.picture_flow import PictureFlow
from sensorium.generation.picture_generator import PictureGenerator

__all__ = ["DiscriminatorLosses", "Painter", "PictureDiscriminator", "PictureFlow", "PictureGenerator", "diff_augment",
           "discriminator_losses", "flow_losses", "flow_sample", "generator_losses", "matching_penalties",
           "middling_times", "mismatches", "moving_average", "r1_penalties"]
