"""PretrainedEncoder: equal to the Hugging Face model on the same raw cells; padding, tuning, saving, errors."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from pretrained_models import MODELS, save_pretrained

from sensorium.data.kinds import KINDS, AudioKind, Clip, ImageKind, Inputs, TextKind, VideoKind
from sensorium.encoders.base import Tokens
from sensorium.encoders.pretrained import (
    PretrainedEncoder,
    adapt_kind,
    describe_source,
    kinds_of,
    match_folders,
)
from sensorium.encoders.pretrained.adapters import add_adapters
from sensorium.encoders.pretrained.pooling import pool_sequence
from sensorium.errors import RecipeError
from sensorium.keyed import Draws
from sensorium.recipe import EncoderOptions

PICTURES = ("resnet", "convnext", "vit", "dinov2", "clip")
SOUNDS = ("wav2vec2", "wav2vec2_large", "hubert", "whisper", "ast")
VIDEOS = ("videomae", "timesformer")
CASES = [*((name, "image") for name in PICTURES), ("bert", "text"), ("clip", "text"),
         *((name, "audio") for name in SOUNDS), *((name, "video") for name in VIDEOS)]
TEXTS = ["A dry cough, no fevers.", "a", "Cough cough [MASK]." + " no fever" * 12]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """name → folder of a tiny pretrained model with random weights."""
    root = tmp_path_factory.mktemp("pretrained")
    return {name: save_pretrained(name, root / name) for name in MODELS}


def _encoder(folder: Path, kind_name: str, **options: Any) -> PretrainedEncoder:
    torch.manual_seed(1)
    source = describe_source(str(folder))
    kind = adapt_kind(KINDS[kind_name](), source).measure([])
    return PretrainedEncoder(source, kind, 16, EncoderOptions(name=str(folder), **options)).eval()


def _rows(encoder: PretrainedEncoder) -> list[Any]:
    """Decoded cells of unequal lengths."""
    rng = np.random.default_rng(0)
    kind = encoder.kind
    if isinstance(kind, TextKind):
        return [kind.decode(text) for text in TEXTS]
    if isinstance(kind, AudioKind):
        return [rng.normal(scale=0.1, size=length).astype(np.float32) for length in (5000, 1200, 9001, 100, 5000)]
    if isinstance(kind, ImageKind):
        sizes = ((50, 61), (70, 33), (20, 20))
        return [kind.decode(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]
    assert isinstance(kind, VideoKind)
    clips = []
    for frames in (7, 4, 1):
        times = np.stack([np.arange(frames), np.arange(1, frames + 1)], axis=1).astype(np.float32) / 4
        clips.append(Clip(rng.integers(0, 256, (frames, 16, 16, 3), dtype=np.uint8), times))
    return clips


def _reference(folder: Path) -> Any:
    from transformers import AutoModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AutoModel.from_pretrained(folder, dtype=torch.float32).eval()


def _pictures(folder: Path) -> list[Path]:
    """Pictures on disk: wide, tall, small, and a large JPEG."""
    rng = np.random.default_rng(0)
    paths = []
    for place, (height, width) in enumerate([(50, 61), (300, 173), (17, 20), (600, 700)]):
        blocks = rng.integers(0, 256, (-(-height // 5), -(-width // 5), 3), dtype=np.uint8)
        pixels = blocks.repeat(5, axis=0).repeat(5, axis=1)
        paths.append(folder / f"{place}.{'jpg' if place == 3 else 'png'}")
        Image.fromarray(pixels[:height, :width]).save(paths[-1])
    return paths


# --- parity ---------------------------------------------------------------------------------------------------------


def _check_pictures(folder: Path, paths: list[Path], tower: str | None = None) -> None:
    from transformers import AutoImageProcessor

    encoder = _encoder(folder, "image")
    model = _reference(folder)
    pixels = AutoImageProcessor.from_pretrained(folder)([Image.open(path) for path in paths], return_tensors="pt")
    inputs = encoder.kind.collate([encoder.kind.decode(path) for path in paths])
    with torch.no_grad():
        hidden = (model if tower is None else getattr(model, tower))(**pixels).last_hidden_state
    expected = hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden
    torch.testing.assert_close(encoder.features(inputs).values, expected, **CLOSE)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_as_the_hugging_face_model_sees_them(name: str, models: dict[str, Path], tmp_path: Path) -> None:
    _check_pictures(models[name], _pictures(tmp_path), "vision_model" if name == "clip" else None)


def test_resnet50_with_its_weights(shared_data: Path) -> None:
    paths = sorted((shared_data / "ham10000_small" / "images").glob("*.jpg"))[:2]
    _check_pictures(shared_data / "weights_resnet50", paths)


def _check_texts(folder: Path, texts: list[str], tower: str | None = None) -> None:
    from transformers import AutoTokenizer

    encoder = _encoder(folder, "text")
    model = _reference(folder)
    tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True, return_tensors="pt")
    inputs = encoder.kind.collate([encoder.kind.decode(text) for text in texts])
    assert inputs.mask is not None
    assert torch.equal(inputs.values, tokens["input_ids"]) and torch.equal(inputs.mask.long(), tokens["attention_mask"])
    with torch.no_grad():
        model = model if tower is None else getattr(model, tower)
        expected = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
    torch.testing.assert_close(encoder.features(inputs).values[inputs.mask], expected[inputs.mask], **CLOSE)


def test_texts_as_the_hugging_face_model_reads_them(models: dict[str, Path]) -> None:
    _check_texts(models["bert"], ["A dry cough, no fevers.", "a", "Cough" + " no fever" * 30])
    _check_texts(models["clip"], ["a dog", "a cat a cat a cat a cat a cat a cat"], "text_model")


def test_minilm_with_its_weights(shared_data: Path) -> None:
    texts = ["A dry cough, no fever.", "Müller said: 你好 world! " + "so long " * 400]
    _check_texts(shared_data / "weights_minilm_l6", texts)


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_as_the_hugging_face_model_hears_them(name: str, models: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoFeatureExtractor

    encoder = _encoder(models[name], "audio")
    model = _reference(models[name])
    model = model.get_encoder() if name == "whisper" else model
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).normal(scale=0.1, size=9700), 16000)
    waveform, rate = soundfile.read(path, dtype="float32")
    features = AutoFeatureExtractor.from_pretrained(models[name])(waveform, sampling_rate=rate, return_tensors="pt")
    with torch.no_grad():
        expected = model(**features).last_hidden_state
    tokens = encoder.features(encoder.kind.collate([encoder.kind.decode(path)]))
    assert tokens.span is not None and tokens.span.max() <= 9700 / 16000 + 1e-6
    if name == "whisper":
        assert tokens.values.shape[1] == 31  # 20 ms each, of .606 s; the window of 2 s has 100
        expected = expected[:, :31]
    if name == "ast":  # two tokens of the whole, then 2 rows of frequencies, 8 patches of 80 ms each
        assert tokens.values.shape[1] == 2 + 2 * 8
    torch.testing.assert_close(tokens.values, expected, **CLOSE)


@pytest.mark.parametrize("name", VIDEOS)
def test_videos_as_the_hugging_face_model_sees_them(name: str, models: dict[str, Path]) -> None:
    from transformers import AutoImageProcessor

    encoder = _encoder(models[name], "video")
    assert isinstance(encoder.kind, VideoKind) and encoder.kind.max_frames == 4
    kind = encoder.kind.model_copy(update={"rate": 4.0})
    frames = np.random.default_rng(0).integers(0, 256, (4, 40, 31, 3), dtype=np.uint8)
    processor = AutoImageProcessor.from_pretrained(models[name])
    pixels = processor([[Image.fromarray(frame) for frame in frames]], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = _reference(models[name])(pixel_values=pixels).last_hidden_state
    tokens = encoder.features(kind.collate([kind.decode((frames, 4.0))]))
    torch.testing.assert_close(tokens.values, expected, **CLOSE)
    assert tokens.span is not None
    if name == "videomae":  # tubes of two frames, four patches each
        assert tokens.span[0, :, 0].tolist() == [0.0] * 4 + [0.5] * 4
        assert tokens.span[0, :, 1].tolist() == [0.5] * 4 + [1.0] * 4
    else:  # one token of the whole, then every patch's four frames
        assert tokens.span[0, 0].tolist() == [0.0, 1.0]
        assert tokens.span[0, 1:5, 0].tolist() == [0.0, 0.25, 0.5, 0.75]


# --- the contract of encoders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind_name"), CASES)
def test_a_row_depends_neither_on_the_others_nor_on_padding(name: str, kind_name: str, models: dict[str, Path]) -> None:
    encoder = _encoder(models[name], kind_name)
    rows = _rows(encoder)
    together = encoder(encoder.kind.collate(rows))
    for place, row in enumerate(rows):
        alone = encoder(encoder.kind.collate([row]))
        count = int(alone.mask.sum())
        assert int(together.mask[place].sum()) == count and bool(together.mask[place, :count].all())
        torch.testing.assert_close(together.values[place, :count], alone.values[0, :count], atol=1e-5, rtol=1e-4)
        assert alone.span is not None and together.span is not None
        torch.testing.assert_close(together.span[place, :count], alone.span[0, :count])


@pytest.mark.parametrize(("name", "kind_name"), CASES)
def test_every_trained_parameter_gets_a_gradient(name: str, kind_name: str, models: dict[str, Path]) -> None:
    encoder = _encoder(models[name], kind_name, tune="finetune").train()
    encoder(encoder.kind.collate(_rows(encoder))).values.square().sum().backward()
    for path, parameter in encoder.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, path
    assert sum(p.requires_grad for p in encoder.backbone.parameters()) > 10


@pytest.mark.parametrize(("name", "kind_name"), [("vit", "image"), ("bert", "text"), ("wav2vec2", "audio")])
def test_half_and_double_precision(name: str, kind_name: str, models: dict[str, Path]) -> None:
    encoder = _encoder(models[name], kind_name)
    inputs = encoder.kind.collate(_rows(encoder))
    exact = encoder(inputs).values
    with torch.autocast("cpu", torch.bfloat16):
        assert (encoder(inputs).values.float() - exact).abs().max() < 0.2
    assert encoder.double()(inputs).values.dtype == torch.float64


def test_the_boxes_of_patches_tile_the_picture_and_the_first_token_has_all_of_it(models: dict[str, Path]) -> None:
    encoder = _encoder(models["vit"], "image")
    span = encoder(encoder.kind.collate(_rows(encoder))).span
    assert span is not None and span.shape[1] == 17
    assert span[0, 0].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert span[0, 2].tolist() == [0.25, 0.0, 0.5, 0.25] and span[0, -1].tolist() == [0.75, 0.75, 1.0, 1.0]


# --- what is trained ------------------------------------------------------------------------------------------------


def test_a_frozen_backbone_has_no_gradient_and_its_statistics_stay(models: dict[str, Path]) -> None:
    encoder = _encoder(models["resnet"], "image").train()
    before = {name: value.clone() for name, value in encoder.backbone.state_dict().items()}
    features = encoder.features(encoder.kind.collate(_rows(encoder)))
    assert not features.values.requires_grad and encoder.cacheable and encoder.learning_rates() == {}
    encoder.project(features).values.square().sum().backward()
    trained = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert trained == {"norm.weight", "norm.bias", "linear.weight", "linear.bias"}
    assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)
    assert all(torch.equal(value, before[name]) for name, value in encoder.backbone.state_dict().items())


def test_batch_normalisation_keeps_its_statistics_under_finetuning(models: dict[str, Path]) -> None:
    encoder = _encoder(models["resnet"], "image", tune="finetune").train()
    assert encoder.training and not encoder.cacheable
    before = {name: value.clone() for name, value in encoder.backbone.named_buffers()}
    inputs = encoder.kind.collate(_rows(encoder))
    together = encoder(inputs).values
    assert all(torch.equal(value, before[name]) for name, value in encoder.backbone.named_buffers())
    torch.testing.assert_close(encoder(Inputs(inputs.values[:1])).values, together[:1], **CLOSE)


def test_deeper_layers_learn_more_slowly(models: dict[str, Path]) -> None:
    rates = _encoder(models["bert"], "text", tune="finetune", factor=0.1, decay=0.5).learning_rates()
    by_part = {part: {round(rate, 6) for name, rate in rates.items() if part in name}
               for part in ("embeddings.", "layer.0.", "layer.1.")}
    assert by_part == {"embeddings.": {0.025}, "layer.0.": {0.05}, "layer.1.": {0.1}}
    assert not any("pooler" in name for name in rates)


@pytest.mark.parametrize(("name", "kind_name"), [("bert", "text"), ("resnet", "image")])
def test_lora_starts_as_the_model_itself_and_trains_only_adapters(
    name: str, kind_name: str, models: dict[str, Path],
) -> None:
    frozen, adapted = _encoder(models[name], kind_name), _encoder(models[name], kind_name, tune="lora", rank=2).train()
    inputs = frozen.kind.collate(_rows(frozen))
    features = adapted.features(inputs)
    torch.testing.assert_close(features.values, frozen.features(inputs).values, **CLOSE)
    assert not adapted.cacheable
    trained = {path for path, parameter in adapted.backbone.named_parameters() if parameter.requires_grad}
    assert trained and all("lora_" in path for path in trained)
    assert {f"backbone.{path}" for path in trained} == set(adapted.learning_rates())
    assert all(p.shape[0 if "lora_A" in path else 1] == 2 for path, p in adapted.named_parameters() if "lora_" in path)
    optimiser = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):  # B is zero at first, and A has no gradient before the first step
        optimiser.zero_grad()
        adapted(inputs).values.square().mean().backward()
        assert all(p.grad is not None for p in adapted.parameters() if p.requires_grad)
        assert all(p.grad is None for p in adapted.parameters() if not p.requires_grad)
        optimiser.step()
    assert not torch.equal(adapted.features(inputs).values, features.values)


# --- saving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind_name", "tune"), [
    ("resnet", "image", "frozen"), ("clip", "image", "finetune"), ("clip", "text", "lora"),
    ("whisper", "audio", "frozen"), ("wav2vec2", "audio", "frozen"), ("videomae", "video", "frozen"),
    ("bert", "text", "lora")])
def test_rebuilt_without_the_source(
    name: str, kind_name: str, tune: str, models: dict[str, Path], tmp_path: Path,
) -> None:
    folder = tmp_path / "source"
    shutil.copytree(models[name], folder)
    encoder = _encoder(folder, kind_name, tune=tune, rank=2)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.01)
    encoder.save_config(tmp_path / "saved")
    assert not list((tmp_path / "saved").glob("*.safetensors"))
    shutil.rmtree(folder)
    again = PretrainedEncoder.from_saved(tmp_path / "saved", encoder.kind, 16, encoder.options).eval()
    again.load_state_dict(encoder.state_dict())
    inputs = encoder.kind.collate(_rows(encoder))
    assert torch.equal(again(inputs).values, encoder(inputs).values)
    assert {n for n, p in again.named_parameters() if p.requires_grad} == {
        n for n, p in encoder.named_parameters() if p.requires_grad}


def test_the_fingerprint_changes_with_whatever_the_features_depend_on(models: dict[str, Path], tmp_path: Path) -> None:
    encoder = _encoder(models["resnet"], "image")
    first = encoder.fingerprint()
    assert _encoder(models["resnet"], "image").fingerprint() == first
    assert _encoder(models["resnet"], "image", tokens=4).fingerprint() != first
    changed = tmp_path / "changed"
    shutil.copytree(models["resnet"], changed)
    settings = json.loads((changed / "preprocessor_config.json").read_text())
    (changed / "preprocessor_config.json").write_text(json.dumps(settings | {"image_mean": [0.4, 0.4, 0.4]}))
    assert _encoder(changed, "image").fingerprint() != first
    with torch.no_grad():
        encoder.linear.weight.add_(1.0)
        assert encoder.fingerprint() == first
        next(encoder.backbone.parameters())[0, 0, 0, 0] += 1e-4
    assert encoder.fingerprint() != first


def test_a_missing_part_that_no_token_depends_on_changes_nothing(models: dict[str, Path], tmp_path: Path) -> None:
    """masked_spec_embed is drawn anew at every loading where the files lack it."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(models["wav2vec2"], tmp_path / "a")
    weights = load_file(tmp_path / "a" / "model.safetensors")
    del weights["masked_spec_embed"]
    save_file(weights, tmp_path / "a" / "model.safetensors", metadata={"format": "pt"})
    prints = set()
    for seed in range(2):
        torch.manual_seed(seed)
        encoder = _encoder(tmp_path / "a", "audio")
        prints.add(encoder.fingerprint())
        assert not any(p.requires_grad for p in encoder.backbone.parameters())
    assert len(prints) == 1 and encoder.unset == ("masked_spec_embed",)


# --- preprocessing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "side"), [("resnet", 24), ("convnext", 40), ("resnet", 384), ("clip", 24), ("vit", 40)])
def test_another_size_follows_the_model_s_own_rule(
    name: str, side: int, models: dict[str, Path], tmp_path: Path,
) -> None:
    from transformers import AutoImageProcessor

    source = describe_source(str(models[name]))
    kind = adapt_kind(ImageKind(height=side), source)
    assert isinstance(kind, ImageKind) and (kind.height, kind.width) == (side, side)
    size = {"height": side, "width": side} if name == "vit" else {"shortest_edge": side}
    crop = {"crop_size": {"height": side, "width": side}} if name == "clip" else {}
    processor = AutoImageProcessor.from_pretrained(models[name], size=size, **crop)
    for path in _pictures(tmp_path):
        expected = processor(Image.open(path), do_rescale=False, do_normalize=False, return_tensors="np")
        assert (kind.decode(path) == np.moveaxis(expected["pixel_values"][0], 0, -1)).all()
    encoder = PretrainedEncoder(source, kind, 16, EncoderOptions(name=str(models[name])))
    assert encoder(kind.collate([kind.decode(path)])).values.isfinite().all()


def test_what_the_user_sets_stays(models: dict[str, Path]) -> None:
    text = adapt_kind(TextKind(max_tokens=6, augmentation=0.5), describe_source(str(models["bert"])))
    assert isinstance(text, TextKind) and text.max_tokens == 6 and text.augmentation == 0.5
    inputs = text.collate(["a dry cough a dry cough a dry cough"])
    assert inputs.values.tolist() == [[2, 5, 6, 7, 5, 3]]  # cut, but closed by its [SEP]
    assert text.length("a dry cough a dry cough a dry cough") == 6
    assert adapt_kind(ImageKind(), describe_source(str(models["vit"])), tune="finetune").augmentation == 1.0
    assert adapt_kind(ImageKind(), describe_source(str(models["vit"]))).augmentation == 0.0


def test_special_words_in_a_text_are_text_and_special_tokens_are_never_hidden(models: dict[str, Path]) -> None:
    kind = adapt_kind(TextKind(), describe_source(str(models["bert"])))
    assert isinstance(kind, TextKind)
    assert kind.collate(["[MASK] cough"]).values.tolist() == [[2, 13, 15, 14, 7, 3]]
    inputs = kind.collate(["a cough", "a dry cough"])
    hidden = kind.corrupt(inputs, 1.0, Draws(0, 0, np.arange(2)))
    assert hidden.values.tolist() == [[2, 4, 4, 3, 0], [2, 4, 4, 4, 3]]


def test_very_long_pictures_do_not_fill_the_memory(models: dict[str, Path]) -> None:
    kind = adapt_kind(ImageKind(), describe_source(str(models["clip"])))
    assert kind.decode(np.zeros((2, 30_000, 3), dtype=np.uint8)).shape == (32, 32, 3)


def test_frames_are_resampled_evenly_with_their_seconds(models: dict[str, Path]) -> None:
    encoder = _encoder(models["videomae"], "video")
    long, _, single = _rows(encoder)
    chosen = Clip(long.frames[[0, 2, 4, 6]], long.times[[0, 2, 4, 6]])
    collate = encoder.kind.collate
    torch.testing.assert_close(encoder(collate([long])).values, encoder(collate([chosen])).values)
    repeated = Clip(np.repeat(single.frames, 4, axis=0), np.repeat(single.times, 4, axis=0))
    torch.testing.assert_close(encoder(collate([single])).values, encoder(collate([repeated])).values)


# --- fewer tokens ---------------------------------------------------------------------------------------------------


def test_fewer_tokens_are_averages_of_neighbours(models: dict[str, Path]) -> None:
    full, few = _encoder(models["vit"], "image"), _encoder(models["vit"], "image", tokens=4)
    inputs = full.kind.collate(_rows(full))
    every, averaged = full.features(inputs), few.features(inputs)
    assert averaged.values.shape[1] == 5 and averaged.span is not None
    grid = every.values[:, 1:].reshape(3, 4, 4, 32)
    torch.testing.assert_close(averaged.values[:, 1], grid[:, :2, :2].mean(dim=(1, 2)), **CLOSE)
    torch.testing.assert_close(averaged.values[:, 4], grid[:, 2:, 2:].mean(dim=(1, 2)), **CLOSE)
    torch.testing.assert_close(averaged.values[:, 0], every.values[:, 0], **CLOSE)
    assert averaged.span[0, 1:].tolist() == [[0, 0, .5, .5], [.5, 0, 1, .5], [0, .5, .5, 1], [.5, .5, 1, 1]]


def test_a_sequence_is_averaged_row_by_row_whatever_its_padding() -> None:
    values = torch.arange(14.0).reshape(2, 7, 1)
    mask = torch.tensor([[True] * 7, [True] * 2 + [False] * 5])
    place = torch.arange(7.0)
    span = torch.stack([place, place + 1], dim=-1).expand(2, -1, -1)
    values[~mask] = torch.nan
    pooled = pool_sequence(Tokens(values, mask, span), 3)
    assert pooled.values[0, :, 0].tolist() == [1.0, 3.5, 5.5] and pooled.values[1, :2, 0].tolist() == [7.0, 8.0]
    assert pooled.mask.tolist() == [[True] * 3, [True, True, False]]
    assert pooled.span is not None and pooled.span[0].tolist() == [[0, 3], [3, 5], [5, 7]]
    assert pooled.span[1].tolist() == [[0, 1], [1, 2], [0, 0]]


@pytest.mark.parametrize(("name", "kind_name"), [("bert", "text"), ("wav2vec2", "audio"), ("videomae", "video")])
def test_fewer_tokens_of_every_kind(name: str, kind_name: str, models: dict[str, Path]) -> None:
    encoder = _encoder(models[name], kind_name, tokens=3)
    tokens = encoder(encoder.kind.collate(_rows(encoder)))
    assert tokens.values.shape[1] <= 3 and tokens.values[tokens.mask].isfinite().all()


# --- sources --------------------------------------------------------------------------------------------------------


def test_kinds_are_told_from_the_architecture(models: dict[str, Path]) -> None:
    expected = {name: (kind,) for name, kind in CASES} | {"clip": ("image", "text")}
    assert {name: kinds_of(folder) for name, folder in models.items()} == expected


def test_folders_are_matched_by_kind_and_name(models: dict[str, Path]) -> None:
    root = models["bert"].parent
    matched = match_folders(root, {"photo": "image", "note": "text", "table": "table", "sound": "audio"})
    assert matched.encoders == {"photo": str(models["clip"]), "note": str(models["bert"]), "sound": str(models["ast"])}
    assert any(line.startswith("photo (image) is encoded by clip (the first by name; also fitting: convnext, dinov2")
               for line in matched.lines)
    assert any("videomae (video) fits no modality of this table" in line for line in matched.lines)
    assert match_folders(models["resnet"], {"photo": "image"}).encoders == {"photo": str(models["resnet"])}
    with pytest.raises(RecipeError, match=r"no pretrained model .* fits a modality of this table \(table: table\)"):
        match_folders(root, {"table": "table"})
    with pytest.raises(RecipeError, match="no folder at"):
        match_folders(root / "no", {"photo": "image"})


def _broken(tmp_path: Path, models: dict[str, Path], name: str = "resnet") -> Path:
    shutil.copytree(models[name], tmp_path / "broken")
    return tmp_path / "broken"


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no folder at '\./no/such': expected one that holds config\.json"):
        describe_source("./no/such")
    (tmp_path / "file").write_text("x")
    with pytest.raises(RecipeError, match="is a file: expected the folder"):
        describe_source(str(tmp_path / "file"))
    with pytest.raises(RecipeError, match=r"holds no pretrained model"):
        match_folders(tmp_path, {"photo": "image"})
    (tmp_path / "model.safetensors").write_text("x")
    with pytest.raises(RecipeError, match=r"is not a pretrained model: it lacks config\.json"):
        describe_source(str(tmp_path))


def test_no_pickle(tmp_path: Path, models: dict[str, Path]) -> None:
    folder = _broken(tmp_path, models)
    (folder / "model.safetensors").unlink()
    with pytest.raises(RecipeError, match=r"has no weights: expected model\.safetensors"):
        describe_source(str(folder))
    (folder / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(RecipeError, match=r"only as pytorch_model\.bin, a format that can run code .*save_pretrained"):
        describe_source(str(folder))


def test_no_code_of_others(tmp_path: Path, models: dict[str, Path]) -> None:
    folder = _broken(tmp_path, models)
    (folder / "config.json").write_text(json.dumps({"model_type": "mine", "auto_map": {"AutoModel": "mine.Mine"}}))
    (folder / "mine.py").write_text("raise SystemExit('ran')")
    with pytest.raises(RecipeError, match="brings Python code of its own, and sensorium runs none"):
        describe_source(str(folder))
    (folder / "config.json").write_text(json.dumps({"model_type": "mine"}))
    with pytest.raises(RecipeError, match="transformers has no encoder for model_type 'mine'"):
        describe_source(str(folder))


def test_a_name_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(name: str, **settings: Any) -> str:
        assert settings["allow_patterns"] == ["*.safetensors", "*.json", "*.txt"]
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    remedy = (r"OSError: no network.* `hf download some/model --local-dir FOLDER`, copy FOLDER here, and give it "
              r"instead of the name: --encoder MODALITY=FOLDER")
    with pytest.raises(RecipeError, match=remedy):
        describe_source("some/model")


def test_broken_files(tmp_path: Path, models: dict[str, Path]) -> None:
    folder = _broken(tmp_path, models)
    (folder / "config.json").write_text("{")
    with pytest.raises(RecipeError, match=r"config\.json' is broken"):
        describe_source(str(folder))
    shutil.copy(models["resnet"] / "config.json", folder)
    (folder / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00rubbish!")
    with pytest.raises(RecipeError, match=r"cannot be loaded .* fetch its files again"):
        _encoder(folder, "image")


def test_weights_of_another_model(tmp_path: Path, models: dict[str, Path]) -> None:
    folder = _broken(tmp_path, models)
    shutil.copy(models["vit"] / "model.safetensors", folder)
    with pytest.raises(RecipeError, match=r"the weights of .* lack '.*' and \d+ more: they belong to another model"):
        _encoder(folder, "image")


def test_files_of_preprocessing_that_are_missing(tmp_path: Path, models: dict[str, Path]) -> None:
    folder = _broken(tmp_path, models)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(RecipeError, match=r"does not say how its pictures are prepared .* preprocessor_config\.json"):
        _encoder(folder, "image")
    shutil.copytree(models["whisper"], tmp_path / "whisper")
    (tmp_path / "whisper" / "preprocessor_config.json").unlink()
    with pytest.raises(RecipeError, match=r"does not say how it hears .* preprocessor_config\.json"):
        _encoder(tmp_path / "whisper", "audio")
    shutil.copytree(models["bert"], tmp_path / "bert")
    (tmp_path / "bert" / "tokenizer.json").unlink()
    with pytest.raises(RecipeError, match=r"has no tokenizer that can be read .* tokenizer\.json"):
        _encoder(tmp_path / "bert", "text")


def test_preprocessing_that_we_do_not_have(tmp_path: Path, models: dict[str, Path]) -> None:
    folder = _broken(tmp_path, models, "vit")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    tall = {"size": {"max_height": 32, "max_width": 32}}
    for change in ({"size": {"shortest_edge": 20}}, tall, {"do_resize": False}):
        (folder / "preprocessor_config.json").write_text(json.dumps(settings | change))
        with pytest.raises(RecipeError, match="prepares its pictures in a way that sensorium does not have"):
            _encoder(folder, "image")


def test_settings_that_contradict_the_model(models: dict[str, Path]) -> None:
    source = {name: describe_source(str(folder)) for name, folder in models.items()}
    with pytest.raises(RecipeError, match=r"is a resnet model for image: it cannot encode text"):
        adapt_kind(TextKind(), source["resnet"])
    with pytest.raises(RecipeError, match=r"is a clip model for image and text: it cannot encode audio"):
        adapt_kind(AudioKind(), source["clip"])
    with pytest.raises(RecipeError, match="max_tokens 21 is more than .* reads: at most 20"):
        adapt_kind(TextKind(max_tokens=21), source["bert"])
    with pytest.raises(RecipeError, match="rate 8000 contradicts .*, which hears 16000 samples per second: leave it"):
        adapt_kind(AudioKind(rate=8000), source["hubert"])
    with pytest.raises(RecipeError, match="max_seconds 3 is more than .* hears: at most 2"):
        adapt_kind(AudioKind(max_seconds=3.0), source["whisper"])
    with pytest.raises(RecipeError, match="channels 1 contradicts .*, which sees 3: leave it out"):
        adapt_kind(ImageKind(channels=1), source["vit"])
    kind = adapt_kind(VideoKind(height=24), source["videomae"]).measure([])
    with pytest.raises(RecipeError, match=r"cannot be run on video as set \(.*leave out the settings of size"):
        PretrainedEncoder(source["videomae"], kind, 16, EncoderOptions(name="x"))
    with pytest.raises(RecipeError, match=r"weights: 'a\.pth' cannot be put into"):
        _encoder(models["vit"], "image", weights="a.pth")
    with pytest.raises(RecipeError, match="needs its options"):
        PretrainedEncoder.build(ImageKind(), 16)


def test_adapters_go_only_where_they_can_learn() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    add_adapters(network, {"0.weight", "0.bias"}, 2, "mine")
    trained = {path for path, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained and all(path.startswith("0.lora_") for path in trained)
    with pytest.raises(RecipeError, match=r"'mine' has no linear layer and no 1 × 1 convolution .* use tune=finetune"):
        add_adapters(torch.nn.Conv2d(3, 3, 3), {"weight"}, 2, "mine")
