"""Table rows from scratch: one token per column, mixed by a transformer."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.data.kinds import Inputs, TableColumn, TableKind
from sensorium.encoders.base import Encoder, Tokens
from sensorium.encoders.transformer import TransformerBlock

MAX_DEVIATIONS = 10.0
DATE_PERIODS = (1.0, 7.0, 30.436875, 365.2425)


class TableEncoder(Encoder):
    """One token per number, category or date; missing cells are masked.

    A number is its standardised value beside its piecewise-linear encoding over the training quantiles (Gorishniy et
    al. 2022, "On embeddings for numerical features"); a date adds sine and cosine of the day, week, month and year; a
    category has a learned vector. Tokens are mixed as in FT-Transformer (Gorishniy et al. 2021).

    Args:
        columns: the table's measured columns.
        width: of the returned tokens.
        depth: transformer blocks.
    """

    def __init__(self, columns: tuple[TableColumn, ...], width: int, *, depth: int = 1) -> None:
        super().__init__()
        numeric = [i for i, c in enumerate(columns) if c.type != "category"]
        dates = [i for i, c in enumerate(columns) if c.type == "date"]
        categories = [i for i, c in enumerate(columns) if c.type == "category"]
        sizes = [max(1, len(columns[i].categories)) for i in categories]
        num_bins = max([len(columns[i].edges) - 1 for i in numeric if len(columns[i].edges) > 1], default=1)
        self.register_buffer("numeric", torch.tensor(numeric, dtype=torch.int64), persistent=False)
        self.register_buffer("dates", torch.tensor(dates, dtype=torch.int64), persistent=False)
        self.register_buffer("categories", torch.tensor(categories, dtype=torch.int64), persistent=False)
        low, high = _bins([columns[i].edges for i in numeric], num_bins)
        self.register_buffer("bin_low", low, persistent=False)
        self.register_buffer("bin_high", high, persistent=False)
        self.register_buffer("date_scale", torch.tensor([[columns[i].mean, columns[i].std] for i in dates],
                                                        dtype=torch.float64).reshape(len(dates), 2), persistent=False)
        offsets = torch.tensor([0, *sizes[:-1]] if sizes else [], dtype=torch.int64).cumsum(0)
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("sizes", torch.tensor(sizes, dtype=torch.int64), persistent=False)
        self.column = nn.Parameter(torch.randn(len(columns), width) * 0.3)
        if numeric:
            self.number_weight = nn.Parameter(torch.randn(len(numeric), num_bins + 1, width) / math.sqrt(num_bins + 1))
        if dates:
            self.date_weight = nn.Parameter(torch.randn(len(dates), 2 * len(DATE_PERIODS), width) * 0.3)
        if categories:
            self.embedding = nn.Embedding(sum(sizes), width)
            nn.init.normal_(self.embedding.weight, std=0.5)
        self.blocks = nn.ModuleList(TransformerBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    @classmethod
    def build(cls, kind: TableKind, width: int) -> TableEncoder:
        """For a measured kind."""
        return cls(kind.columns, width)

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, column) standardised values and category codes → (row, column, width); spans are column numbers."""
        assert inputs.mask is not None
        tokens = self.embed(torch.where(inputs.mask, inputs.values, 0.0))
        tokens = torch.where(inputs.mask[:, :, None], tokens, 0.0)
        for block in self.blocks:
            tokens = block(tokens, inputs.mask)
        number = torch.arange(tokens.shape[1], device=tokens.device, dtype=torch.float32)
        span = torch.stack([number, number + 1], dim=-1).expand(tokens.shape[0], -1, -1)
        return Tokens(self.norm(tokens), inputs.mask, span)

    def embed(self, values: Float[Tensor, "row column"]) -> Float[Tensor, "row column width"]:
        """One token per column, before mixing."""
        tokens = self.column.expand(values.shape[0], -1, -1)
        if len(self.numeric):
            numbers = values[:, self.numeric].clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)
            encoded = torch.cat([numbers[:, :, None], self.piecewise(numbers)], dim=-1)
            added = torch.einsum("rcb,cbw->rcw", encoded, self.number_weight)
            tokens = tokens.index_add(1, self.numeric, added.to(tokens.dtype))
        if len(self.dates):
            added = torch.einsum("rcb,cbw->rcw", self.periods(values), self.date_weight)
            tokens = tokens.index_add(1, self.dates, added.to(tokens.dtype))
        if len(self.categories):
            codes = values[:, self.categories].round().long().clamp(min=0)
            codes = torch.minimum(codes, self.sizes - 1) + self.offsets
            tokens = tokens.index_add(1, self.categories, self.embedding(codes).to(tokens.dtype))
        return tokens

    def piecewise(self, numbers: Float[Tensor, "row column"]) -> Float[Tensor, "row column bin"]:
        """How far each number fills each bin, in 0…1; bins a column does not have are 0."""
        width = self.bin_high - self.bin_low
        filled = (numbers[:, :, None] - self.bin_low) / width.clamp(min=1e-6)
        return torch.where(width > 0, filled.clamp(0.0, 1.0), 0.0)

    def periods(self, values: Float[Tensor, "row column"]) -> Float[Tensor, "row date feature"]:
        """Sine and cosine of each date's place in the day, the week, the month and the year."""
        days = values[:, self.dates].double() * self.date_scale[:, 1] + self.date_scale[:, 0]
        periods = days.new_tensor(DATE_PERIODS)
        angle = 2 * math.pi * torch.remainder(days[:, :, None] / periods, 1.0)
        return torch.cat([angle.sin(), angle.cos()], dim=-1).to(values.dtype)

    numeric: Tensor
    dates: Tensor
    categories: Tensor
    bin_low: Tensor
    bin_high: Tensor
    date_scale: Tensor
    offsets: Tensor
    sizes: Tensor


def _bins(edges: list[tuple[float, ...]], num_bins: int) -> tuple[Tensor, Tensor]:
    """(column, bin) lower and upper edges; equal where a column has fewer bins."""
    low = torch.zeros(len(edges), num_bins)
    high = torch.zeros(len(edges), num_bins)
    for column, own in enumerate(edges):
        for number in range(len(own) - 1):
            low[column, number], high[column, number] = own[number], own[number + 1]
    return low, high
