"""Paint as a game: a generator against a discriminator that is told what the picture should show."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.data.batch import Aim
from sensorium.generation.adversarial import discriminator_losses, generator_losses
from sensorium.generation.augmentation import NUM_DRAWS, diff_augment
from sensorium.generation.mismatch import mismatches
from sensorium.generation.penalties import LAZY_STEPS, matching_penalties
from sensorium.generation.picture_discriminator import PictureDiscriminator
from sensorium.generation.picture_generator import PictureGenerator
from sensorium.keyed import Draws
from sensorium.objectives.generative import Condition
from sensorium.objectives.paint import Paint

PENALTY, POWER = 0.02, 2.0
CHANGES = frozenset({"colour", "shift"})


class PaintGAN(Paint):
    """min_G max_D over pairs (picture, condition): D tells real pictures with what they were made from, from real ones
    with what others were made from and from painted ones, and so models the joint distribution (Reed et al. 2016).

    Each step first improves D on the detached condition, then G with D held still. Real and painted pictures are
    changed alike in both (DiffAugment), D's gradient at real matching pairs is penalised every 16th step, and what is
    used is the moving average of G's weights.

    Args:
        to: the image modality that is made.
        width: of the fused vector.
        size, channels: of the pictures.
        base: channels of the networks at the full side.
        weight: in the joint loss.
        rate: of the learning rates of G and D, relative to the rest of the model.

    Attributes:
        opponent: D, in training.
    """

    adversarial = True

    def __init__(
        self, to: str, width: int, *, size: int, channels: int, base: int = 16, weight: float = 1.0, rate: float = 1.0,
    ) -> None:
        super().__init__(to, PictureGenerator(width, size=size, channels=channels, base=base), weight=weight, rate=rate)
        self.width, self.base = width, base
        self.opponent: PictureDiscriminator | None = None

    @property
    def default_guidance(self) -> float:
        """1: what was learned."""
        return 1.0

    def begin(self) -> None:
        """The average, and the opponent."""
        super().begin()
        self.opponent = PictureDiscriminator(self.width, size=self.painter.size, channels=self.painter.channels,
                                             base=self.base).requires_grad_(False)
        self.opponent.to(next(self.painter.parameters()).device)

    def finish(self) -> None:
        """The average is the painter, the opponent is gone."""
        super().finish()
        self.opponent = None

    def losses(self, condition: Condition, aim: Aim, draws: Draws) -> Float[Tensor, "batch"]:
        """What G loses by each row against D as it is."""
        assert self.opponent is not None
        painted = self.painter(condition.vector, self.noise(draws, "paint/noise", condition.vector.device))
        changed = self._changed(painted, draws, "paint/change")
        return generator_losses(self.opponent(changed, condition.vector.detach()))

    def opponent_loss(
        self, condition: Condition, aim: Aim, draws: Draws, keys: Int[Tensor, "batch key"], *, step: int,
    ) -> Float[Tensor, ""]:
        """What D loses by the batch against G as it is.

        Args:
            condition, aim, draws: of the same rows.
            keys: rows with an equal number ≥ 0 in the same column are not different things.
            step: steps taken before; the penalty is due where it is a multiple of 16.
        """
        assert self.opponent is not None
        vector, device = condition.vector.detach(), condition.vector.device
        lot = torch.from_numpy(draws.uniform("opponent/mismatch")).to(device)
        other = mismatches(keys, lot)
        with torch.no_grad():
            painted = self.painter(vector, self.noise(draws, "opponent/noise", device))
        real = self._changed(self.pictures(aim, device), draws, "opponent/real")
        due = step % LAZY_STEPS == 0
        told = vector.clone().requires_grad_(due)
        real.requires_grad_(due)
        features = self.opponent.features(real)
        matched = self.opponent.judge(features, told)
        mismatched = self.opponent.judge(features, vector[other.clamp(min=0)])
        judged = self.opponent(self._changed(painted, draws, "opponent/painted"), vector)
        loss = discriminator_losses(matched, mismatched, judged, other >= 0).rows.mean()
        if due:
            loss = loss + LAZY_STEPS * PENALTY * matching_penalties(matched, real, told, power=POWER).mean()
        return loss

    def judge(self, condition: Condition, aim: Aim, draws: Draws) -> None:
        """Nothing: the loss of a game says how even it is, not how good the pictures are."""
        return

    def _changed(self, pictures: Tensor, draws: Draws, purpose: str) -> Tensor:
        """Pictures changed by each row's own draws."""
        return diff_augment(pictures, torch.from_numpy(draws.uniform(purpose, NUM_DRAWS)).to(pictures), changes=CHANGES)
