"""Metrics of texts: closed forms, hand-worked examples, loops, and sacrebleu itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sacrebleu

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import replicate_weights
from sensorium.metrics.longest_common import common_length
from sensorium.metrics.text_score import words_of
from sensorium.metrics.texts import TEXT_METRICS, text_metrics

MOST = {"exact_match": 1.0, "bleu": 100.0, "chrf": 100.0, "rouge_l": 1.0, "cider_d": 10.0}
CAPTIONS = ["a small red circle in the corner", "two large blue squares at the top",
            "some green stars on the left side", "one black triangle far below", "赤い丸が左上にあります"]
REFERENCES = [["a red circle in the corner", "there is a small red circle"], ["two blue squares at the top left"],
              ["green stars left", "some green stars on the left side", "stars"], ["one black triangle"],
              ["赤い丸があります"]]


def test_every_metric_has_its_range_stated_here() -> None:
    assert list(TEXT_METRICS) == list(MOST)


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_equal_texts_have_the_most(name: str) -> None:
    score = TEXT_METRICS[name](CAPTIONS, [[text] for text in CAPTIONS])
    assert score.value == pytest.approx(MOST[name])
    assert score.rows == pytest.approx(np.full(5, MOST[name]))


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_texts_that_share_nothing_have_zero(name: str) -> None:
    score = TEXT_METRICS[name](["xx qq vv zz", "", "kk"], [["a b c d", "e"], ["f"], ["gg hh"]])
    assert score.value == 0.0 and score.rows.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_between_and_independent_of_the_order_of_references(name: str) -> None:
    score = TEXT_METRICS[name](CAPTIONS, REFERENCES)
    if name != "exact_match":
        assert 0.0 < score.value < MOST[name] and bool((score.rows > 0).all())
    swapped = TEXT_METRICS[name](CAPTIONS, [one[::-1] for one in REFERENCES])
    assert swapped.rows == pytest.approx(score.rows, abs=1e-12)
    rows = [4, 2, 0, 1, 3]
    moved = TEXT_METRICS[name]([CAPTIONS[row] for row in rows], [REFERENCES[row] for row in rows])
    assert moved.rows == pytest.approx(score.rows[rows], abs=1e-12) and moved.value == pytest.approx(score.value)


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_weights_are_repetitions(name: str) -> None:
    """The interval's replicates are the metric of the repeated rows; CIDEr-D keeps its weights, a mean over rows."""
    score, resampling = TEXT_METRICS[name](CAPTIONS, REFERENCES), replicate_weights(5, replicates=4)
    for weights in resampling.weights:
        rows = np.repeat(np.arange(5), weights)
        found = score.of_sums(weights.astype(float)[None] @ score.sums)[0]
        if name == "cider_d":
            assert found == pytest.approx(score.rows[rows].mean())
        else:
            repeated = TEXT_METRICS[name]([CAPTIONS[row] for row in rows], [REFERENCES[row] for row in rows])
            assert found == pytest.approx(repeated.value)


def test_pooled_ones_are_those_of_sacrebleu() -> None:
    said, right = CAPTIONS[:4], REFERENCES[:4]
    streams = [[one[place] if place < len(one) else None for one in right] for place in range(3)]
    bleu, chrf = TEXT_METRICS["bleu"](said, right), TEXT_METRICS["chrf"](said, right)
    assert bleu.value == pytest.approx(sacrebleu.corpus_bleu(said, streams).score)
    assert chrf.value == pytest.approx(sacrebleu.corpus_chrf(said, streams).score)
    for row in range(4):
        assert bleu.rows[row] == pytest.approx(sacrebleu.sentence_bleu(said[row], right[row]).score)
        assert chrf.rows[row] == pytest.approx(sacrebleu.sentence_chrf(said[row], right[row]).score)
    assert bleu.value != pytest.approx(bleu.rows.mean())
    signs = sacrebleu.sentence_bleu(CAPTIONS[4], REFERENCES[4], tokenize="char").score
    assert TEXT_METRICS["bleu"](CAPTIONS[4:], REFERENCES[4:]).value == pytest.approx(signs)


def test_bleu_of_short_texts() -> None:
    assert TEXT_METRICS["bleu"](["red", "two"], [["red"], ["two"]]).value == pytest.approx(100.0)
    assert TEXT_METRICS["bleu"](["red", "two"], [["red"], ["one"]]).value == pytest.approx(50.0)


def test_bleu_by_hand() -> None:
    """4 of 5 words, 2 of 4 pairs, 1 of 3 triples, 1 of 2 … is not: 0 of 2 fours, smoothed to 1/2 of one."""
    score = TEXT_METRICS["bleu"](["the red circle is here"], [["the red circle was here now"]])
    precisions = [4 / 5, 2 / 4, 1 / 3, 0.5 / 2]
    assert score.value == pytest.approx(100 * math.exp(1 - 6 / 5) * math.prod(precisions) ** 0.25)


def test_rouge_l_by_hand() -> None:
    score = TEXT_METRICS["rouge_l"](["police killed the gunman", "the gunman police killed", "a b"],
                                    [["police kill the gunman"], ["police kill the gunman"], ["a x y", "x a y b z z"]])
    def f(precision: float, recall: float) -> float:
        return 2.44 * precision * recall / (recall + 1.44 * precision)
    assert score.rows == pytest.approx([f(3 / 4, 3 / 4), f(2 / 4, 2 / 4), f(2 / 2, max(1 / 3, 2 / 6))])
    assert score.value == pytest.approx(score.rows.mean())


def _table(a: list[str], b: list[str]) -> int:
    lengths = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            lengths[i + 1][j + 1] = lengths[i][j] + 1 if one == other else max(lengths[i][j + 1], lengths[i + 1][j])
    return lengths[-1][-1]


def test_common_length_is_that_of_the_table() -> None:
    random = np.random.default_rng(0)
    for size in (1, 2, 5, 40, 150):
        for _ in range(20):
            a, b = ([str(word) for word in random.integers(0, 4, random.integers(0, size + 1))] for _ in range(2))
            assert common_length(a, b) == _table(a, b) == common_length(b, a)


def test_cider_d_by_hand() -> None:
    """Two rows: log 2 for what one of them has, 0 for "the", which both have."""
    found = TEXT_METRICS["cider_d"](["the red red cat", "a dog"], [["the red cat"], ["the dog", "a big dog"]])
    # row 0: words v = (red 2, cat 1), v_r = (red 1, cat 1), times log 2; pairs (the red, red red, red cat) and
    # (the red, red cat); triples (the red red, red red cat) and (the red cat); fours, none in the reference.
    one = (1 * 1 + 1 * 1) / (math.sqrt(5) * math.sqrt(2))
    two = (1 + 1) / (math.sqrt(3) * math.sqrt(2))
    first = 10 / 4 * math.exp(-1 / 72) * (one + two + 0 + 0)
    # row 1: words (a, dog) with (dog) and (a, big, dog); pairs (a dog) with (the dog) and (a big, big dog): nothing.
    second = 10 / 4 * ((1 / (math.sqrt(2) * 1)) + math.exp(-1 / 72) * 2 / (math.sqrt(2) * math.sqrt(3))) / 2
    assert found.rows == pytest.approx([first, second]) and found.value == pytest.approx((first + second) / 2)


def test_cider_d_of_short_texts_common_words_and_one_row() -> None:
    short = ["red", "blue sky", "green grass here"]
    assert TEXT_METRICS["cider_d"](short, [[text] for text in short]).rows == pytest.approx([2.5, 5.0, 7.5])
    assert TEXT_METRICS["cider_d"](["the cat", "the cat"], [["the cat"], ["the cat"]]).rows.tolist() == [0.0, 0.0]
    assert math.isnan(TEXT_METRICS["cider_d"](["a cat"], [["a cat"]]).value)
    padded = "a b c d " + "e " * 12
    assert TEXT_METRICS["cider_d"]([padded, "x"], [["a b c d"], ["x"]]).rows[0] < 10 * math.exp(-(12**2) / 72)


def test_words() -> None:
    assert words_of("  Don't  STOP—the “Überfahrt”, x²!") == ["don", "t", "stop", "the", "überfahrt", "x²"]
    assert words_of("हिन्दी में") == ["हिन्दी", "में"] and words_of("e\u0301") == ["é"]
    assert words_of("🟥 red") == ["🟥", "red"]
    assert words_of("赤い丸 red") == ["赤", "い", "丸", "red"] and words_of("") == [] and words_of("?") == ["?"]


def test_exact_match_does_not_see_case_and_blanks() -> None:
    score = TEXT_METRICS["exact_match"]([" A red  circle\n", "red circle", "E\u0301", ""],
                                        [["a Red circle"], ["x", "circle red"], ["é"], [""]])
    assert score.rows.tolist() == [1.0, 0.0, 1.0, 1.0] and score.value == 0.75


def test_all_with_intervals() -> None:
    random = np.random.default_rng(1)
    words = np.array(["a", "the", "red", "blue", "circle", "square", "large", "small", "left", "right", "top"])
    right = [[" ".join(words[random.integers(0, 11, 7)])] for _ in range(60)]
    said = [one[0] if random.random() < 0.5 else " ".join(words[random.integers(0, 11, 7)]) for one in right]
    found = text_metrics(said, right, replicate_weights(60, replicates=200))
    assert list(found) == list(TEXT_METRICS)
    for name, one in found.items():
        assert one.low < one.value < one.high, name
        assert 0.05 * MOST[name] < one.high - one.low < 0.5 * MOST[name], name
        assert one.value == pytest.approx(TEXT_METRICS[name](said, right).value)


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_what_cannot_be_scored_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="found 1 texts and 2 lists"):
        TEXT_METRICS[name](["a"], [["a"], ["b"]])
    with pytest.raises(DataError, match="at least one predicted text"):
        TEXT_METRICS[name]([], [])
    with pytest.raises(DataError, match=r"row 1: expected a list of one reference or more, found \[\]"):
        TEXT_METRICS[name](["a", "b"], [["a"], []])
    with pytest.raises(DataError, match="row 0: expected a list of one reference or more, found 'a red one'"):
        TEXT_METRICS[name](["a"], ["a red one"])
