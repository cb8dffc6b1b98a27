"""Linear alignment: the closed form exactly, subsets, training from and to known answers, and clear refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch.nn import functional as F

from sensorium.alignment import CCA, AlignmentPlan, GeneralizedCCA, LinearAlignment, train_alignment
from sensorium.errors import AlignmentError

WIDTHS = {"text": 6, "clip.image": 9, "audio": 5}


def _views(rows: int, names: list[str], *, seed: int = 0, noise: float = 1.0) -> dict[str, np.ndarray]:
    """Features in which three directions are shared, mixed alike for every seed."""
    mixing, random = np.random.default_rng(0), np.random.default_rng(seed + 1)
    maps = {name: mixing.normal(size=(3, width)) for name, width in WIDTHS.items()}
    shared = random.normal(size=(rows, 3))
    return {name: shared @ maps[name] + noise * random.normal(size=(rows, WIDTHS[name])) + 2.0 for name in names}


def _tensors(views: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values) for name, values in views.items()}


def _alignment(names: list[str], width: int = 3) -> LinearAlignment:
    torch.manual_seed(0)
    return LinearAlignment({name: WIDTHS[name] for name in names}, width).double()


def _rank(alignment: LinearAlignment, views: dict[str, np.ndarray]) -> float:
    """Share of texts whose own picture is the nearest."""
    with torch.no_grad():
        texts, pictures = alignment(_tensors(views)).values()
    return float(((texts @ pictures.T).argmax(dim=1) == torch.arange(len(texts))).double().mean())


# --- the closed form --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [0.0, (0.3, 2.0), "cv"])
def test_two_modalities_are_projected_as_cca_transforms_them(ridge: object) -> None:
    names = ["text", "clip.image"]
    views, new = _views(80, names), _views(7, names, seed=5)
    alignment = _alignment(names)
    correlations = alignment.initialise(views, ridge=ridge)
    cca = CCA(n_components=3, ridge=ridge).fit(*views.values())
    for name, expected in zip(names, cca.transform(*new.values()), strict=True):
        np.testing.assert_allclose(alignment.project(name, torch.from_numpy(new[name])).detach(), expected, atol=1e-12)
    np.testing.assert_array_equal(correlations, cca.correlations_)


def test_three_modalities_are_projected_as_generalised_cca_estimates_them() -> None:
    names = list(WIDTHS)
    views = _views(80, names)
    alignment = _alignment(names)
    correlations = alignment.initialise(views, ridge=0.1)
    estimator = GeneralizedCCA(n_components=3, ridge=0.1).fit(list(views.values()))
    for place, name in enumerate(names):
        alone = [values if i == place else None for i, values in enumerate(views.values())]
        np.testing.assert_allclose(alignment.project(name, torch.from_numpy(views[name])).detach(),
                                   estimator.transform(alone), atol=1e-12)
    np.testing.assert_allclose(correlations, (estimator.eigenvalues_ - 1) / 2, atol=1e-12)


def test_power_scales_each_variate_by_its_correlation() -> None:
    names = ["text", "clip.image"]
    views = _views(80, names)
    plain, loud = _alignment(names), _alignment(names)
    correlations = plain.initialise(views)
    loud.initialise(views, power=2.0)
    for name, values in _tensors(views).items():
        torch.testing.assert_close(loud.project(name, values),
                                   plain.project(name, values) * torch.from_numpy(correlations**2))


def test_float32_and_the_order_of_the_mapping_change_nothing() -> None:
    names = ["text", "clip.image"]
    views = _views(80, names)
    alignment, single = _alignment(names), _alignment(names).float()
    alignment.initialise(views)
    single.initialise({name: torch.from_numpy(views[name]).float() for name in reversed(names)})
    for layer, own in zip(alignment.layers(), single.layers(), strict=True):
        torch.testing.assert_close(own.weight.double(), layer.weight, rtol=1e-4, atol=1e-4)


# --- embeddings -------------------------------------------------------------------------------------------------------


def test_any_subset_is_embedded_as_the_unit_mean_of_what_is_there() -> None:
    alignment = _alignment(list(WIDTHS))
    views = _tensors(_views(4, list(WIDTHS)))
    single = {name: F.normalize(alignment.project(name, values), dim=1) for name, values in views.items()}
    for subset in (["audio"], ["text", "audio"], list(WIDTHS)):
        summed = torch.stack([single[name] for name in subset]).sum(dim=0)
        expected = summed / summed.norm(dim=1, keepdim=True)
        torch.testing.assert_close(alignment.embed({name: views[name] for name in subset}), expected)
    poisoned = {**views, "text": torch.full_like(views["text"], torch.nan)}
    assert torch.equal(alignment(poisoned)["audio"], single["audio"])


def test_it_is_saved_by_its_state_alone() -> None:
    alignment = _alignment(list(WIDTHS))
    alignment.initialise(_views(40, list(WIDTHS)))
    again = LinearAlignment(alignment.widths, alignment.width).double()
    again.load_state_dict(load(save(alignment.state_dict())))
    views = _tensors(_views(4, list(WIDTHS)))
    assert torch.equal(again.embed(views), alignment.embed(views))


# --- training ---------------------------------------------------------------------------------------------------------


def test_contrast_retrieves_better_than_the_projections_it_began_with() -> None:
    names = ["text", "clip.image"]
    train, test = _views(400, names, noise=0.3), _views(100, names, seed=1, noise=0.3)
    alignment = _alignment(names)
    alignment.initialise(train, ridge=100.0)
    before = _rank(alignment, test)
    plan = AlignmentPlan(epochs=20, batch_size=100, learning_rate=0.02, hide=0.0)
    losses = train_alignment(alignment, train, plan=plan)
    assert losses[-1] < losses[0] - 0.1
    assert _rank(alignment, test) > before + 0.05


def test_contrast_from_random_projections_finds_what_is_shared() -> None:
    names = ["text", "clip.image"]
    train = _views(300, names, noise=0.1)
    alignment = _alignment(names, width=16)
    before = _rank(alignment, train)
    train_alignment(alignment, train, plan=AlignmentPlan(epochs=40, batch_size=100, learning_rate=0.02, hide=0.0))
    assert before < 0.05 < 0.4 < _rank(alignment, train)


def test_correlate_reaches_the_closed_form() -> None:
    names = ["text", "clip.image"]
    views = _views(300, names)
    alignment = _alignment(names, width=2)
    plan = AlignmentPlan(epochs=200, batch_size=300, learning_rate=0.02, weight_decay=0.0, hide=0.0)
    train_alignment(alignment, views, objective="correlate", plan=plan)
    text, image = (alignment.project(name, values).detach() for name, values in _tensors(views).items())
    exact = CCA(n_components=2).fit(*views.values()).correlations_
    found = torch.corrcoef(torch.cat([text, image], dim=1).T)
    np.testing.assert_allclose(found[:2, 2:].diagonal(), exact, atol=1e-3)
    np.testing.assert_allclose(found[:2, :2], np.eye(2), atol=1e-6)
    np.testing.assert_allclose(text.std(dim=0), 1.0, atol=1e-6)


def test_units_of_the_views_change_nothing() -> None:
    names = ["text", "clip.image"]
    views = _views(60, names)
    moved = {name: 1000.0 * values - 5.0 for name, values in views.items()}
    plan = AlignmentPlan(epochs=3, batch_size=20, learning_rate=0.01)
    embedded = []
    for given in (views, moved):
        alignment = _alignment(names)
        alignment.initialise(given)
        train_alignment(alignment, given, plan=plan)
        embedded.append(alignment.embed(_tensors(given)))
    torch.testing.assert_close(embedded[0], embedded[1], rtol=1e-7, atol=1e-7)


def test_no_epoch_s_worth_of_steps_leaves_the_projections_as_they_were() -> None:
    names = ["text", "clip.image"]
    views = _views(60, names)
    alignment = _alignment(names)
    alignment.initialise(views)
    before = alignment.embed(_tensors(views))
    train_alignment(alignment, views, plan=AlignmentPlan(epochs=1, learning_rate=0.0))
    torch.testing.assert_close(alignment.embed(_tensors(views)), before)


@pytest.mark.parametrize(("factor", "shift"), [(1.0, 0.0), (50.0, 128.0), (1.0, 100.0), (1e3, 0.0)])
def test_random_projections_learn_in_whatever_units(factor: float, shift: float) -> None:
    names = ["text", "clip.image"]
    views = _views(300, names, noise=0.1)
    views["text"] = views["text"] * factor + shift
    torch.manual_seed(0)
    alignment = _alignment(names)
    plan = AlignmentPlan(epochs=40, batch_size=50, learning_rate=3e-3, hide=0.0)
    losses = train_alignment(alignment, views, plan=plan)
    assert losses[-1] < 0.6 * losses[0]


def test_equal_seeds_give_equal_results_and_no_global_generator_moves() -> None:
    names = ["text", "clip.image"]
    views = _views(60, names)
    state, found = torch.random.get_rng_state(), []
    for seed in (0, 0, 1):
        alignment = _alignment(names)
        alignment.initialise(views)
        state = torch.random.get_rng_state()
        train_alignment(alignment, views, plan=AlignmentPlan(epochs=2, batch_size=20, seed=seed))
        assert torch.equal(torch.random.get_rng_state(), state)
        found.append(alignment.layers()[0].weight.detach())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_every_variant_is_drawn() -> None:
    """The loss of clear texts and empty ones together lies between that of either alone; equal variants are as one."""
    names = ["text", "clip.image"]
    views = _views(400, names, noise=0.1)
    clear, empty = views["text"], np.random.default_rng(0).normal(size=views["text"].shape)
    plan = AlignmentPlan(epochs=1, learning_rate=0.0, hide=0.0)
    losses = []
    for variants in ([clear], [clear, clear], [clear, empty], [empty]):
        given = {**views, "text": np.stack(variants, axis=1)}
        alignment = _initialised(names, views)
        losses += train_alignment(alignment, given, plan=plan)
    assert losses[0] == pytest.approx(losses[1])
    middle = (losses[0] + losses[3]) / 2
    assert abs(losses[2] - middle) < 0.2 * (losses[3] - losses[0])


def test_rows_of_one_key_are_not_contrasted() -> None:
    names = ["text", "clip.image"]
    views = _views(20, names)
    plan = AlignmentPlan(epochs=1, batch_size=20, hide=0.0)
    alone = train_alignment(_alignment(names), views, keys=np.zeros(20, dtype=np.int64), plan=plan)
    none = train_alignment(_alignment(names), views, keys=np.arange(20), plan=plan)
    assert alone[0] == 0.0
    assert none == train_alignment(_alignment(names), views, plan=plan)
    assert none[0] > 0.5


def test_three_modalities_are_contrasted_in_pairs_and_all_weights_learn() -> None:
    alignment = _alignment(list(WIDTHS))
    before = [parameter.detach().clone() for parameter in alignment.parameters()]
    train_alignment(alignment, _views(60, list(WIDTHS)), plan=AlignmentPlan(epochs=2, batch_size=30))
    assert all(not torch.equal(old, new) for old, new in zip(before, alignment.parameters(), strict=True))


def test_hidden_features_keep_the_expected_projection() -> None:
    names = ["text", "clip.image"]
    views = _views(2000, names)
    plan = AlignmentPlan(epochs=1, learning_rate=0.0)
    losses = [train_alignment(_initialised(names, views), views, plan=replace(plan, hide=hide))
              for hide in (0.0, 0.1, 0.8)]
    assert losses[0][0] < losses[1][0] < losses[2][0]
    both = train_alignment(_initialised(names, views), views, plan=replace(plan, hide=dict.fromkeys(names, 0.1)))
    text = train_alignment(_initialised(names, views), views, plan=replace(plan, hide={"text": 0.1, "clip.image": 0.0}))
    assert both == losses[1]
    assert losses[0][0] < text[0] < losses[1][0]


def _initialised(names: list[str], views: dict[str, np.ndarray]) -> LinearAlignment:
    alignment = _alignment(names)
    alignment.initialise(views)
    return alignment


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_what_cannot_be_aligned_is_refused_with_its_numbers() -> None:
    names = ["text", "clip.image"]
    views, alignment = _views(30, names), _alignment(names)
    with pytest.raises(AlignmentError, match="two modalities or more, found \\['text'\\]"):
        LinearAlignment({"text": 3}, 2)
    with pytest.raises(AlignmentError, match="width of at least 1, found 0 for 'the shared space'"):
        LinearAlignment({"text": 3, "audio": 2}, 0)
    with pytest.raises(AlignmentError, match="no modality 'audio'.* text, clip.image"):
        alignment.project("audio", torch.zeros(2, 5))
    with pytest.raises(AlignmentError, match=r"'text': expected \(row, 6\) features, found shape \(2, 5\)"):
        alignment.project("text", torch.zeros(2, 5))
    with pytest.raises(AlignmentError, match="nothing to embed"):
        alignment.embed({})
    with pytest.raises(AlignmentError, match="text 2, clip.image 3"):
        alignment.embed({"text": torch.zeros(2, 6), "clip.image": torch.zeros(3, 9)})
    with pytest.raises(AlignmentError, match="expected all of text, clip.image, found text"):
        alignment.initialise({"text": views["text"]})
    with pytest.raises(AlignmentError, match="text 30, clip.image 29"):
        alignment.initialise({**views, "clip.image": views["clip.image"][1:]})
    views["text"][3, 2] = np.nan
    for start in (alignment.initialise, lambda given: train_alignment(alignment, given)):
        with pytest.raises(AlignmentError, match="'text': 1 .*NaN"):
            start(views)


def test_what_cannot_be_trained_is_refused_with_its_numbers() -> None:
    names = ["text", "clip.image"]
    views, alignment = _views(30, names), _alignment(names)
    before = [layer.weight.detach().clone() for layer in alignment.layers()]
    plan = AlignmentPlan(batch_size=3)
    with pytest.raises(AlignmentError, match="batch of 3 rows in 3 dimensions"):
        train_alignment(alignment, views, objective="correlate", plan=plan)
    for layer, weight in zip(alignment.layers(), before, strict=True):
        torch.testing.assert_close(layer.weight, weight)
    with pytest.raises(AlignmentError, match="unknown objective 'agree'"):
        train_alignment(alignment, views, objective="agree")  # type: ignore[arg-type]
    with pytest.raises(AlignmentError, match="'text' is constant over 30 rows"):
        train_alignment(alignment, {**views, "text": np.ones((30, 6))})
    with pytest.raises(AlignmentError, match="30 rows, but keys for 29 were given"):
        train_alignment(alignment, views, keys=np.arange(29))
    with pytest.raises(AlignmentError, match="found \\[30, 29\\] rows"):
        train_alignment(alignment, {**views, "clip.image": views["clip.image"][1:]})
    with pytest.raises(AlignmentError, match="a share for each of text, clip.image, found text"):
        train_alignment(alignment, views, plan=AlignmentPlan(hide={"text": 0.1}))
    with pytest.raises(AlignmentError, match="keys must be whole numbers, found float64"):
        train_alignment(alignment, views, keys=np.arange(30) / 30)
    with pytest.raises(AlignmentError, match="contrast needs at least 2 rows a step, found 30 rows and batch_size=1"):
        train_alignment(alignment, views, plan=AlignmentPlan(batch_size=1))
    wrongs = ({"epochs": 1.5}, {"learning_rate": -1.0}, {"learning_rate": float("nan")}, {"epochs": 0},
              {"batch_size": 0}, {"hide": 1.0}, {"hide": {"text": 1.0}})
    for wrong in wrongs:
        with pytest.raises(AlignmentError, match=f"expected {next(iter(wrong))}"):
            replace(plan, **wrong)
