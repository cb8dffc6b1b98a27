"""VGG with a checkpoint's weights: torchvision's layout, told by the names and shapes of what the file holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.cache.digest import weights_digest
from sensorium.data.kinds.base import Inputs, first_line
from sensorium.data.kinds.image import ImageKind
from sensorium.encoders.base import StagedEncoder, Tokens
from sensorium.encoders.pretrained.pooling import edges, pool_grid, smaller_grid
from sensorium.encoders.vgg import CHANNELS, STAGES, vgg_layers
from sensorium.errors import RecipeError
from sensorium.recipe import EncoderOptions

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LEAST_SIDE = 2 ** len(CHANNELS)
CONFIG = "vgg.json"
NAMED = 4


@dataclass(frozen=True)
class VGGLayout:
    """Which of torchvision's VGGs.

    Args:
        depth: 11, 13, 16 or 19.
        norm: whether a (fixed) batch norm follows each convolution.
    """

    depth: int
    norm: bool

    @property
    def name(self) -> str:
        """torchvision's name."""
        return f"vgg{self.depth}{'_bn' if self.norm else ''}"

    def layers(self) -> nn.Sequential:
        """`features`, untrained."""
        return vgg_layers(self.depth, 3, norm=FixedBatchNorm if self.norm else None)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Key of a checkpoint → shape."""
        with torch.device("meta"):
            return {f"features.{name}": tuple(tensor.shape) for name, tensor in self.layers().state_dict().items()}

    @classmethod
    def from_saved(cls, folder: Path) -> VGGLayout:
        """The layout that `VGGFromCheckpoint.save_config` wrote."""
        return cls(**json.loads((folder / CONFIG).read_text(encoding="utf-8")))


class FixedBatchNorm(nn.Module):
    """y = γ (x − mean) / √(var + 1e-5) + β, with the mean and variance that came with the weights.

    Args:
        channels: that come in.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(
        self, maps: Float[Tensor, "batch channel height width_px"]
    ) -> Float[Tensor, "batch channel height width_px"]:
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        return F.batch_norm(maps, mean, variance, self.weight, self.bias)


def read_checkpoint(path: str | Path) -> tuple[VGGLayout, dict[str, Tensor], tuple[str, ...]]:
    """A torchvision-style file: its layout, the tensors of `features`, and the names of what is not used.

    Args:
        path: .safetensors, or .pth / .pt, which is read by torch.load(weights_only=True) and runs no code.

    Raises:
        RecipeError: no such file, not readable, or not a VGG's: says which keys lack or have another shape.
    """
    state = _read(Path(path))
    found = {name: tuple(tensor.shape) for name, tensor in state.items()
             if name.startswith("features.") and not name.endswith(".num_batches_tracked")}
    layouts = [VGGLayout(depth, norm) for depth in STAGES for norm in (False, True)]
    layout = min(layouts, key=lambda one: len(set(one.shapes()) ^ set(found)))
    expected = layout.shapes()
    lacking = [name for name in expected if name not in found]
    beyond = [name for name in found if name not in expected]
    wrong = [f"{name}: expected {expected[name]}, found {found[name]}" for name in expected
             if name in found and found[name] != expected[name]]
    faults = [f"{what} {_some(names)}" for what, names in (("lacks", lacking), ("has also", beyond)) if names]
    if faults or wrong:
        what = "; ".join(faults + ([f"shapes differ: {_some(wrong)}"] if wrong else []))
        held = f"it holds {_some(list(state))}" if not found else f"nearest layout {layout.name}"
        raise RecipeError(f"weights {str(path)!r} are not those of a VGG of torchvision ({held}): {what}")
    ignored = tuple(sorted(name for name in state if not name.startswith("features.")))
    return layout, {name: state[name].float() for name in expected}, ignored


class VGGFromCheckpoint(StagedEncoder):
    """A VGG of torchvision's layout: pictures → its last feature map, then layer norm and a linear map to our width.

    Batch norms keep the statistics that they came with, whatever is tuned; a grey picture is read as three equal
    channels; colours are normalised as torchvision does.

    Args:
        layout: which VGG.
        kind: measured; at least 32 pixels a side.
        width: channels of a token.
        options: frozen, or finetune with each convolution's learning rate; tokens a cell.

    Attributes:
        note: what of the checkpoint is not used; "" where there is nothing.
    """

    def __init__(self, layout: VGGLayout, kind: ImageKind, width: int, options: EncoderOptions) -> None:
        super().__init__()
        assert kind.height is not None and kind.width is not None
        if min(kind.height, kind.width) < LEAST_SIDE:
            raise RecipeError(f"{layout.name} halves a picture five times: expected at least {LEAST_SIDE} pixels a "
                              f"side, found {kind.height} × {kind.width}; set the modality's height and width")
        self.layout, self.options = layout, options
        self.note = ""
        self.trunk = layout.layers().requires_grad_(options.tune == "finetune")
        cells = (kind.height // LEAST_SIDE, kind.width // LEAST_SIDE)
        self.sides = smaller_grid(cells, options.tokens)
        rows, columns = (edges(number, side) for number, side in zip(cells, self.sides, strict=True))
        corners = [torch.stack([left, top, right, bottom]) for top, bottom in rows for left, right in columns]
        self.register_buffer("span", torch.stack(corners), persistent=False)
        self.register_buffer("mean", 255.0 * torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(STD)[:, None, None], persistent=False)
        self.norm = nn.LayerNorm(CHANNELS[-1])
        self.linear = nn.Linear(CHANNELS[-1], width)
        self.place = nn.Parameter(0.02 * torch.randn(len(self.get_buffer("span")), width))

    @classmethod
    def build(cls, kind: Any, width: int) -> VGGFromCheckpoint:
        """VGG-16 with random weights, for a measured kind of picture; `VGG.from_checkpoint` loads some."""
        return cls(VGGLayout(16, False), kind, width, EncoderOptions(name="vgg", tune="finetune"))

    def features_of_checkpoint(self, state: Mapping[str, Tensor], ignored: tuple[str, ...] = ()) -> None:
        """Take over what `read_checkpoint` read."""
        self.trunk.load_state_dict({name.removeprefix("features."): tensor for name, tensor in state.items()})
        if ignored:
            self.note = f"{self.layout.name}: not used of the checkpoint: {_some(list(ignored))}"

    @property
    def cacheable(self) -> bool:
        """Whether nothing in the trunk is trained."""
        return self.options.tune == "frozen"

    def fingerprint(self) -> str:
        """The digest of the trunk's weights, and what else the features depend on."""
        return f"{self.layout.name}-{self.sides}-{weights_digest(self.trunk.state_dict())}"

    def save_config(self, folder: Path) -> None:
        """Write which VGG it is, for `VGGLayout.from_saved`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(json.dumps(asdict(self.layout)), encoding="utf-8")

    def learning_rates(self) -> dict[str, float]:
        """options.factor for the last convolution and its norm, options.decay times as much for each one below."""
        if self.cacheable:
            return {}
        convs = [place for place, layer in enumerate(self.trunk) if isinstance(layer, nn.Conv2d)]
        above = {place: sum(conv > place for conv in convs) for place, layer in enumerate(self.trunk)
                 if isinstance(layer, nn.Conv2d | FixedBatchNorm)}
        return {f"trunk.{place}.": self.options.factor * self.options.decay**number for place, number in above.items()}

    def features(self, inputs: Inputs) -> Tokens:
        """(row, channel, height, width_px) pictures in 0…255 → (row, token, 512) cells of the last map."""
        pictures = inputs.values.to(self.linear.weight.dtype)
        if pictures.shape[1] == 1:
            pictures = repeat(pictures, "row 1 height width_px -> row channel height width_px", channel=3)
        scaled = (pictures - self.get_buffer("mean")) / self.get_buffer("std")
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.cacheable):
            values = pool_grid(self.trunk(scaled.contiguous(memory_format=torch.channels_last)), self.sides)
        mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        return Tokens(values, mask, self.get_buffer("span").to(values.dtype).expand(values.shape[0], -1, -1))

    def project(self, features: Tokens) -> Tokens:
        """(row, token, 512) → (row, token, width)."""
        values = self.linear(self.norm(features.values.to(self.linear.weight.dtype))) + self.place
        return Tokens(values, features.mask, features.span)


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file."""
    if not path.is_file():
        raise RecipeError(f"weights {str(path)!r}: no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if path.suffix not in {".pth", ".pt"}:
            raise RecipeError(f"weights {str(path)!r}: expected .safetensors, .pth or .pt")
        held = torch.load(path, map_location="cpu", weights_only=True)
    except RecipeError:
        raise
    except Exception as error:  # unpickling, zip and safetensors each raise their own
        raise RecipeError(f"weights {str(path)!r} cannot be read as plain tensors ({first_line(error)}); nothing in "
                          f"the file was run") from error
    if not isinstance(held, dict):
        raise RecipeError(f"weights {str(path)!r}: expected names and tensors, found {type(held).__name__}")
    return {str(name): tensor for name, tensor in held.items() if isinstance(tensor, Tensor)}


def _some(names: list[str]) -> str:
    """The first few, and how many more."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more if names else "nothing"
