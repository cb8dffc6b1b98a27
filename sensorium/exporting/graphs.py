"""What becomes a graph: an encoder with its preprocessing; fusion and heads; fusion and the embedding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.kinds import AnyKind, AudioKind, ImageKind, VideoKind
from sensorium.data.kinds.base import Inputs
from sensorium.encoders.base import StagedEncoder, Tokens
from sensorium.errors import ExportError
from sensorium.exporting.resizing import Fitted
from sensorium.fusion.base import Fused
from sensorium.fusion.imputation import fuse_imputed
from sensorium.model import Model

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
        backbone = getattr(self.encoder, "backbone", None)
        staged = isinstance(self.encoder, StagedEncoder) and isinstance(backbone, nn.Module)
        tokens: Tokens = self.encoder.project(backbone(inputs)) if staged else self.encoder(inputs)  # all rows at once
        return tokens


class FusedGraph(nn.Module):
    """What both graphs behind the encoders begin with.

    Args:
        model: in evaluation mode.
        read: the modalities whose tokens are given, in the schema's order.
    """

    def __init__(self, model: Model, read: Sequence[str]) -> None:
        super().__init__()
        self.fusion, self.imputer = model.fusion, model.imputer
        self.names, self.read = model.schema.names, tuple(read)

    def named(self, parts: Sequence[Part]) -> dict[str, Tokens]:
        """Modality → its tokens."""
        return {name: Tokens(part[0], part[1], part[2] if len(part) > 2 else None)
                for name, part in zip(self.read, parts, strict=True)}


class AnswerGraph(FusedGraph):
    """Tokens and presence → the fused vector, with what the model imputes, and each target's raw output.

    Args:
        model, read: as of `FusedGraph`.
    """

    def __init__(self, model: Model, read: Sequence[str]) -> None:
        super().__init__(model, read)
        self.predictors = model.predictors

    def forward(self, presence: Bool[Tensor, "row modality"], parts: Sequence[Part]) -> tuple[Tensor, ...]:
        """(row, width) and, for each target, (row, output); every row has at least one modality."""
        tokens = self.named(parts)
        fused: Fused = (self.fusion(tokens, presence) if self.imputer is None else
                        fuse_imputed(self.fusion, self.imputer, tokens, presence, self.imputer.wanted(presence)))
        return fused.vector, *(predictor.outputs(fused) for predictor in self.predictors)  # type: ignore[operator]


class EmbeddingGraph(FusedGraph):
    """Tokens and presence → a unit-length embedding: nothing is imputed in it.

    Args:
        model, read: as of `FusedGraph`.
    """

    def __init__(self, model: Model, read: Sequence[str]) -> None:
        super().__init__(model, read)
        self.alignment, self.contrast, self.correlate = model.alignment, model.contrast, model.correlate

    def forward(self, presence: Bool[Tensor, "row modality"], parts: Sequence[Part]) -> Tensor:
        """(row, embedding_width)."""
        tokens = self.named(parts)
        if self.alignment is not None:
            return self._aligned(tokens, presence)
        fused: Fused = self.fusion(tokens, presence)
        return F.normalize(fused.vector.float(), dim=1) if self.contrast is None else self.contrast.embed(fused)

    def _aligned(self, tokens: dict[str, Tokens], presence: Tensor) -> Tensor:
        """The unit-length mean of what the closed form makes of each present modality alone."""
        assert self.alignment is not None
        total = torch.zeros(len(presence), self.alignment.width)
        for place, name in enumerate(self.names):
            if name not in tokens:
                continue
            alone = torch.zeros_like(presence)
            alone[:, place] = presence[:, place]
            fused: Fused = self.fusion(tokens, alone)
            said = fused.vector.float() if self.correlate is None else self.correlate.read(fused, name)
            said = torch.where(presence[:, place, None], said, 1.0)
            total = total + torch.where(presence[:, place, None], self.alignment({name: said})[name], 0.0)
        return F.normalize(total, dim=1)
