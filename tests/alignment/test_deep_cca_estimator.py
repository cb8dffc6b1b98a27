"""DeepCCA: planted nonlinear relations, any encoders and numbers of views, determinism, and clear refusals."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn

from sensorium.alignment import CCA, DeepCCA, GeneralizedCCA
from sensorium.alignment.deep_cca_training import outputs_of, paired_correlations, rate
from sensorium.errors import AlignmentError

QUICK = {"hidden": (64, 64), "epochs": 12, "batch_size": 250, "learning_rate": 1e-2}


def _world(rows: int, num_views: int = 2, seed: int = 0) -> list[np.ndarray]:
    """Two hidden numbers that every view shows through its own bent surface; linear CCA sees less of them."""
    random = np.random.default_rng(seed)
    hidden = random.uniform(-1, 1, size=(rows, 2))
    mixing = np.random.default_rng(99)
    views = []
    for place in range(num_views):
        shown = np.stack([hidden[:, 0] ** 2 if place else hidden[:, 0], np.abs(hidden[:, 1]) if place else hidden[:, 1],
                          random.normal(size=rows)], axis=1)
        views.append(shown @ mixing.normal(size=(3, 6)) + 0.05 * random.normal(size=(rows, 6)))
    return views


def test_it_finds_what_no_linear_map_can() -> None:
    train, test = _world(2000), _world(1000, seed=1)
    linear = CCA(n_components=2).fit(*train)
    flat = paired_correlations(linear.transform(*test)).sum()
    deep = DeepCCA(2, **QUICK).fit(*train)
    assert flat < 0.3
    assert deep.score(*test) > 1.6
    assert deep.correlations_.sum() > 1.6


@pytest.mark.parametrize("loss", ["cca", "cca_squared", "eckart_young"])
def test_three_views(loss: str) -> None:
    train, test = _world(2000, 3), _world(1000, 3, seed=1)
    deep = DeepCCA(2, loss=loss, **QUICK).fit(train)
    assert deep.score(test) > 1.6
    first, absent, third = deep.transform([test[0], None, test[2]])
    assert absent is None
    assert float(paired_correlations([first, third]).sum()) > 1.5


def test_eckart_young_on_batches_of_eight() -> None:
    train, test = _world(2000), _world(1000, seed=1)
    deep = DeepCCA(2, loss="eckart_young", hidden=(32,), epochs=8, batch_size=8, learning_rate=1e-2).fit(*train)
    assert deep.score(*test) > 1.5


def test_variates_are_those_of_linear_cca_on_the_outputs() -> None:
    train = _world(500)
    deep = DeepCCA(2, **QUICK | {"epochs": 2}).fit(*train)
    outputs = [outputs_of(encoder, view, torch.device("cpu")) for encoder, view in zip(deep.encoders_, train)]
    expected = CCA(n_components=2, ridge=deep.ridge).fit(*outputs)
    for found, wanted in zip(deep.transform(*train), expected.transform(*outputs)):
        np.testing.assert_allclose(found, wanted, atol=1e-10)
        assert found.std(axis=0, ddof=1) == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(deep.transform(train[0]), deep.transform(train)[0])
    assert deep.score(*train) == pytest.approx(deep.correlations_.sum(), abs=1e-12)


def test_variates_of_three_views_are_those_of_generalised_cca() -> None:
    train = _world(500, 3)
    deep = DeepCCA(2, **QUICK | {"epochs": 2}).fit(train)
    outputs = [outputs_of(encoder, view, torch.device("cpu")) for encoder, view in zip(deep.encoders_, train)]
    expected = GeneralizedCCA(n_components=2, ridge=deep.ridge).fit(outputs)
    for found, view, mean, weights in zip(deep.transform(train), outputs, expected.means_, expected.weights_):
        np.testing.assert_allclose(found, (view - mean) @ weights, atol=1e-10)


def test_a_dead_output_leaves_one_variate_less() -> None:
    train = _world(300)
    deaf = nn.Sequential(nn.Linear(6, 3), nn.ReLU())
    with torch.no_grad():
        deaf[0].weight[1], deaf[0].bias[1] = 0.0, -1.0
    deep = DeepCCA(3, encoders=[deaf, nn.Linear(6, 3)], epochs=2, learning_rate=1e-4).fit(*train)
    assert [view.shape for view in deep.transform(train)] == [(300, 2), (300, 2)]
    assert deep.correlations_.shape == (2,)


def test_any_encoders() -> None:
    """Pictures through a convolution beside token numbers through an embedding; the given modules stay as they were."""
    random = np.random.default_rng(0)
    kind = random.integers(0, 4, size=600)
    pictures = torch.from_numpy(random.normal(size=(600, 1, 6, 6)))
    pictures[torch.arange(600), 0, torch.from_numpy(kind)] += 3.0
    tokens = np.stack([kind, random.integers(0, 4, size=600)], axis=1)
    encoders = [nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)),
                nn.Sequential(nn.Embedding(4, 3), nn.Flatten(), nn.Linear(6, 4))]
    before = [{name: value.clone() for name, value in one.state_dict().items()} for one in encoders]
    deep = DeepCCA(3, encoders=encoders, epochs=15, batch_size=200, learning_rate=1e-2)
    assert deep.fit([pictures[:400], tokens[:400]]).score([pictures[400:], tokens[400:]]) > 2.5
    assert not any(module.training for one in deep.encoders_ for module in one.modules())
    for one, state in zip(encoders, before):
        assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


def test_tensors_and_whole_numbers_are_read_as_arrays_are() -> None:
    train = [np.round(view * 10).astype(np.int64) for view in _world(300)]
    settings = QUICK | {"epochs": 2}
    wanted = DeepCCA(2, **settings).fit(*(view.astype(float) for view in train)).transform(train)
    for given in (train, [torch.from_numpy(view) for view in train], [view.astype(np.float32) for view in train]):
        for a, b in zip(DeepCCA(2, **settings).fit(given).transform(given), wanted):
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_equal_seeds_are_equal_and_global_generators_untouched() -> None:
    train = _world(300)
    encoders = [nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.2), nn.Linear(16, 2)) for _ in train]
    for given in ({}, {"encoders": encoders}):
        settings = QUICK | {"epochs": 2} | given
        torch.manual_seed(3)
        state, other = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        first = DeepCCA(2, **settings).fit(*train).transform(train)
        assert torch.equal(torch.get_rng_state(), state)
        assert (np.random.get_state()[1] == other).all()  # noqa: NPY002
        torch.manual_seed(4)
        second = DeepCCA(2, **settings).fit(*train).transform(train)
        third = DeepCCA(2, seed=1, **settings).fit(*train).transform(train)
        assert all((a == b).all() for a, b in zip(first, second))
        assert np.abs(first[0] - third[0]).max() > 1e-3


def test_the_best_validated_epoch_is_kept() -> None:
    """On 120 rows the perceptrons learn noise by heart: the last epoch is not the best."""
    train, held = _world(120), _world(500, seed=1)
    settings = QUICK | {"epochs": 40, "batch_size": 60, "hidden": (128, 128)}
    kept = DeepCCA(2, **settings).fit(*train, validation=held)
    told = [entry["validation"] for entry in kept.history_]
    assert kept.best_epoch_ == int(np.argmax(told)) + 1 < 40
    assert kept.score(held) == pytest.approx(max(told), abs=1e-9)
    last = DeepCCA(2, **settings).fit(*train)
    assert last.best_epoch_ == 40
    assert last.score(held) == pytest.approx(told[-1], abs=1e-9)


def test_every_row_is_visited_and_every_weight_learns() -> None:
    seen: list[int] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Linear(2, 2)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.extend(int(number) for number in values[:, 0])
            return self.map(values.float())

    random = np.random.default_rng(0)
    views = [np.stack([np.arange(107.0), random.normal(size=107)], axis=1) for _ in range(2)]
    encoders = [Watched(), nn.Linear(2, 2)]
    deep = DeepCCA(2, encoders=encoders, epochs=2, batch_size=25).fit(views)
    assert sorted(seen) == sorted([*range(107), *range(107)])
    for one, trained in zip(encoders, deep.encoders_):
        for before, after in zip(one.parameters(), trained.parameters()):
            assert not torch.equal(before, after)


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [rate((step + 0.5) / 100) for step in range(100)]
    assert max(rates) == pytest.approx(1, abs=1e-3) and rates.index(max(rates)) == 10
    assert rates[0] == pytest.approx(0.05) and rates[-1] < 1e-3
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)


def test_paired_correlations_by_numpy() -> None:
    random = np.random.default_rng(0)
    views = [random.normal(size=(30, 3)) + 5 for _ in range(3)]
    expected = [np.mean([np.corrcoef(a[:, k], b[:, k])[0, 1] for a, b in combinations(views, 2)]) for k in range(3)]
    np.testing.assert_allclose(paired_correlations(views), expected, atol=1e-12)
    views[0][:, 1] = 0.1
    assert paired_correlations(views[:2])[1] == 0


def test_it_is_cloned_and_shown_as_scikit_learn_s_are() -> None:
    deep = DeepCCA(3, hidden=(8,), seed=5)
    assert clone(deep).get_params() == deep.get_params()
    assert "hidden=(8,)" in repr(deep)


def test_refusals_name_what_is_wrong() -> None:
    a, b = _world(100)
    poisoned = b.copy()
    poisoned[7, 2] = np.nan
    with pytest.raises(AlignmentError, match=r"view 1 of shape \(100, 6\) holds NaN"):
        DeepCCA(2).fit(a, poisoned)
    with pytest.raises(AlignmentError, match=r"view 1 of shape \(100, 6\) holds NaN"):
        DeepCCA(2, **QUICK).fit(a, b, validation=[a, poisoned])
    with pytest.raises(AlignmentError, match=r"found \[100, 99\] rows"):
        DeepCCA(2).fit(a, b[:99])
    with pytest.raises(AlignmentError, match="at least 2 views, found 1"):
        DeepCCA(2).fit([a])
    with pytest.raises(AlignmentError, match=r"view 0: expected real numbers.*found shape \(100,\) of float64"):
        DeepCCA(2).fit(a[:, 0], b)
    with pytest.raises(AlignmentError, match=r"view 1: expected real numbers.*of <U32"):
        DeepCCA(2).fit(a, b.astype(str))
    with pytest.raises(NotFittedError, match="not fitted"):
        DeepCCA(2).transform(a, b)
    with pytest.raises(AlignmentError, match="n_components=100 of 100 rows"):
        DeepCCA(100).fit(a, b)
    with pytest.raises(AlignmentError, match="batches of 10 rows cannot correlate 20 components.*eckart_young"):
        DeepCCA(20, batch_size=10, epochs=1).fit(a, b)
    with pytest.raises(AlignmentError, match="expected epochs to be a whole number of at least 1, found 0"):
        DeepCCA(2, epochs=0).fit(a, b)
    with pytest.raises(AlignmentError, match=r"view 0 has shape \(100, 6, 1\).*give encoders="):
        DeepCCA(2).fit(a[:, :, None], b)
    with pytest.raises(AlignmentError, match="2 views: found 1 encoders"):
        DeepCCA(2, encoders=[nn.Linear(6, 2)]).fit(a, b)
    with pytest.raises(AlignmentError, match="n_components=3 of encoders, of which one has 2 outputs"):
        DeepCCA(3, encoders=[nn.Linear(6, 2), nn.Linear(6, 4)], epochs=1).fit(a, b)
    with pytest.raises(AlignmentError, match="nothing to train"):
        DeepCCA(2, encoders=[nn.Flatten(), nn.Flatten()]).fit(a, b)
    with pytest.raises(AlignmentError, match="view 1 of shape .* is constant"):
        DeepCCA(2).fit(a, np.ones_like(b))
    with pytest.raises(AlignmentError, match="expected epochs to be a whole number"):
        DeepCCA(2, epochs=1.5).fit(a, b)  # type: ignore[arg-type]
    with pytest.raises(AlignmentError, match=r"unknown loss of deep CCA 'ca'.*Did you mean 'cca'"):
        DeepCCA(2, loss="ca").fit(a, b)


def test_transform_refuses_other_views() -> None:
    a, b = _world(100)
    deep = DeepCCA(2, **QUICK | {"epochs": 1}).fit(a, b)
    with pytest.raises(AlignmentError, match=r"view 1: expected \(row, 6\), found shape \(100, 5\)"):
        deep.transform(a, b[:, :5])
    with pytest.raises(AlignmentError, match=r"view 0: expected \(row, 6\), found shape \(100, 5\)"):
        deep.transform(a[:, :5])
    holed = a.copy()
    holed[3, 1] = np.nan
    for read in (lambda: deep.score(holed, b), lambda: deep.transform(holed)):
        with pytest.raises(AlignmentError, match=r"view 0 of shape \(100, 6\) holds NaN"):
            read()
    with pytest.raises(AlignmentError, match="view 0 has no rows"):
        deep.transform(a[:0])
    with pytest.raises(AlignmentError, match="fitted on 2 views, found 3"):
        deep.transform([a, b, a])
