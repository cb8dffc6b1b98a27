"""Every fusion, and what is imputed, contrasted or aligned, as graphs; whole models of four modalities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from exported import small_model, small_samples
from worlds import QUICK

from sensorium.alignment.linear import LinearAlignment
from sensorium.data.batch import make_batch
from sensorium.data.samples import Samples
from sensorium.exporting.graphs import EmbeddingGraph, FusedGraph
from sensorium.exporting.parity import compared_subsets
from sensorium.exporting.tracing import fused_graph, read_and_timed
from sensorium.exporting.writing import export_model
from sensorium.fusion import FUSIONS
from sensorium.fusion.imputation import Imputer
from sensorium.model import Model
from sensorium.recipe import ContrastOptions
from sensorium.runtime import Runtime
from sensorium.runtime.sessions import Session

pytestmark = pytest.mark.slow
TIMED = frozenset({"image", "sound"})
CLOCKED = ("attention", "cross_attention", "transformer")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return small_samples(tmp_path_factory.mktemp("world"))


def _given(model: Model, samples: Samples) -> tuple[dict[str, np.ndarray], torch.Tensor, dict[str, object]]:
    """What a graph is given of twelve rows, as arrays and as torch has it; NaN wherever nothing may be read."""
    with torch.inference_mode():
        encoded = model.encode(make_batch(samples, np.arange(12)))
    assert not encoded.presence.all() and encoded.presence.any(dim=1).all()
    arrays = {"presence": encoded.presence.numpy()}
    for place, name in enumerate(samples.schema.names):
        one = encoded.tokens[name]
        real = (one.mask & encoded.presence[:, place, None])[:, :, None]
        values = torch.where(real, one.values, torch.nan)
        arrays |= {f"tokens_{place}": values.numpy(), f"mask_{place}": one.mask.numpy()}
        if one.span is not None:
            arrays[f"span_{place}"] = torch.where(real, one.span, torch.nan)[:, :, :2].numpy()
    return arrays, encoded.presence, encoded.tokens


@pytest.mark.parametrize(("name", "timed"), [*((name, False) for name in FUSIONS), *((name, True) for name in CLOCKED)])
def test_every_fusion_is_a_graph(samples: Samples, name: str, timed: bool) -> None:
    fusion = FUSIONS[name](samples.schema.names, 32, TIMED) if timed else name
    model = small_model(samples, fusion=fusion)
    read, clocked = read_and_timed(model)
    assert clocked == (("image", "sound") if timed else ())
    session = Session(fused_graph(model, FusedGraph(model, read), clocked), name, threads=1)
    arrays, presence, tokens = _given(model, samples)
    found = session(arrays)
    with torch.inference_mode():
        fused = model.fusion(tokens, presence)
        expected = [fused.vector, *(predictor.outputs(fused) for predictor in model.objectives())]
    for key, values in zip(("vector", "output_0", "output_1"), expected, strict=True):
        np.testing.assert_allclose(found[key], values.numpy(), atol=2e-5, rtol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(found["embedding"], axis=1), 1.0, atol=1e-5)


def test_imputed_predictions_and_embeddings_without(samples: Samples) -> None:
    model = small_model(samples, fusion="attention")
    names = samples.schema.names
    imputer = Imputer(names, 32, num_tokens=3)
    with torch.no_grad():
        for parameter in imputer.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    some = {frozenset(pattern): frozenset(names) - frozenset(pattern) for pattern in (("note",), ("image", "table"))}
    imputer.accept(some)
    model.imputer = imputer
    read, clocked = read_and_timed(model)
    arrays, presence, tokens = _given(model, samples)
    graph = FusedGraph(model, read)
    assert not graph.embeds
    session = Session(fused_graph(model, graph, clocked), "fusion", threads=1)
    apart = Session(fused_graph(model, EmbeddingGraph(model, read), clocked), "embedding", threads=1)
    changed = 0
    for subset in compared_subsets(names):
        kept = presence & torch.tensor([name in subset for name in names])
        rows = kept.any(dim=1)
        given = {key: value[rows.numpy()] for key, value in arrays.items()} | {"presence": kept[rows].numpy()}
        with torch.inference_mode():
            encoded = model.encode(make_batch(samples, np.arange(12)))
            view = model.view(encoded)
            fused, _ = view.fuse(kept)
            plain, _ = model.view(encoded, impute=False).fuse(kept)
        assert fused is not None and plain is not None
        changed += int((fused.vector != plain.vector).any(dim=1).sum())
        np.testing.assert_allclose(session(given)["vector"], fused.vector.numpy(), atol=2e-5, rtol=2e-5)
        expected = torch.nn.functional.normalize(plain.vector, dim=1).numpy()
        np.testing.assert_allclose(apart(given)["embedding"], expected, atol=2e-5)
    assert changed > 4


@pytest.mark.parametrize("kind", ["contrast", "alignment"])
def test_a_folder_of_four_modalities(samples: Samples, tmp_path: Path, kind: str) -> None:
    """Every subset by the exporter's own comparison, with embeddings in one space."""
    recipe = QUICK.changed("objectives", contrast=ContrastOptions(width=24)) if kind == "contrast" else QUICK
    model = small_model(samples, fusion="attention", recipe=recipe)
    if kind == "alignment":
        model.alignment = LinearAlignment(dict.fromkeys(samples.schema.names, 32), 16)
    exported = export_model(model, tmp_path / "out")
    assert exported.parity.subsets == 15 and exported.parity.largest < 2e-5
    runtime = Runtime.load(exported.folder)
    assert runtime.aligned and runtime.embedding_width == (24 if kind == "contrast" else 16)
    assert ("embedding.onnx" in exported.sizes) == (kind == "alignment")
