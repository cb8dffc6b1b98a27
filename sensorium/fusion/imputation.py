"""Cross-modal imputation: the tokens of an absent modality, predicted from those of the present ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.encoders.base import Tokens
from sensorium.errors import DataError
from sensorium.fusion.base import Fused, Fusion
from sensorium.fusion.block import NEVER, Block, keys_only, per_modality

NUM_TOKENS = 4
MOST_TOKENS = 8
EXPANSION = 4
ALWAYS = 1e6  # seconds: a token whose time is not known is at every time, so that no bias of time concerns it
Pattern = frozenset[str]


class Imputer(nn.Module):
    """T̂^m = c_m + s_m ⊙ H_m LN(Block(q_m; {(x − c_k) / s_k + e_k : x ∈ T^k, k present})): K tokens of an absent m.

    The K learned queries of a modality read the tokens of the present ones in one block of attention that all
    modalities share (keys are the present tokens only, log n_k subtracted from the n_k tokens of each); a linear map
    of its own turns what they have read into tokens of the modality. c and s, the mean token and the spread of its
    channels, are measured on training rows: an untrained imputer says about the mean token. Nothing is random.

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token.
        timed: modalities whose spans are seconds on one clock; imputed tokens have no time of their own.
        num_tokens: K, 1 to 8.

    Attributes:
        accepted: pattern of presence → what is imputed in rows of exactly this pattern; see `accept`.

    Example:
        >>> imputer = Imputer(("photo", "note"), 32)
        >>> photo = Tokens(torch.randn(3, 5, 32), torch.ones(3, 5, dtype=torch.bool))
        >>> presence = torch.tensor([[True, False]] * 3)
        >>> tokens, filled = imputer({"photo": photo}, presence, ~presence)
        >>> tokens["note"].values.shape, bool(filled.all())
        (torch.Size([3, 4, 32]), True)
    """

    center: Tensor
    spread: Tensor
    patterns: Tensor
    fills: Tensor

    def __init__(
        self, names: tuple[str, ...], width: int, *, timed: frozenset[str] = frozenset(), num_tokens: int = NUM_TOKENS,
    ) -> None:
        super().__init__()
        if not 1 <= num_tokens <= MOST_TOKENS:
            raise DataError(f"num_tokens: expected 1 to {MOST_TOKENS} tokens of what is imputed, found "
                            f"{num_tokens}")
        self.names = names
        self.timed = timed
        self.num_tokens = num_tokens
        self.accepted: dict[Pattern, Pattern] = {}
        self.modality = nn.Parameter(0.1 * torch.randn(len(names), width))
        self.queries = nn.Parameter(0.5 * torch.randn(len(names), num_tokens, width))
        self.block = Block(width, expansion=EXPANSION)
        self.norm = nn.LayerNorm(width)
        self.heads = nn.Parameter(0.1 * torch.randn(len(names), width, width) / width**0.5)
        self.register_buffer("center", torch.zeros(len(names), width))
        self.register_buffer("spread", torch.ones(len(names), width))
        self.accept({})

    def accept(self, patterns: Mapping[Pattern, Pattern]) -> None:
        """Say what is imputed where: pattern of presence → modalities that it lacks. Other patterns are left alone."""
        for present, filled in patterns.items():
            if not present or not filled or present & filled or not present | filled <= set(self.names):
                raise DataError(f"cannot impute {sorted(filled)} from {sorted(present)}: expected two disjoint "
                                f"non-empty sets of {', '.join(self.names)}")
        self.accepted = dict(patterns)
        device = self.center.device
        for key, sets in (("patterns", self.accepted.keys()), ("fills", self.accepted.values())):
            rows = [[name in some for name in self.names] for some in sets]
            self.register_buffer(key, torch.tensor(rows, dtype=torch.bool, device=device).reshape(-1, len(self.names)),
                                 persistent=False)

    def to_json(self) -> dict[str, Any]:
        """Plain values: what its weights do not say."""
        return {"num_tokens": self.num_tokens, "accepted": [
            [[name for name in self.names if name in some] for some in pair] for pair in self.accepted.items()]}

    @classmethod
    def from_json(
        cls, plain: Mapping[str, Any], names: tuple[str, ...], width: int, timed: frozenset[str],
    ) -> Imputer:
        """What `to_json` gave; its weights are to be loaded."""
        imputer = cls(names, width, timed=timed, num_tokens=int(plain["num_tokens"])).requires_grad_(False)
        imputer.accept({frozenset(present): frozenset(imputed) for present, imputed in plain["accepted"]})
        return imputer

    def wanted(self, presence: Bool[Tensor, "batch modality"]) -> Bool[Tensor, "batch modality"]:
        """What the accepted patterns ask for in each row."""
        matches = (presence[:, None, :] == self.patterns).all(dim=2)
        return (matches[:, :, None] & self.fills).any(dim=1)

    @torch.no_grad()
    def measure(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> None:
        """Set each modality's mean token and the spread of its channels, where some row has it."""
        for place, name in enumerate(self.names):
            if name in tokens and bool(presence[:, place].any()):
                real = tokens[name].values[tokens[name].mask & presence[:, place, None]].double()
                self.center[place] = real.mean(dim=0)
                self.spread[place] = (real - real.mean(dim=0)).square().mean(dim=0).sqrt().clamp(min=1e-3)

    def forward(
        self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"],
        wanted: Bool[Tensor, "batch modality"],
    ) -> tuple[dict[str, Tokens], Bool[Tensor, "batch modality"]]:
        """Impute.

        Args:
            tokens: by modality; one that no row has may be left out. What a row does not have is never read.
            presence: (batch, modality) in the order of `names`.
            wanted: (batch, modality) what to impute; what a row has is kept, and a row with nothing is left alone.

        Returns:
            The tokens with the imputed ones in their places, and the presence with them.
        """
        wanted = wanted & ~presence & presence.any(dim=1, keepdim=True)
        if torch.compiler.is_exporting():  # a graph imputes in every row whatever it may, and keeps what is wanted
            rows = torch.arange(presence.shape[0], device=presence.device)
            places = [place for place, name in enumerate(self.names)
                      if any(name in filled for filled in self.accepted.values())]
        else:
            rows = wanted.any(dim=1).nonzero()[:, 0]
            places = wanted.any(dim=0).nonzero()[:, 0].tolist()
        if not places:
            return tokens, presence
        made = self._made(tokens, presence, rows, places)
        filled = dict(tokens)
        for number, place in enumerate(places):
            values = made.new_zeros(presence.shape[0], *made.shape[2:]).index_copy(0, rows, made[:, number])
            filled[self.names[place]] = self._placed(tokens.get(self.names[place]), values, wanted[:, place],
                                                     self.names[place] in self.timed)
        return filled, presence | wanted

    def _made(
        self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"], rows: Int[Tensor, "row"],
        places: list[int],
    ) -> Float[Tensor, "row place token width"]:
        """Imputed tokens of some modalities, for some rows."""
        values, biases = [], []
        for place, name in enumerate(self.names):
            if name in tokens and (torch.compiler.is_exporting() or bool(presence[rows, place].any())):
                mask = tokens[name].mask[rows] & presence[rows, place, None]
                read = (tokens[name].values[rows] - self.center[place]) / self.spread[place] + self.modality[place]
                values.append(torch.where(mask[:, :, None], read, 0.0))
                biases.append(per_modality(mask, read.dtype))
        queries = rearrange(self.queries[places], "place token width -> (place token) width")
        asking = queries.to(values[0].dtype).expand(rows.shape[0], *queries.shape)
        bias = keys_only(torch.cat([asking.new_full(asking.shape[:2], NEVER), *biases], dim=1))
        heard = self.norm(self.block(torch.cat([asking, *values], dim=1), bias, first=len(queries)))
        heard = rearrange(heard, "row (place token) width -> row place token width", place=len(places))
        mapped = torch.einsum("rptw,pvw->rptv", heard, self.heads[places].to(heard.dtype))
        return self.center[places, None] + self.spread[places, None] * mapped

    def _placed(
        self, real: Tokens | None, made: Float[Tensor, "batch token width"], wanted: Bool[Tensor, "batch"], timed: bool,
    ) -> Tokens:
        """One modality's tokens: the imputed ones in the wanted rows, the real ones in the others."""
        if real is None:
            nothing = wanted.new_zeros(wanted.shape[0], 1)
            span = made.new_zeros(wanted.shape[0], 1, 2) if timed else None
            real = Tokens(made.new_zeros(wanted.shape[0], 1, made.shape[2]), nothing, span)
        num_tokens = max(real.mask.shape[1], self.num_tokens)
        spare = num_tokens - real.mask.shape[1]
        made = F.pad(made, (0, 0, 0, num_tokens - self.num_tokens)).to(real.values.dtype)
        first = torch.arange(num_tokens, device=wanted.device) < self.num_tokens
        values = torch.where(wanted[:, None, None], made, F.pad(real.values, (0, 0, 0, spare)))
        mask = (wanted[:, None] & first) | (~wanted[:, None] & F.pad(real.mask, (0, spare)))
        span = None
        if real.span is not None:
            whole = torch.zeros_like(real.span[:1, :1])
            if timed:
                whole[..., 0], whole[..., 1] = -ALWAYS, ALWAYS
            span = torch.where(wanted[:, None, None], whole, F.pad(real.span, (0, 0, 0, spare)))
        return Tokens(values, mask, span)


def fuse_imputed(
    fusion: Fusion, imputer: Imputer, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"],
    wanted: Bool[Tensor, "batch modality"],
) -> Fused:
    """Fuse rows with what is imputed in them.

    The weights are those of the modalities that are really there, and sum to 1 over them: what is imputed was read
    from them. `voices` and `tokens` also hold what the imputed tokens add; the vector is still the sum of its voices.
    """
    filled, there = imputer(tokens, presence, wanted)
    fused: Fused = fusion(filled, there)
    if fused.weights is None:
        return fused
    weights = torch.where(presence, fused.weights, 0.0)
    return replace(fused, weights=weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12))
