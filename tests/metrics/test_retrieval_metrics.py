"""Retrieval metrics against naive loops, all orders of ties, scikit-learn and closed forms."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from sensorium.errors import AlignmentError
from sensorium.metrics import retrieval
from sensorium.metrics.bootstrap import replicate_weights
from sensorium.metrics.relevance import Relevance
from sensorium.metrics.retrieval import RETRIEVAL, chance_levels, nearest, rank, retrieval_metrics


def _unit(random: np.random.Generator, rows: int, width: int = 8) -> np.ndarray:
    vectors = random.normal(size=(rows, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _grid(random: np.random.Generator, rows: int) -> np.ndarray:
    """Unit vectors along the axes: many scores tie, exactly."""
    return np.eye(3, dtype=np.float32)[random.integers(0, 3, rows)]


def _of_order(right: np.ndarray) -> dict[str, float]:
    """The metrics of one query from its ranked list of right and wrong, by loops."""
    hits, precisions, gain, gain_cut = 0, [], 0.0, 0.0
    for place, one in enumerate(right, start=1):
        if one:
            hits += 1
            precisions.append(hits / place)
            gain += 1 / np.log2(1 + place)
            gain_cut += 1 / np.log2(1 + place) if place <= 10 else 0.0
    best = [1 / np.log2(1 + place) for place in range(1, hits + 1)]
    first = int(np.argmax(right)) + 1
    return {"first": first, "hit_1": first <= 1, "hit_2": first <= 2, "hit_5": first <= 5,
            "ap": np.mean(precisions), "ndcg": gain / sum(best), "ndcg_cut": gain_cut / sum(best[:10])}


def _columns(found: retrieval.Ranking) -> dict[str, np.ndarray]:
    return {"first": found.first, "hit_1": found.hits(1), "hit_2": found.hits(2), "hit_5": found.hits(5),
            "ap": found.average_precision, "ndcg": found.ndcg, "ndcg_cut": found.ndcg_cut}


@pytest.mark.parametrize("seed", range(3))
def test_against_loops_without_ties(seed: int) -> None:
    random = np.random.default_rng(seed)
    queries, gallery = _unit(random, 12), _unit(random, 30)
    asked, found = random.integers(0, 5, 12), random.integers(0, 4, 30)
    ranking = rank(queries, gallery, Relevance.by_code(asked, found))
    assert ranking.queries.tolist() == np.flatnonzero(asked < 4).tolist()
    assert ranking.left_out == (asked == 4).sum()
    expected = [_of_order((found == asked[query])[np.argsort(-(gallery @ queries[query]))])
                for query in ranking.queries]
    for name, values in _columns(ranking).items():
        np.testing.assert_allclose(values, [one[name] for one in expected], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("seed", range(4))
def test_ties_are_expectations_over_all_orders(seed: int) -> None:
    random = np.random.default_rng(seed)
    queries, gallery = _grid(random, 3), _grid(random, 7)
    right = random.random((3, 7)) < 0.5
    right[:, 0] = True
    ranking = rank(queries, gallery, Relevance.from_pairs(*np.nonzero(right), 3))
    orders = np.array(list(itertools.permutations(range(7))))
    for query in range(3):
        scores = queries[query] @ gallery.T
        allowed = orders[(np.diff(scores[orders], axis=1) <= 0).all(axis=1)]
        each = [_of_order(right[query][order]) for order in allowed]
        for name, values in _columns(ranking).items():
            assert values[query] == pytest.approx(np.mean([one[name] for one in each]), rel=1e-12), name


def test_against_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score, ndcg_score

    random = np.random.default_rng(0)
    queries, gallery = _unit(random, 20), _unit(random, 60)
    right = random.random((20, 60)) < 0.15
    right[:, 3] = True
    ranking = rank(queries, gallery, Relevance.from_pairs(*np.nonzero(right), 20))
    scores = queries @ gallery.T
    precision = [average_precision_score(one, row) for one, row in zip(right, scores, strict=True)]
    np.testing.assert_allclose(ranking.average_precision, precision, rtol=1e-9)
    assert ranking.ndcg.mean() == pytest.approx(ndcg_score(right, scores), rel=1e-9)
    assert ranking.ndcg_cut.mean() == pytest.approx(ndcg_score(right, scores, k=10), rel=1e-9)


def test_ndcg_of_ties_is_scikit_learn_s() -> None:
    from sklearn.metrics import ndcg_score

    random = np.random.default_rng(1)
    queries, gallery = _grid(random, 25), _grid(random, 40)
    right = random.random((25, 40)) < 0.3
    right[:, 0] = True
    ranking = rank(queries, gallery, Relevance.from_pairs(*np.nonzero(right), 25))
    assert ranking.ndcg.mean() == pytest.approx(ndcg_score(right, queries @ gallery.T), rel=1e-9)
    assert ranking.ndcg_cut.mean() == pytest.approx(ndcg_score(right, queries @ gallery.T, k=10), rel=1e-9)


@pytest.mark.parametrize("several", [False, True])
def test_a_collapsed_embedding_scores_chance(several: bool) -> None:
    random = np.random.default_rng(0)
    one = _unit(random, 1)
    codes = random.integers(0, 12, 50) if several else np.arange(50)
    ranking = rank(np.repeat(one, 50, axis=0), np.repeat(one, 50, axis=0), Relevance.by_code(codes, codes))
    found = retrieval_metrics(ranking, replicate_weights(50, replicates=20))
    chance = chance_levels(ranking)
    for name in RETRIEVAL:
        if name != "median_rank" or not several:
            assert found[name].value == pytest.approx(chance[name], rel=1e-12), name
    assert found["recall_at_1"].value < 0.2
    assert found["median_rank"].value >= chance["median_rank"]


def test_chance_is_what_random_embeddings_score() -> None:
    random = np.random.default_rng(0)
    asked, gallery = random.integers(0, 30, 400), random.integers(0, 30, 90)
    values: dict[str, list[float]] = {name: [] for name in RETRIEVAL}
    for _ in range(12):
        ranking = rank(_unit(random, 400, 64), _unit(random, 90, 64), Relevance.by_code(asked, gallery))
        for name, one in retrieval_metrics(ranking, replicate_weights(len(ranking), replicates=1)).items():
            values[name].append(one.value)
    for name, level in chance_levels(ranking).items():
        if name == "median_rank":
            assert np.mean(values[name]) == pytest.approx(level, abs=1.5)
        else:
            assert np.mean(values[name]) == pytest.approx(level, abs=4 * np.std(values[name]) / np.sqrt(12)), name


@pytest.mark.parametrize(("items", "median"), [(1, 1.0), (2, 1.5), (5, 3.0), (100, 50.5), (100_000, 50_000.5)])
def test_the_median_rank_by_chance(items: int, median: float) -> None:
    from sensorium.metrics.ties import median_first_place

    assert median_first_place(np.full(3, items), np.ones(3, dtype=np.int64)) == median
    assert median_first_place(np.full(3, items), np.full(3, items)) == 1


def test_known_levels_of_chance() -> None:
    gallery = _unit(np.random.default_rng(0), 4)
    ranking = rank(gallery, gallery, Relevance.by_code(np.arange(4), np.arange(4)))
    chance = chance_levels(ranking)
    assert chance["recall_at_1"] == pytest.approx(1 / 4)
    assert chance["recall_at_5"] == 1
    assert chance["map"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert chance["median_rank"] == 2.5
    found = retrieval_metrics(ranking, replicate_weights(4))
    assert {name: one.value for name, one in found.items()} == dict.fromkeys(RETRIEVAL, 1.0)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    queries = np.concatenate([_unit(random, 40), _unit(random, 1)])
    gallery = np.concatenate([_unit(random, 30), _unit(random, 5).repeat(4, axis=0)])
    relevance = Relevance.by_code(random.integers(0, 6, 41), random.integers(0, 5, 50))
    whole = _columns(rank(queries, gallery, relevance))
    best = nearest(queries, gallery, 7)
    for scores in (1, 120, 777):
        monkeypatch.setattr(retrieval, "CHUNK_SCORES", scores)
        for name, values in _columns(rank(queries, gallery, relevance)).items():
            np.testing.assert_allclose(values, whole[name], rtol=1e-12, err_msg=name)
        assert (nearest(queries, gallery, 7) == best).all()


def test_many_answers_are_counted_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for vectors in (_unit, _grid):
        queries, gallery = vectors(random, 15), vectors(random, 40)
        relevance = Relevance.by_code(random.integers(0, 5, 15), random.integers(0, 5, 40))
        monkeypatch.setattr(retrieval, "FEW_ANSWERS", 100)
        few = _columns(rank(queries, gallery, relevance))
        monkeypatch.setattr(retrieval, "FEW_ANSWERS", 0)
        for name, values in _columns(rank(queries, gallery, relevance)).items():
            np.testing.assert_array_equal(values, few[name])


def test_the_order_of_the_gallery_and_of_equal_items_is_nothing() -> None:
    random = np.random.default_rng(0)
    queries, gallery = _unit(random, 20), _unit(random, 6).repeat(5, axis=0)
    asked, found = random.integers(0, 4, 20), random.integers(0, 4, 30)
    shuffled = random.permutation(30)
    one = _columns(rank(queries, gallery, Relevance.by_code(asked, found)))
    other = _columns(rank(queries, gallery[shuffled], Relevance.by_code(asked, found[shuffled])))
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], rtol=1e-12)


def test_hidden_items_are_as_good_as_gone() -> None:
    random = np.random.default_rng(0)
    queries, gallery = _unit(random, 10), _unit(random, 25)
    asked, found = random.integers(0, 4, 10), random.integers(0, 4, 25)
    relevance = Relevance.by_code(asked, found)
    hidden = Relevance.from_pairs(np.arange(10), np.arange(10), 10)
    ranking = rank(queries, gallery, relevance, hidden=hidden)
    for place, query in enumerate(ranking.queries.tolist()):
        kept = np.arange(25) != query
        alone = rank(queries[[query]], gallery[kept], Relevance.by_code(asked[[query]], found[kept]))
        assert alone.candidates.tolist() == [ranking.candidates[place]] == [24]
        assert alone.right.tolist() == [ranking.right[place]]
        for name, values in _columns(alone).items():
            assert values[0] == pytest.approx(_columns(ranking)[name][place], rel=1e-12)
    nobody = rank(queries, gallery[:10], Relevance.by_code(np.arange(10), np.arange(10)), hidden=hidden)
    assert len(nobody) == 0
    assert nobody.left_out == 10


def test_classes_share_their_lists() -> None:
    codes = np.arange(100_000) % 10
    relevance = Relevance.by_code(codes, codes)
    assert relevance.items.size == 100_000
    assert (relevance.counts == 10_000).all()
    assert (codes[relevance.of(7)] == 7).all()
    assert Relevance.by_code(np.array([-1, 3]), np.array([-1, -1])).counts.tolist() == [0, 0]
    repeated = Relevance.from_pairs(np.array([2, 2, 0]), np.array([5, 5, 1]), 4)
    assert repeated.counts.tolist() == [1, 0, 1, 0]


def test_memory_grows_with_the_gallery_alone() -> None:
    random = np.random.default_rng(0)
    queries, gallery = _unit(random, 20_000), _unit(random, 20_000)
    few = np.arange(0, 20_000, 10)
    tracemalloc.start()
    rank(queries[few], gallery, Relevance.from_pairs(np.arange(2000), few, 2000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3 * 4 * retrieval.CHUNK_SCORES


def test_intervals_cover_and_groups_widen() -> None:
    random = np.random.default_rng(0)
    gallery = _unit(random, 100)
    codes = np.arange(100).repeat(4)
    queries = gallery[codes] + 0.8 * _unit(random, 100)[codes]
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    ranking = rank(queries, gallery, Relevance.by_code(codes, np.arange(100)))
    rows = retrieval_metrics(ranking, replicate_weights(400))
    groups = retrieval_metrics(ranking, replicate_weights(400, codes))
    for name in RETRIEVAL:
        assert rows[name].low <= rows[name].value <= rows[name].high
    assert (groups["map"].high - groups["map"].low) / (rows["map"].high - rows["map"].low) == pytest.approx(2, rel=0.15)
    share = rows["recall_at_1"].value
    assert 0 < share < 1
    assert rows["recall_at_1"].high - share == pytest.approx(1.96 * np.sqrt(share * (1 - share) / 400), rel=0.2)


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_the_weighted_median_is_that_of_repeated_rows(count: int) -> None:
    random = np.random.default_rng(count)
    values = random.integers(1, 9, count).astype(np.float64)
    assert retrieval._median(values, values) == np.median(values)
    weights = random.integers(0, 4, (30, count))
    weights[:, 0] += 1
    expected = [np.median(np.repeat(values, row)) for row in weights]
    np.testing.assert_array_equal(retrieval._median(values, values, weights), expected)


def test_wrong_arguments_are_named() -> None:
    random = np.random.default_rng(0)
    queries, gallery = _unit(random, 4), _unit(random, 6)
    relevance = Relevance.by_code(np.arange(4), np.arange(6))
    with pytest.raises(AlignmentError, match=r"one width .* found \(4, 8\), \(6, 5\) and 4 queries"):
        rank(queries, _unit(random, 6, 5), relevance)
    with pytest.raises(AlignmentError, match=r"\(3, 8\), \(6, 8\) and 4 queries"):
        rank(queries[:3], gallery, relevance)
    with pytest.raises(AlignmentError, match="item 5 is not in a gallery of 5 items"):
        rank(queries, gallery[:5], relevance)
    with pytest.raises(AlignmentError, match="hidden items for each of 4 queries, found 2"):
        rank(queries, gallery, relevance, hidden=Relevance.by_code(np.arange(2), np.arange(2)))
    gallery[2] = np.nan
    with pytest.raises(AlignmentError, match="gallery: 1 of 6 embeddings are not of unit length, the first is row 2"):
        rank(queries, gallery, relevance)
    with pytest.raises(AlignmentError, match="queries: 4 of 4 .* row 0 with length 3"):
        rank(3 * queries, gallery, relevance)
    with pytest.raises(AlignmentError, match=r"queries: expected \(row, width\) embeddings.* found shape \(0, 8\)"):
        rank(queries[:0], gallery, relevance)
    with pytest.raises(AlignmentError, match=r"queries in 0 … 1 and items from 0, found 0 … 2"):
        Relevance.from_pairs(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(AlignmentError, match=r"shapes \(2,\) and \(1,\)"):
        Relevance.from_pairs(np.array([0, 2]), np.array([0]), 3)
