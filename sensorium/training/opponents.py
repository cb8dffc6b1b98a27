"""The other side of adversarial objectives: trained first in every step, on what the model makes as it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium.data.batch import Batch
from sensorium.model import Model
from sensorium.objectives import PaintGAN, View
from sensorium.objectives.same import same_keys
from sensorium.training.distributed import Device

BETAS = (0.0, 0.99)
CLIP = 10.0


class Opponents:
    """The opponents of a model in training, each with its own optimiser.

    Args:
        model: whose objectives have begun (`Model.begin`).
        learning_rate: of the run.
    """

    def __init__(self, model: Model, learning_rate: float) -> None:
        self._model = model
        self._makers = [one for one in model.generative() if isinstance(one, PaintGAN)]
        self.optimizers = {one.name: torch.optim.Adam(opponent_of(one).parameters(), lr=learning_rate * one.rate,
                                                      betas=BETAS, foreach=True) for one in self._makers}

    def step(self, batch: Batch, presence: Tensor, *, step: int, lr: float, device: Device) -> dict[str, Tensor]:
        """Improve every opponent once; the model is left as it is.

        Args:
            batch: of this training step.
            presence: (batch, modality) this step's sampled subset.
            step: steps taken before.
            lr: this step's learning rate.
            device: where to compute.

        Returns:
            "<objective> opponent" → its loss.
        """
        if not self._makers:
            return {}
        labels = [target.name for target in self._model.schema.targets if target.task == "classify"]
        assert batch.identities is not None
        keys = same_keys(batch.identities, batch.targets, labels)
        losses = {}
        with device.autocast():
            with torch.no_grad():
                view: View = self._model.view(self._model.encode(batch), presence, impute=False)
            for one in self._makers:
                found = one.aimed(view.restricted(one), batch)
                if found is None:
                    continue
                opponent = opponent_of(one).requires_grad_(True).train()
                positions = found[1].rows
                loss = one.opponent_loss(*found, keys[positions], step=step)
                optimizer = self.optimizers[one.name]
                for group in optimizer.param_groups:
                    group["lr"] = lr * one.rate
                optimizer.zero_grad(set_to_none=True)
                device.backward(loss)
                _averaged(opponent)
                nn.utils.clip_grad_norm_(opponent.parameters(), CLIP, foreach=True)
                optimizer.step()
                opponent.requires_grad_(False)
                losses[f"{one.name} opponent"] = loss.detach()
        return losses


def opponent_of(maker: PaintGAN) -> nn.Module:
    """The opponent of an objective whose training has begun."""
    assert maker.opponent is not None
    return maker.opponent


def _averaged(opponent: nn.Module) -> None:
    """The mean gradient of all processes, each having seen its share of the step."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for parameter in opponent.parameters():
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= torch.distributed.get_world_size()
