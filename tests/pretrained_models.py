"""Tiny pretrained models with random weights, saved as their makers save them: config, safetensors, processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dry", "cough", "no", "fever", ",", ".", "##s", "[", "]",
         "mask"]


def save_pretrained(name: str, folder: Path) -> Path:
    """Write one of the tiny models of this file."""
    logging.disable_progress_bar()
    torch.manual_seed(0)
    MODELS[name](folder)
    return folder


def _bert(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=24, **SMALL)
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=20).save_pretrained(folder)


def _image(model: Any, processor: Any, folder: Path) -> None:
    with torch.no_grad():
        for module in model.modules():  # as if trained: batch normalisation has statistics
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2.0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def _resnet(folder: Path) -> None:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1])
    _image(transformers.ResNetModel(config), transformers.ConvNextImageProcessorPil(size={"shortest_edge": 32}), folder)


def _convnext(folder: Path) -> None:
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    _image(transformers.ConvNextModel(config), transformers.ConvNextImageProcessorPil(size={"shortest_edge": 400}),
           folder)


def _vit(folder: Path) -> None:
    config = transformers.ViTConfig(image_size=32, patch_size=8, **SMALL)
    _image(transformers.ViTModel(config, add_pooling_layer=False),
           transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}), folder)


def _dinov2(folder: Path) -> None:
    config = transformers.Dinov2Config(image_size=28, patch_size=7, hidden_size=32, num_hidden_layers=2,
                                       num_attention_heads=2)
    _image(transformers.Dinov2Model(config), transformers.BitImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}), folder)


def _clip(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["a", "dog", "cat", "<|startoftext|>", "<|endoftext|>"]
    config = transformers.CLIPConfig(
        text_config={**SMALL, "vocab_size": 5, "max_position_embeddings": 10, "eos_token_id": 4, "bos_token_id": 3},
        vision_config={**SMALL, "image_size": 32, "patch_size": 8}, projection_dim=16)
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    _image(transformers.CLIPModel(config), processor, folder)
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=[("<|startoftext|>", 3), ("<|endoftext|>", 4)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|endoftext|>", unk_token="<|endoftext|>", eos_token="<|endoftext|>",
        bos_token="<|startoftext|>", model_max_length=10).save_pretrained(folder)


def _waves(config: Any, model: Any, folder: Path) -> None:
    model(config).save_pretrained(folder)
    extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=config.feat_extract_norm == "layer")
    extractor.save_pretrained(folder)


WAVES: dict[str, Any] = {**SMALL, "conv_dim": (8, 8), "conv_kernel": (10, 4), "conv_stride": (40, 8),
                         "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8,
                         "num_conv_pos_embedding_groups": 2}


def _wav2vec2(folder: Path) -> None:
    _waves(transformers.Wav2Vec2Config(**WAVES, feat_extract_norm="group"), transformers.Wav2Vec2Model, folder)


def _wav2vec2_large(folder: Path) -> None:
    _waves(transformers.Wav2Vec2Config(**WAVES, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True),
           transformers.Wav2Vec2Model, folder)


def _hubert(folder: Path) -> None:
    _waves(transformers.HubertConfig(**WAVES, feat_extract_norm="layer", do_stable_layer_norm=True),
           transformers.HubertModel, folder)


def _whisper(folder: Path) -> None:
    config = transformers.WhisperConfig(
        vocab_size=20, num_mel_bins=8, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_source_positions=100,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
    transformers.WhisperModel(config).save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=2).save_pretrained(folder)


def _ast(folder: Path) -> None:
    config = transformers.ASTConfig(patch_size=8, num_mel_bins=16, max_length=64, frequency_stride=8, time_stride=8,
                                    **SMALL)
    transformers.ASTModel(config).save_pretrained(folder)
    transformers.ASTFeatureExtractor(num_mel_bins=16, max_length=64).save_pretrained(folder)


def _videomae(folder: Path) -> None:
    config = transformers.VideoMAEConfig(image_size=16, patch_size=8, num_frames=4, tubelet_size=2, **SMALL)
    transformers.VideoMAEModel(config).save_pretrained(folder)
    transformers.VideoMAEImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
                                           ).save_pretrained(folder)


def _timesformer(folder: Path) -> None:
    config = transformers.TimesformerConfig(image_size=16, patch_size=8, num_frames=4, **SMALL)
    transformers.TimesformerModel(config).save_pretrained(folder)
    transformers.VideoMAEImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
                                           ).save_pretrained(folder)


MODELS = {"bert": _bert, "resnet": _resnet, "convnext": _convnext, "vit": _vit, "dinov2": _dinov2, "clip": _clip,
          "wav2vec2": _wav2vec2, "wav2vec2_large": _wav2vec2_large, "hubert": _hubert, "whisper": _whisper, "ast": _ast,
          "videomae": _videomae, "timesformer": _timesformer}
