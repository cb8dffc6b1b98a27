"""Words: any text comes back exactly, the vocabulary is small where the data are."""

from __future__ import annotations

import pytest
import torch

from sensorium.data.kinds.text import BOS, EOS, MASK, PAD
from sensorium.errors import DataError, ModelFolderError
from sensorium.generation.words import Words, hide_words

CAPTIONS = [f"a {size} {colour} {shape} in the {place} corner" for size in ("small", "large")
            for colour in ("red", "blue", "green") for shape in ("circle", "square") for place in ("upper left", "top")]
TEXTS = ["a small red circle", "A Small RED circle!", "ein größeres Quadrat – ja", "左上に赤い丸があります。",
         "हिन्दी में लिखा", "مربع أحمر صغير", "🟥👩‍🚀🇨🇭 e\u0301 é", "tab\tand\nlines  and   blanks",
         " leads and trails ", "[EOS] [PAD] <s>", "", "�",
         "x" * 90]


def test_any_text_comes_back_exactly() -> None:
    words = Words.learned(CAPTIONS, max_tokens=120)
    ids, mask = words.encode(TEXTS)
    assert words.decode(ids) == TEXTS
    assert ids.dtype == torch.int64 and bool((mask == (ids != PAD)).all())
    assert bool((ids[:, 0] == BOS).all()) and bool(((ids == EOS).sum(dim=1) == 1).all())
    lengths = mask.sum(dim=1)
    assert bool((ids.gather(1, lengths[:, None] - 1) == EOS).all())
    assert bool((mask == (torch.arange(ids.shape[1]) < lengths[:, None])).all())
    assert bool((ids < words.num_words).all()) and not bool((ids == MASK).any())


def test_padding_and_what_follows_the_end_say_nothing() -> None:
    words = Words.learned(CAPTIONS, max_tokens=30)
    ids, _ = words.encode(["a small red circle"])
    more = torch.cat([ids, torch.tensor([[PAD, 70, EOS, 71]])], dim=1)
    assert words.decode(more) == words.decode(ids[:, 1:]) == words.decode(ids[:, :-1]) == ["a small red circle"]
    assert words.decode(torch.tensor([[BOS, EOS], [BOS, MASK]])) == ["", ""]
    assert words.decode(words.encode(["é"])[0][:, :3]) == ["�"]


def test_a_long_text_is_cut_and_does_not_end() -> None:
    words = Words.learned(CAPTIONS, max_tokens=5)
    ids, mask = words.encode(["a small red circle in the top corner", "a small"])
    assert ids.shape == (2, 5) and bool(mask[0].all()) and not bool((ids[0] == EOS).any())
    assert words.decode(ids) == ["a small red circle", "a small"]
    assert words.encode(["a small " * 100_000])[0].shape == (1, 5)


def test_length_is_that_of_the_training_texts() -> None:
    words = Words.learned(CAPTIONS)
    ids, _ = words.encode(CAPTIONS)
    assert words.decode(ids) == CAPTIONS
    assert words.max_tokens == ids.shape[1] + 1
    one_long = Words.learned(CAPTIONS * 20 + ["a small red circle " * 100])
    assert one_long.max_tokens == words.max_tokens
    assert Words.learned(["a b c " * 500]).max_tokens == 256


def test_vocabulary_follows_the_data() -> None:
    few = Words.learned(CAPTIONS)
    assert 260 < few.num_words <= 360
    assert len(few.encode(["a small red circle in the top corner"])[0][0]) == 8 + 2
    rare = [f"{7919 * row} {7907 * row}" for row in range(500)]
    assert Words.learned(rare * 2).num_words == 400 and Words.learned(rare).num_words == 360
    many = [" ".join(f"w{(7 * row + 11 * word) % 3000}" for word in range(20)) for row in range(1000)]
    assert 2000 < Words.learned(many).num_words <= 4000
    assert Words.learned(many, vocabulary=500).num_words == 500


def test_words_are_kept_as_json() -> None:
    words = Words.learned(CAPTIONS)
    again = Words.from_json(words.to_json())
    assert again == words and torch.equal(again.encode(TEXTS)[0], words.encode(TEXTS)[0])
    for wrong in ("", "[]", "{}", '{"max_tokens": 9, "tokenizer": "{}"}', '{"max_tokens": 9, "tokenizer": 3}'):
        with pytest.raises(ModelFolderError, match="not words to write with"):
            Words.from_json(wrong)


def test_no_texts_is_an_error() -> None:
    with pytest.raises(DataError, match="no texts to learn words from"):
        Words.learned([])


def test_hidden_words_are_a_share_and_never_the_marks() -> None:
    ids = torch.tensor([[BOS, 10, 11, 12, EOS, PAD]])
    uniform = torch.tensor([[0.0, 0.05, 0.3, 0.2, 0.0, 0.0]])
    assert hide_words(ids, uniform, 0.2).tolist() == [[BOS, MASK, 11, 12, EOS, PAD]]
    assert torch.equal(hide_words(ids, uniform, 0.0), ids)
    assert hide_words(ids, uniform, 1.0).tolist() == [[BOS, MASK, MASK, MASK, EOS, PAD]]
