"""PretrainedEncoder: any Hugging Face model that returns hidden states, as an encoder of ours."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.data.kinds import AnyKind, TextKind
from sensorium.data.kinds.base import Inputs, first_line
from sensorium.encoders.base import StagedEncoder, Tokens
from sensorium.encoders.pretrained.adapters import add_adapters
from sensorium.encoders.pretrained.backbone import load_model
from sensorium.encoders.pretrained.build import make_backbone
from sensorium.encoders.pretrained.rates import layer_factors
from sensorium.encoders.pretrained.source import PretrainedSource, describe_source, kinds_of
from sensorium.errors import RecipeError
from sensorium.recipe import EncoderOptions

FROZEN_ROWS, FROZEN_ROWS_ELSEWHERE = 16, 128
ADAPTER_FACTOR = 0.25


class PretrainedEncoder(StagedEncoder):
    """A pretrained model's hidden states, then a layer norm and a linear map to our width.

    `forward` is `project(features(inputs))`: features are the model's own and can be kept where nothing in it is
    trained; the projection always learns. The model stays in evaluation mode while the rest trains: its batch
    normalisation keeps the statistics that it came with, and nothing is drawn at random.

    Args:
        source: the pretrained model.
        kind: measured, of `adapt_kind`.
        width: of the returned tokens.
        options: what is trained and at which rates; tokens a cell.
        weights: False: random ones, for a state that is loaded afterwards.

    Raises:
        RecipeError: the model cannot be loaded, or cannot be run on what the kind gives.
    """

    def __init__(
        self, source: PretrainedSource, kind: AnyKind, width: int, options: EncoderOptions, *, weights: bool = True,
    ) -> None:
        super().__init__()
        if options.weights is not None:
            raise RecipeError(f"weights: {options.weights!r} cannot be put into {source.name!r}, which has its own")
        loaded = load_model(source, kind.name, weights=weights)
        self.source, self.options, self.kind = source, options, kind
        self.config, self.unset = loaded.config, loaded.unset
        self.backbone, self.processor = make_backbone(loaded, source, kind, options.tokens)
        hidden, used = self._tried()
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(options.tune == "finetune" and name in used)
        if options.tune == "lora":
            add_adapters(self.backbone, used, options.rank, source.name)
        self.norm = nn.LayerNorm(hidden)
        self.linear = nn.Linear(hidden, width)
        self.train(self.training)

    @classmethod
    def build(cls, kind: AnyKind, width: int, options: EncoderOptions | None = None) -> PretrainedEncoder:
        """The encoder that the options name, for a measured kind of `adapt_kind`."""
        if options is None:
            raise RecipeError("a pretrained encoder needs its options: EncoderOptions(name=FOLDER)")
        return cls(describe_source(options.name), kind, width, options)

    @classmethod
    def from_saved(cls, folder: str | Path, kind: AnyKind, width: int, options: EncoderOptions) -> PretrainedEncoder:
        """The encoder of `save_config`, with random weights for `load_state_dict`; its first source is not needed."""
        path = Path(folder)
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        source = PretrainedSource(options.name, path, str(config.get("model_type", "")), kinds_of(path))
        return cls(source, kind, width, options, weights=False)

    def save_config(self, folder: Path) -> None:
        """Write what `from_saved` needs beside the weights: config.json, and preprocessor_config.json."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(folder)
        if self.processor is not None:
            self.processor.save_pretrained(folder)

    def features(self, inputs: Inputs) -> Tokens:
        """(row, …) inputs → (row, token, hidden) the model's own hidden states; without gradient where it is frozen."""
        if not self.frozen:
            tokens: Tokens = self.backbone(inputs)
            return tokens
        with torch.no_grad():
            rows = FROZEN_ROWS if inputs.values.device.type == "cpu" else FROZEN_ROWS_ELSEWHERE
            return joined([self.backbone(part) for part in parted(inputs, rows)])

    def project(self, features: Tokens) -> Tokens:
        """(row, token, hidden) features → (row, token, width) tokens; the part that always learns."""
        values: Tensor = self.linear(self.norm(features.values.to(self.linear.weight.dtype)))
        return Tokens(values, features.mask, features.span)

    def train(self, mode: bool = True) -> PretrainedEncoder:
        """As of any module, but the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    @property
    def frozen(self) -> bool:
        """Whether nothing in the backbone is trained."""
        return self.options.tune == "frozen"

    @property
    def cacheable(self) -> bool:
        """Whether the features of a cell are always the same, so that they can be kept."""
        return self.frozen

    def learning_rates(self) -> dict[str, float]:
        """Parameter → factor of the learning rate, for what is trained in the backbone."""
        trained = [name for name, parameter in self.backbone.named_parameters() if parameter.requires_grad]
        if self.options.tune == "lora":
            return {f"backbone.{name}": ADAPTER_FACTOR for name in trained}
        factors = layer_factors(self.backbone, self.options.factor, self.options.decay)
        return {f"backbone.{name}": factors[name] for name in trained}

    def fingerprint(self) -> str:
        """A digest of whatever `features` depends on besides the cell: weights, preprocessing, settings."""
        digest = hashlib.sha256()
        settings: dict[str, Any] = {
            "model": self.config.to_dict(), "kind": self.kind.model_dump(mode="json"),
            "tokenizer": self.kind.tokenizer if isinstance(self.kind, TextKind) else None,
            "processor": None if self.processor is None else self.processor.to_dict(), "tokens": self.options.tokens,
        }
        digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.backbone.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def _tried(self) -> tuple[int, frozenset[str]]:
        """The hidden width, from one row of noise, and the parameters that it depends on, where that matters.

        Raises:
            RecipeError: the model does not run on such inputs, or the files lack a parameter that it needs.
        """
        if self.frozen and not self.unset:
            with torch.no_grad():
                return int(self._probed().shape[-1]), frozenset()
        parameters, buffers = dict(self.backbone.named_parameters()), dict(self.backbone.named_buffers())
        with torch.enable_grad():
            values = self._probed()
            gradients = torch.autograd.grad(values.sum(), list(parameters.values()), allow_unused=True)
        used = frozenset(name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None)
        read = used | {name for name, buffer in buffers.items() if buffer.is_floating_point()}
        lacking = [name for name in self.unset if f"model.{name}" in read]
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise RecipeError(f"the weights of {self.source.name!r} lack {lacking[0]!r}{more}: they belong to another "
                              f"model, or are incomplete")
        return int(values.shape[-1]), used

    def _probed(self) -> Tensor:
        try:
            values: Tensor = self.backbone(self.backbone.probe()).values
        except Exception as error:  # whatever a model raises on a size that it does not take
            raise RecipeError(f"{self.source.name!r} cannot be run on {self.kind.name} as set ({first_line(error)}): "
                              f"leave out the settings of size") from error
        return values


def parted(inputs: Inputs, rows: int) -> list[Inputs]:
    """So many rows at a time, each part padded no further than its own longest row."""
    parts = []
    for start in range(0, len(inputs), rows):
        values, mask, span = (None if value is None else value[start : start + rows]
                              for value in (inputs.values, inputs.mask, inputs.span))
        assert values is not None
        if mask is not None:
            longest = max(1, int(mask.sum(dim=1).max()))
            values, mask, span = values[:, :longest], mask[:, :longest], None if span is None else span[:, :longest]
        parts.append(Inputs(values, mask, span))
    return parts


def joined(parts: list[Tokens]) -> Tokens:
    """Tokens of several parts below each other, padded to the longest."""
    longest = max(part.values.shape[1] for part in parts)
    spans = [_padded(part.span, longest) for part in parts if part.span is not None]
    return Tokens(torch.cat([_padded(part.values, longest) for part in parts]),
                  torch.cat([_padded(part.mask, longest) for part in parts]), torch.cat(spans) if spans else None)


def _padded(value: Tensor, longest: int) -> Tensor:
    return torch.cat([value, value.new_zeros(len(value), longest - value.shape[1], *value.shape[2:])], dim=1)
