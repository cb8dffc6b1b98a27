"""Two-stream fusion: every modality predicts on its own, and the predictions are averaged."""

from __future__ import annotations

from jaxtyping import Bool
from torch import Tensor, nn

from sensorium.encoders.base import Tokens
from sensorium.fusion.base import Fused, Fusion, in_places, shares
from sensorium.fusion.block import Block, keys_only, only_real
from sensorium.fusion.reading import Readers


class TwoStreamFusion(Fusion):
    """z = (1 / |S|) · Σ_{m ∈ S} v_m,  v_m = read_m(block_m(x_m)).

    Each modality is a stream of its own: one transformer block among its tokens, then learned queries read them.
    Streams share nothing but the heads; since these are linear, the mean of the vectors is the mean of what the streams
    predict (of the logits): late fusion, for any number of streams. One modality alone is its own prediction.

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token, a multiple of 16.
        timed: of no meaning here.

    Example:
        >>> fusion = TwoStreamFusion(("photo", "note"), 32)
        >>> tokens = Tokens(torch.randn(3, 5, 32), torch.ones(3, 5, dtype=torch.bool))
        >>> fusion({"photo": tokens}, torch.tensor([[True, False]] * 3)).vector.shape
        torch.Size([3, 32])

    Source: Simonyan & Zisserman 2014, "Two-stream convolutional networks", fusion by averaging.
    """

    def __init__(self, names: tuple[str, ...], width: int, timed: frozenset[str] = frozenset()) -> None:
        super().__init__(names, width, timed)
        self.streams = nn.ModuleList(Block(width) for _ in names)
        self.read = Readers(len(names), width)

    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """(batch, width), each modality's share and voice; a row's absent modalities are not read."""
        count = presence.sum(dim=1, keepdim=True)
        parts = {}
        for place, one in self.at_hand(tokens, presence).items():
            values = self.streams[place](one.values, keys_only(only_real(one.mask, one.values.dtype)))
            parts[place] = self.volume[place] * self.read.one(place, Tokens(values, one.mask)) / count
        voices = in_places(parts, presence)
        vector = voices.sum(dim=1)
        return Fused(vector, weights=shares(voices, vector, presence), voices=voices)
