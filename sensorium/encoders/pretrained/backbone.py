"""The contract of backbones (inputs → a pretrained model's own hidden states), and how their models are loaded."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.data.kinds.base import Inputs, first_line
from sensorium.encoders.base import Tokens
from sensorium.encoders.pretrained.quiet import quiet
from sensorium.encoders.pretrained.source import PretrainedSource
from sensorium.errors import RecipeError

TOWERS = {"image": "vision_model", "text": "text_model"}


class Backbone(nn.Module, ABC):
    """A pretrained model with its arithmetic before it (normalisation, log-mel …): inputs → its hidden states.

    Attributes:
        model: transformers' module, or one tower of it.
    """

    model: nn.Module

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tokens:
        """Inputs → (row, token, hidden) tokens; a row depends neither on the others nor on padding."""

    @abstractmethod
    def probe(self) -> Inputs:
        """One small row of noise, to try the model on."""

    def hidden_states(self, **arguments: Any) -> Tensor:
        """(row, token, hidden), or (row, hidden, height, width) of a convolutional network."""
        hidden = self.model(return_dict=True, **arguments).last_hidden_state
        assert isinstance(hidden, Tensor)
        return hidden

    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.model.parameters()).dtype


@dataclass(frozen=True)
class Loaded:
    """A model from disk.

    Args:
        model: the part that encodes the kind, in float32, in evaluation mode.
        config: transformers' configuration of the whole.
        settings: the part's own configuration, as plain values.
        unset: names of its parameters that the files lack: random, and the same at every loading.
    """

    model: nn.Module
    config: Any
    settings: dict[str, Any]
    unset: tuple[str, ...]


def load_model(source: PretrainedSource, kind: str, *, weights: bool = True) -> Loaded:
    """The part of a pretrained model that encodes a kind; only safetensors are read and no code of the folder runs.

    Args:
        source: where it is.
        kind: text, image, audio or video.
        weights: False: random ones, for a state that is loaded afterwards.

    Raises:
        RecipeError: the files are broken, or the model has no part for the kind.
    """
    from transformers import MODEL_MAPPING, AutoConfig

    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            config = AutoConfig.from_pretrained(source.folder, local_files_only=True, trust_remote_code=False)
            choices: Any = MODEL_MAPPING[type(config)]
            model_class = choices[0] if isinstance(choices, tuple) else choices
            poolable = "add_pooling_layer" in inspect.signature(model_class).parameters
            extra = {"add_pooling_layer": False} if poolable else {}
            config.dtype = torch.float32
            if weights:
                model, report = model_class.from_pretrained(
                    source.folder, config=config, dtype=torch.float32, use_safetensors=True, local_files_only=True,
                    output_loading_info=True, **extra)
                missing = {str(name) for name in report["missing_keys"]}
            else:
                model, missing = model_class(config, **extra), set()
    except Exception as error:  # OSError, SafetensorError, RuntimeError, ValueError, KeyError … of transformers
        raise RecipeError(f"{source.name!r} cannot be loaded ({type(error).__name__}: {first_line(error)}): fetch its "
                          f"files again") from error
    part = _part(model, kind, source.name)
    path = next(name for name, module in model.named_modules() if module is part)
    prefix = f"{path}." if path else ""
    own = {name for name, _ in part.named_parameters()} | {name for name, _ in part.named_buffers()}
    unset = tuple(sorted(name for name in own if f"{prefix}{name}" in missing))
    return Loaded(part.eval(), config, dict(part.config.to_dict()), unset)


def _part(model: Any, kind: str, name: str) -> Any:
    """The tower for a kind, the encoder of an encoder-decoder, or the whole."""
    settings = model.config.to_dict()
    if "text_config" in settings and "vision_config" in settings:
        try:
            return model.get_submodule(TOWERS[kind])
        except (AttributeError, KeyError) as error:
            raise RecipeError(f"{name!r} ({type(model).__name__}) has no part for {kind} that works on its own: choose "
                              f"a model of CLIP's make, or one for {kind} alone") from error
    return model.get_encoder() if model.config.is_encoder_decoder else model
