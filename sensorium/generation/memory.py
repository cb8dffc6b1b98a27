"""What a decoder reads of a row: the fused vector and the tokens of the modalities it may see."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sensorium.encoders.base import Tokens


class Memory(nn.Module):
    """[z_S; T^m + e_m for m in S]: the fused vector as a first token, then each token with a mark of its modality.

    Every token is normalised on its own, because encoders differ in scale. Absent modalities are masked and never read.

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token.
    """

    def __init__(self, names: tuple[str, ...], width: int) -> None:
        super().__init__()
        self.names = names
        self.marks = nn.Parameter(0.02 * torch.randn(1 + len(names), width))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, vector: Float[Tensor, "batch width"], tokens: dict[str, Tokens],
        presence: Bool[Tensor, "batch modality"],
    ) -> Tokens:
        """Put together what may be read.

        Args:
            vector: of the fused subset.
            tokens: by modality; a name may be left out where no row shows it.
            presence: (batch, modality) what may be read of each row.
        """
        values = [self.norm(vector)[:, None, :] + self.marks[0]]
        masks = [torch.ones(len(vector), 1, dtype=torch.bool, device=vector.device)]
        for place, name in enumerate(self.names):
            shown = presence[:, place]
            if name in tokens and bool(shown.any()):
                mask = tokens[name].mask & shown[:, None]
                real = torch.where(mask[:, :, None], tokens[name].values, 0.0)
                values.append(torch.where(mask[:, :, None], self.norm(real) + self.marks[1 + place], 0.0))
                masks.append(mask)
        return Tokens(torch.cat(values, dim=1), torch.cat(masks, dim=1))
