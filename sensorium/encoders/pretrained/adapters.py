"""Low-rank adapters (LoRA, Hu et al. 2022) inside a frozen backbone, by PEFT."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from sensorium.errors import RecipeError


def add_adapters(backbone: nn.Module, used: Collection[str], rank: int, name: str) -> None:
    """Put a trainable low-rank matrix beside every linear layer, or every 1 × 1 convolution where there is none.

    W x becomes W x + B A x with A (rank, in) and B (out, rank), B zero at first: nothing changes before training. The
    rest of the backbone gets no gradient.

    Args:
        backbone: changed in place.
        used: its parameters that outputs depend on; others are left alone.
        rank: of the adapters.
        name: of the model, for the error.

    Raises:
        RecipeError: there is no layer to adapt.
    """
    from peft import LoraConfig, inject_adapter_in_model

    layers = {path: module for path, module in backbone.named_modules() if f"{path}.weight" in used}
    targets = [path for path, module in layers.items() if isinstance(module, nn.Linear)]
    if not targets:
        targets = [path for path, module in layers.items()
                   if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1]
    if not targets:
        raise RecipeError(f"{name!r} has no linear layer and no 1 × 1 convolution for lora to adapt: use "
                          f"tune=finetune, or frozen")
    settings = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=targets, bias="none")
    inject_adapter_in_model(settings, backbone)
