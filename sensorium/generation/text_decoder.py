"""A transformer that writes a text word by word while it reads the tokens of other modalities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.kinds.text import EOS
from sensorium.encoders.base import Tokens
from sensorium.fusion.block import NEVER, heads_of, keys_only, mlp_of, only_real

FIRST_SCALE = 0.02


@dataclass(frozen=True)
class DecoderState:
    """What has been read and written so far, by layer.

    Args:
        told: keys and values of the memory, (2, row, head, token, depth); never copied, whatever the number of texts.
        written: keys and values of the words, (2, text, head, place, depth). The texts of a row stand side by side,
            the same number for each row.
        bias: (row, 1, 1, token) 0 for real tokens of the memory, practically −∞ elsewhere.
        place: words written.
    """

    told: tuple[Float[Tensor, "two row head token depth"], ...]
    written: tuple[Float[Tensor, "two text head place depth"], ...]
    bias: Float[Tensor, "row 1 1 token"]
    place: int

    def reordered(self, texts: Int64[Tensor, "new"]) -> DecoderState:
        """Go on with these texts; one may be left out, or taken several times.

        Args:
            texts: numbers of texts so far, the same number for each row, side by side in the order of the rows.
        """
        return replace(self, written=tuple(one[:, texts] for one in self.written))


class TextDecoder(nn.Module):
    """log p(w_t | w_1 … w_{t−1}, memory) = log softmax(E LN(h_t) + b), h from causal blocks that also read the memory.

    Pre-norm blocks; learned positions; words are embedded by the E that also scores them (Press and Wolf 2017). No
    dropout, as all randomness is keyed by row: smooth the labels, and hide words of what is read (`hide_words`). PAD,
    MASK and BOS are never said.

    Args:
        num_words: word numbers are below this.
        width: of the memory's tokens, a multiple of 16.
        max_tokens: places of the longest text, its BOS and EOS among them.
        num_layers: blocks.

    Example:
        >>> decoder = TextDecoder(300, 32, max_tokens=8)
        >>> memory = Tokens(torch.randn(2, 5, 32), torch.ones(2, 5, dtype=torch.bool))
        >>> decoder(torch.tensor([[2, 7, 9], [2, 8, 3]]), memory).shape
        torch.Size([2, 3, 300])

    Source: Vaswani et al. 2017, "Attention is all you need", with the norms of Xiong et al. 2020.
    """

    def __init__(self, num_words: int, width: int, *, max_tokens: int, num_layers: int = 2) -> None:
        super().__init__()
        self.num_words = num_words
        self.max_tokens = max_tokens
        self.embedding = nn.Embedding(num_words, width)
        self.position = nn.Parameter(FIRST_SCALE * torch.randn(max_tokens, width))
        self.memory_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(DecoderLayer(width) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(num_words))
        nn.init.normal_(self.embedding.weight, std=FIRST_SCALE)

    def forward(self, ids: Int64[Tensor, "batch token"], memory: Tokens) -> Float[Tensor, "batch token word"]:
        """Logits at each place for the word at the next one, where all words are known (teacher forcing).

        Args:
            ids: (batch, token) from BOS on, at most max_tokens; a place sees itself and those before, hence no padding.
            memory: what is read; values under a False are not. A row without any real token stays finite.
        """
        assert ids.shape[1] <= self.max_tokens, f"{ids.shape[1]} words for {self.max_tokens} places"
        told, bias = self._told(memory)
        values = self.embedding(ids) + self.position[: ids.shape[1]]
        for layer, own in zip(self.layers, told, strict=True):
            values, _ = layer(values, own, bias)
        return self._logits(values)

    def start(self, memory: Tokens) -> DecoderState:
        """Nothing written: one empty text a row; the first word to give to `step` is BOS."""
        told, bias = self._told(memory)
        nothing = tuple(own[:, :, :, :0] for own in told)
        return DecoderState(told, nothing, bias, 0)

    def step(
        self, state: DecoderState, ids: Int64[Tensor, "text"],
    ) -> tuple[Float[Tensor, "text word"], DecoderState]:
        """Write one word more of each text: log-probabilities of the word after it, and the new state."""
        assert state.place < self.max_tokens, f"a text has at most {self.max_tokens} words"
        values = rearrange(self.embedding(ids) + self.position[state.place], "text width -> text 1 width")
        written = []
        for layer, own, before in zip(self.layers, state.told, state.written, strict=True):
            values, after = layer(values, own, state.bias, before)
            written.append(after)
        said = torch.log_softmax(self._logits(values)[:, 0], dim=-1)
        return said, replace(state, written=tuple(written), place=state.place + 1)

    def _told(self, memory: Tokens) -> tuple[tuple[Float[Tensor, "two row head token depth"], ...], Tensor]:
        """Each layer's keys and values of the memory, and what is added to the scores of its tokens."""
        values = self.memory_norm(torch.where(memory.mask[:, :, None], memory.values, 0.0))
        told = tuple(cast(DecoderLayer, layer).tell(values) for layer in self.layers)
        return told, keys_only(only_real(memory.mask, values.dtype))

    def _logits(self, values: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token word"]:
        logits = F.linear(self.norm(values), self.embedding.weight, self.bias)
        unsaid = torch.arange(self.num_words, device=logits.device) < EOS
        return logits.masked_fill(unsaid, NEVER)


class DecoderLayer(nn.Module):
    """x + SelfAttention(LN(x)), then x + Attention(LN(x), memory), then x + MLP(LN(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads = heads_of(width)
        self.norm = nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width, bias=False)
        self.attended = nn.Linear(width, width)
        self.ask_norm = nn.LayerNorm(width)
        self.ask = nn.Linear(width, width, bias=False)
        self.answer = nn.Linear(width, 2 * width, bias=False)
        self.answered = nn.Linear(width, width)
        self.mlp = mlp_of(width)

    def tell(self, memory: Float[Tensor, "row token width"]) -> Float[Tensor, "two row head token depth"]:
        """The memory's keys and values."""
        return self._split(self.answer(memory), 2)

    def forward(
        self, values: Float[Tensor, "text token width"], told: Float[Tensor, "two row head memory depth"],
        bias: Float[Tensor, "row 1 1 memory"], before: Float[Tensor, "two text head place depth"] | None = None,
    ) -> tuple[Float[Tensor, "text token width"], Float[Tensor, "two text head _ depth"]]:
        """The changed values, and the keys and values of all words so far.

        Args:
            values: words from the first on; with `before`, one word.
            told: the memory's keys and values, for one text a row or several side by side.
            bias: added to the scores of the memory's tokens.
            before: keys and values of the words before.
        """
        query, *own = self._split(self.attend(self.norm(values)), 3)
        written = torch.stack(own) if before is None else torch.cat([before, torch.stack(own)], dim=3)
        read = F.scaled_dot_product_attention(query, written[0], written[1], is_causal=before is None)
        values = values + self.attended(rearrange(read, "text head token depth -> text token (head depth)"))
        asked = rearrange(self.ask(self.ask_norm(values)), row=told.shape[1], head=self.num_heads,
                          pattern="(row text) token (head depth) -> row head (text token) depth")
        read = F.scaled_dot_product_attention(asked, told[0], told[1], attn_mask=bias.to(asked.dtype))
        values = values + self.answered(rearrange(read, "row head (text token) depth -> (row text) token (head depth)",
                                                  token=values.shape[1]))
        return values + self.mlp(values), written

    def _split(
        self, values: Float[Tensor, "batch token wide"], parts: int,
    ) -> Float[Tensor, "part batch head token depth"]:
        split: Tensor = rearrange(values, "batch token (part head depth) -> part batch head token depth",
                                  part=parts, head=self.num_heads)
        return split
