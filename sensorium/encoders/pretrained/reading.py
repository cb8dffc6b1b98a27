"""Backbones for text: BERT, MiniLM, RoBERTa, the text tower of CLIP … : one token for every token."""

from __future__ import annotations

import torch

from sensorium.data.kinds.base import Inputs
from sensorium.encoders.base import Tokens
from sensorium.encoders.pretrained.backbone import Backbone, Loaded
from sensorium.encoders.pretrained.pooling import pool_sequence


class TextBackbone(Backbone):
    """Token numbers of the model's own tokenizer → its last hidden states.

    Args:
        loaded: the model.
        most: tokens of a row; more are averaged over neighbours. None: all.
    """

    def __init__(self, loaded: Loaded, most: int | None) -> None:
        super().__init__()
        self.model = loaded.model
        self.most = most

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, token) numbers → (row, token, hidden); spans are character offsets, (0, 0) of special tokens."""
        assert inputs.mask is not None
        hidden = self.hidden_states(input_ids=inputs.values, attention_mask=inputs.mask.long())
        return pool_sequence(Tokens(hidden, inputs.mask, inputs.span), self.most)

    def probe(self) -> Inputs:
        """Four tokens."""
        return Inputs(torch.arange(1, 5)[None], torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 4, 2))
