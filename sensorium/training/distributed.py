"""Where a step is computed: one process or several, CPU or GPU. Built on accelerate."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn


class Device:
    """The hardware behind a step.

    Several processes (started by torchrun) share each batch: process r of w takes rows r, r + w, …; since every draw is
    keyed by row and losses are divided by global counts, they take the same step as one process does.
    bf16 is used only on GPUs that have it.
    """

    def __init__(self) -> None:
        from accelerate import Accelerator

        on_gpu = torch.cuda.is_available()
        precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "no"
        self._accelerator = Accelerator(mixed_precision=precision, cpu=not on_gpu)
        self.device: torch.device = self._accelerator.device
        self.precision = precision

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return bool(self._accelerator.is_main_process)

    @property
    def shared(self) -> bool:
        """Whether several processes share each step."""
        return bool(self._accelerator.num_processes > 1)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module to call in a step: gradients are averaged over processes."""
        if self._accelerator.num_processes == 1:
            return model
        wrapped: nn.Module = self._accelerator.prepare_model(model)
        return wrapped

    def share(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """This process's rows of a batch."""
        world = self._accelerator.num_processes
        return rows[self._accelerator.process_index % max(1, min(world, len(rows))) :: world] if world > 1 else rows

    def autocast(self) -> AbstractContextManager[None]:
        """Mixed precision where the hardware has it."""
        context: AbstractContextManager[None] = self._accelerator.autocast()
        return context

    def wait(self) -> None:
        """Until every process is here."""
        self._accelerator.wait_for_everyone()

    def backward(self, loss: Tensor) -> None:
        """Back-propagate."""
        self._accelerator.backward(loss)
