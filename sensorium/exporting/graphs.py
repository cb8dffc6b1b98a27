"""What becomes a graph: an encoder with its preprocessing; fusion and heads; the embedding, where it stands apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.kinds import AnyKind, AudioKind, ImageKind, VideoKind
from sensorium.data.kinds.base import Inputs
from sensorium.encoders.base import StagedEncoder, Tokens
from sensorium.encoders.pretrained import PretrainedEncoder
from sensorium.errors import ExportError
from sensorium.exporting.resizing import Fitted
from sensorium.fusion.base import Fused
from sensorium.fusion.imputation import fuse_imputed
from sensorium.model import Model
from sensorium.objectives import Contrast

Part = Sequence[Tensor]
"""A modality's tokens (row, token, width), their mask, and their spans where the fusion reads them."""


class EncoderGraph(nn.Module):
    """Cells of one modality → tokens: pictures of any size are fitted first, whatever else the encoder does follows.

    Args:
        encoder: of the model.
        kind: of the modality, measured.
        name: of the modality, for errors.
        timed: whether the fusion reads when tokens are.

    Raises:
        ExportError: the encoder prepares its input outside torch.
    """

    def __init__(self, encoder: nn.Module, kind: AnyKind, name: str, *, timed: bool) -> None:
        super().__init__()
        if isinstance(kind, AudioKind) and isinstance(encoder, StagedEncoder):
            raise ExportError(f"modality {name!r} cannot be exported: its pretrained encoder prepares sound outside "
                              f"torch; train it with encoder logmel or wavenet")
        self.encoder = encoder
        self.fitted = Fitted(kind) if isinstance(kind, ImageKind | VideoKind) else None
        self.timed = timed

    def forward(self, values: Tensor, mask: Tensor | None = None, span: Tensor | None = None) -> tuple[Tensor, ...]:
        """The kind's values, mask and spans → tokens, their mask, and their spans where they are read."""
        inputs = Inputs(values if self.fitted is None else self.fitted(values), mask, span)
        tokens = self._tokens(inputs)
        if not self.timed or tokens.span is None:
            return tokens.values, tokens.mask
        return tokens.values, tokens.mask, tokens.span[:, :, :2]

    def _tokens(self, inputs: Inputs) -> Tokens:
        if isinstance(self.encoder, PretrainedEncoder):  # all rows at once, where the encoder takes some at a time
            return self.encoder.project(self.encoder.backbone(inputs))
        tokens: Tokens = self.encoder(inputs)
        return tokens


class FusedGraph(nn.Module):
    """Tokens and presence → the fused vector, each target's raw output, and an embedding where it is made of the same
    vector.

    Args:
        model: in evaluation mode.
        read: the modalities whose tokens are given, in the schema's order.
    """

    def __init__(self, model: Model, read: Sequence[str]) -> None:
        super().__init__()
        self.fusion, self.imputer, self.predictors = model.fusion, model.imputer, model.predictors
        self.contrast, self.embeds = model.contrast, not embeds_apart(model)
        self.read = tuple(read)

    def forward(self, presence: Bool[Tensor, "row modality"], parts: Sequence[Part]) -> tuple[Tensor, ...]:
        """(row, width), for each target (row, output), maybe (row, embedding_width); every row has some modality."""
        tokens = _named(self.read, parts)
        fused: Fused = (self.fusion(tokens, presence) if self.imputer is None else
                        fuse_imputed(self.fusion, self.imputer, tokens, presence, self.imputer.wanted(presence)))
        told = [predictor.outputs(fused) for predictor in self.predictors]  # type: ignore[operator]
        return fused.vector, *told, *([_embedded(fused, self.contrast)] if self.embeds else [])


class EmbeddingGraph(nn.Module):
    """Tokens and presence → a unit-length embedding, where predictions impute or the modalities were aligned in closed
    form.

    Args:
        model, read: as of `FusedGraph`.
    """

    def __init__(self, model: Model, read: Sequence[str]) -> None:
        super().__init__()
        self.fusion, self.names, self.read = model.fusion, model.schema.names, tuple(read)
        self.alignment, self.contrast, self.correlate = model.alignment, model.contrast, model.correlate

    def forward(self, presence: Bool[Tensor, "row modality"], parts: Sequence[Part]) -> Tensor:
        """(row, embedding_width)."""
        tokens = _named(self.read, parts)
        if self.alignment is None:
            return _embedded(self.fusion(tokens, presence), self.contrast)
        total = torch.zeros(presence.shape[0], self.alignment.width)
        for place, name in enumerate(self.names):
            if name in tokens:
                said = torch.where(presence[:, place, None], self._alone(tokens, presence, place), 1.0)
                total = total + torch.where(presence[:, place, None], self.alignment({name: said})[name], 0.0)
        return F.normalize(total, dim=1)

    def _alone(self, tokens: dict[str, Tokens], presence: Tensor, place: int) -> Tensor:
        """What one modality says alone; of no meaning in rows without it."""
        alone = torch.zeros_like(presence)
        alone[:, place] = presence[:, place]
        fused: Fused = self.fusion(tokens, alone)
        return fused.vector.float() if self.correlate is None else self.correlate.read(fused, self.names[place])


def embeds_apart(model: Model) -> bool:
    """Whether embeddings are made of other vectors than predictions."""
    return model.imputer is not None or model.alignment is not None


def _embedded(fused: Fused, contrast: Contrast | None) -> Tensor:
    return F.normalize(fused.vector.float(), dim=1) if contrast is None else contrast.embed(fused)


def _named(read: Sequence[str], parts: Sequence[Part]) -> dict[str, Tokens]:
    """Modality → its tokens."""
    return {name: Tokens(part[0], part[1], part[2] if len(part) > 2 else None)
            for name, part in zip(read, parts, strict=True)}
