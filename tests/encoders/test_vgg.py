"""VGG from scratch, and VGG with a checkpoint in torchvision's layout."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.kinds.base import Inputs
from sensorium.data.kinds.image import ImageKind
from sensorium.encoders.base import StagedEncoder
from sensorium.encoders.vgg import VGG
from sensorium.encoders.vgg_checkpoint import VGGFromCheckpoint, VGGLayout, read_checkpoint
from sensorium.errors import RecipeError
from sensorium.recipe import EncoderOptions

KIND = ImageKind(height=64, width=96, channels=3)
CONVOLUTIONS = {  # places of the convolutions in torchvision's `features`
    "vgg11": (0, 3, 6, 8, 11, 13, 16, 18), "vgg11_bn": (0, 4, 8, 11, 15, 18, 22, 25),
    "vgg13": (0, 2, 5, 7, 10, 12, 15, 17, 20, 22),
    "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    "vgg16_bn": (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40),
    "vgg19": (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
}


def _pictures(num_rows: int = 2, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num_rows, channels, 64, 96), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def states() -> dict[str, dict[str, Tensor]]:
    """A whole vgg11 and vgg11_bn as torchvision names them, with random weights."""
    generator = torch.Generator().manual_seed(0)
    made: dict[str, dict[str, Tensor]] = {}
    for name in ("vgg11", "vgg11_bn"):
        state = {"classifier.0.weight": torch.zeros(4, 8), "classifier.0.bias": torch.zeros(4)}
        num_in = 3
        for place, num_out in zip(CONVOLUTIONS[name], (64, 128, 256, 256, 512, 512, 512, 512), strict=True):
            deviation = (2.0 / (9 * num_in)) ** 0.5
            state[f"features.{place}.weight"] = deviation * torch.randn(num_out, num_in, 3, 3, generator=generator)
            state[f"features.{place}.bias"] = 0.1 * torch.randn(num_out, generator=generator)
            if name.endswith("bn"):
                for key, offset in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
                    state[f"features.{place + 1}.{key}"] = offset + 0.3 * torch.rand(num_out, generator=generator)
                state[f"features.{place + 1}.num_batches_tracked"] = torch.tensor(7)
            num_in = num_out
        made[name] = state
    return made


@pytest.fixture(scope="module")
def files(states: dict[str, dict[str, Tensor]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    save_file(states["vgg11"], folder / "vgg11.safetensors")
    torch.save(states["vgg11_bn"], folder / "vgg11_bn.pth")
    return {"vgg11": folder / "vgg11.safetensors", "vgg11_bn": folder / "vgg11_bn.pth"}


def _reference(state: dict[str, Tensor], pictures: Tensor) -> Tensor:
    """The trunk written out: the paper's configuration A, normalised as torchvision says."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    maps = (pictures / 255.0 - mean[:, None, None]) / std[:, None, None]
    places = sorted({int(key.split(".")[1]) for key, tensor in state.items() if tensor.ndim == 4})
    for number, place in enumerate(places):
        maps = F.conv2d(maps, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1)
        if f"features.{place + 1}.running_mean" in state:
            gain, bias, middle, spread = (state[f"features.{place + 1}.{key}"][:, None, None]
                                          for key in ("weight", "bias", "running_mean", "running_var"))
            maps = (maps - middle) / (spread + 1e-5).sqrt() * gain + bias
        maps = maps.relu()
        if number in (0, 1, 3, 5, 7):
            maps = F.max_pool2d(maps, 2)
    return maps.flatten(2).transpose(1, 2)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_layout_is_torchvision_s(name: str) -> None:
    layout = VGGLayout(int(name[3:5]), name.endswith("bn"))
    convolutions = [int(key.split(".")[1]) for key, shape in layout.shapes().items() if len(shape) == 4]
    assert layout.name == name and tuple(convolutions) == CONVOLUTIONS[name]


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_a_checkpoint_gives_its_own_features(
    name: str, states: dict[str, dict[str, Tensor]], files: dict[str, Path],
) -> None:
    encoder = VGG.from_checkpoint(files[name], KIND, 32)
    assert isinstance(encoder, VGGFromCheckpoint) and isinstance(encoder, StagedEncoder) and encoder.cacheable
    assert encoder.layout.name == name
    assert encoder.note == f"{name}: not used of the checkpoint: classifier.0.bias, classifier.0.weight"
    features = encoder.train().features(Inputs(_pictures()))
    torch.testing.assert_close(features.values, _reference(states[name], _pictures()), atol=1e-4, rtol=1e-4)
    tokens = encoder(Inputs(_pictures()))
    assert tokens.values.shape == (2, 6, 32) and tokens.span is not None
    assert tokens.span[0, 1].tolist() == pytest.approx([1 / 3, 0.0, 2 / 3, 0.5])


def test_a_frozen_trunk_gets_no_gradient_and_a_tuned_one_rates_by_depth(files: dict[str, Path]) -> None:
    frozen = VGG.from_checkpoint(files["vgg11_bn"], KIND, 32)
    frozen(Inputs(_pictures())).values.square().sum().backward()
    assert {name.split(".")[0] for name, p in frozen.named_parameters() if p.grad is not None} == {"norm", "linear",
                                                                                                "place"}
    assert frozen.learning_rates() == {}
    options = EncoderOptions(name="vgg", tune="finetune", factor=0.1, decay=0.5)
    tuned = VGG.from_checkpoint(files["vgg11_bn"], KIND, 32, options)
    tuned(Inputs(_pictures())).values.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in tuned.parameters())
    rates = tuned.learning_rates()
    assert rates["trunk.25."] == rates["trunk.26."] == 0.1 and rates["trunk.0."] == pytest.approx(0.1 * 0.5**7)
    assert all(any(name.startswith(prefix) for prefix in rates) for name, _ in tuned.named_parameters()
               if name.startswith("trunk"))


def test_it_is_made_again_without_the_checkpoint(files: dict[str, Path], tmp_path: Path) -> None:
    encoder = VGG.from_checkpoint(files["vgg11_bn"], KIND, 32)
    assert isinstance(encoder, VGGFromCheckpoint)
    encoder.save_config(tmp_path / "encoder_0")
    again = VGG.from_checkpoint("moved/away.pth", KIND, 32, saved=tmp_path / "encoder_0")
    assert isinstance(again, VGGFromCheckpoint) and again.fingerprint() != encoder.fingerprint()
    again.load_state_dict(encoder.state_dict())
    assert again.fingerprint() == encoder.fingerprint()
    assert torch.equal(again(Inputs(_pictures())).values, encoder(Inputs(_pictures())).values)


def test_grey_pictures_fewer_tokens_and_rows_alone(files: dict[str, Path]) -> None:
    kind = KIND.model_copy(update={"channels": 1})
    encoder = VGG.from_checkpoint(files["vgg11"], kind, 32, EncoderOptions(name="vgg", tokens=4))
    grey = _pictures(channels=1)
    tokens = encoder(Inputs(grey))
    assert tokens.values.shape == (2, 4, 32)
    torch.testing.assert_close(tokens.values, encoder(Inputs(grey.expand(2, 3, 64, 96))).values)
    torch.testing.assert_close(tokens.values[1:], encoder(Inputs(grey[1:])).values, atol=1e-5, rtol=1e-5)
    with pytest.raises(RecipeError, match="at least 32 pixels a side, found 28 × 28"):
        VGG.from_checkpoint(files["vgg11"], ImageKind(height=28, width=28, channels=1), 32)


def test_a_wrong_file_says_what_is_wrong(
    states: dict[str, dict[str, Tensor]], files: dict[str, Path], tmp_path: Path,
) -> None:
    state = dict(states["vgg11"])
    state["features.3.weight"] = torch.zeros(96, 64, 3, 3)
    del state["features.18.bias"]
    save_file(state, tmp_path / "bent.safetensors")
    with pytest.raises(RecipeError) as error:
        read_checkpoint(tmp_path / "bent.safetensors")
    assert "nearest layout vgg11): lacks features.18.bias; " in str(error.value)
    assert "shapes differ: features.3.weight: expected (128, 64, 3, 3), found (96, 64, 3, 3)" in str(error.value)
    save_file({"conv1.weight": torch.zeros(2), "fc.bias": torch.zeros(2)}, tmp_path / "resnet.safetensors")
    with pytest.raises(RecipeError, match=r"it holds conv1.weight, fc.bias\): lacks features.0.weight"):
        read_checkpoint(tmp_path / "resnet.safetensors")


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"features.0.weight": Trap()}))
    torch.save({"features.0.weight": Trap()}, tmp_path / "zip.pth")
    (tmp_path / "noise.safetensors").write_bytes(b"\x00" * 50)
    for name in ("trap.pth", "zip.pth", "noise.safetensors"):
        with pytest.raises(RecipeError, match="cannot be read as plain tensors.*nothing in the file was run") as error:
            read_checkpoint(tmp_path / name)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(RecipeError, match="no such file"):
        read_checkpoint(tmp_path / "away.pth")
    (tmp_path / "weights.bin").write_bytes(b"1")
    with pytest.raises(RecipeError, match=r"expected .safetensors, .pth or .pt"):
        read_checkpoint(tmp_path / "weights.bin")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(RecipeError, match="expected names and tensors, found list"):
        read_checkpoint(tmp_path / "list.pth")


@pytest.mark.parametrize(("height", "width_px", "num_tokens"), [(28, 28, 16), (64, 64, 16), (96, 64, 24), (8, 5, 12)])
def test_from_scratch_it_is_fitted_to_the_picture(height: int, width_px: int, num_tokens: int) -> None:
    encoder = VGG(height=height, width_px=width_px, channels=1, width=16)
    tokens = encoder(Inputs(torch.zeros(1, 1, height, width_px, dtype=torch.uint8)))
    assert tokens.values.shape == (1, num_tokens, 16)


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_every_depth_with_and_without_norm(depth: int) -> None:
    for norm in (True, False):
        encoder = VGG(height=16, width_px=16, channels=1, width=16, depth=depth, norm=norm)
        assert sum(isinstance(layer, nn.Conv2d) for layer in encoder.features) == depth - 3
        values = encoder(Inputs(_pictures(channels=1)[:, :, :16, :16])).values
        assert 0.05 < values.std() < 5.0
