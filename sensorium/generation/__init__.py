"""Generation: the fused vector or the tokens of any subset of modalities → a picture, or words."""

from sensorium.generation.adversarial import DiscriminatorLosses, discriminator_losses, generator_losses
from sensorium.generation.augmentation import diff_augment
from sensorium.generation.averaging import moving_average
from sensorium.generation.decoding import Hypotheses, beam_search, length_normalised
from sensorium.generation.flow import flow_losses, flow_sample, middling_times
from sensorium.generation.likelihood import next_word_losses, repeated, text_log_probabilities
from sensorium.generation.mismatch import mismatches
from sensorium.generation.painter import Painter
from sensorium.generation.penalties import matching_penalties, r1_penalties
from sensorium.generation.picture_discriminator import PictureDiscriminator
from sensorium.generation.picture_flow import PictureFlow
from sensorium.generation.picture_generator import PictureGenerator
from sensorium.generation.sampling import nucleus_sample
from sensorium.generation.text_decoder import DecoderState, TextDecoder
from sensorium.generation.words import Words, hide_words

__all__ = ["DecoderState", "DiscriminatorLosses", "Hypotheses", "Painter", "PictureDiscriminator", "PictureFlow",
           "PictureGenerator", "TextDecoder", "Words", "beam_search", "diff_augment", "discriminator_losses",
           "flow_losses", "flow_sample", "generator_losses", "hide_words", "length_normalised", "matching_penalties",
           "middling_times", "mismatches", "moving_average", "next_word_losses", "nucleus_sample", "r1_penalties",
           "repeated", "text_log_probabilities"]
