"""Transformer fusion: against PyTorch's own encoder layers over the tokens side by side."""

from __future__ import annotations

import torch
from fusion_inputs import NAMES, SUBSETS, WIDTH, shaken, tokens_of
from torch import nn

from sensorium.fusion import TransformerFusion
from sensorium.fusion.block import Block


def _theirs(block: Block) -> nn.TransformerEncoderLayer:
    """The same block, made by PyTorch."""
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, dropout=0.0, activation="gelu", batch_first=True,
                                       norm_first=True).double()
    state = block.state_dict()
    layer.load_state_dict({
        "self_attn.in_proj_weight": state["attend.weight"],
        "self_attn.in_proj_bias": torch.zeros(3 * WIDTH),
        "self_attn.out_proj.weight": state["attended.weight"], "self_attn.out_proj.bias": state["attended.bias"],
        "norm1.weight": state["norm.weight"], "norm1.bias": state["norm.bias"],
        "norm2.weight": state["mlp.0.weight"], "norm2.bias": state["mlp.0.bias"],
        "linear1.weight": state["mlp.1.weight"], "linear1.bias": state["mlp.1.bias"],
        "linear2.weight": state["mlp.3.weight"], "linear2.bias": state["mlp.3.bias"]})
    return layer


def test_it_is_a_transformer_over_what_is_there() -> None:
    fusion, tokens = shaken(TransformerFusion(NAMES, WIDTH, depth=3)), tokens_of()
    layers = [_theirs(block) for block in fusion.blocks if isinstance(block, Block)]
    assert len(layers) == 3
    found = fusion(tokens, SUBSETS).vector
    for row, presence in enumerate(SUBSETS):
        values = torch.cat([fusion.class_token[None], *(
            tokens[name].values[row] + fusion.modality[place] for place, name in enumerate(NAMES) if presence[place])])
        values = values[None]
        for layer in layers:
            values = layer(values)
        torch.testing.assert_close(found[row], fusion.norm(values[0, 0]), atol=1e-10, rtol=1e-10)
