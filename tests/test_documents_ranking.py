"""Ranking: safe queries, fusion, passages."""

import sqlite3

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sayso.tools.documents.embed import batches, read_vocabulary
from sayso.tools.documents.ranking import best_passage, by_meaning, by_words, fuse, match_expression


@pytest.fixture(scope="module")
def words():
    connection = sqlite3.connect(":memory:")
    connection.execute(
        'CREATE VIRTUAL TABLE words USING fts5(title, heading, body, tokenize = "porter unicode61 remove_diacritics 2")'
    )
    rows = [
        ("handbook", "Returns", "Goods may be returned within thirty days."),
        ("handbook", "Café", "The café opens at nine."),
        ("handbuch", "", " 退  货 请 保 留 收 据 "),
        ("returns", "", "Nothing else is here."),
    ]
    connection.executemany("INSERT INTO words (title, heading, body) VALUES (?, ?, ?)", rows)
    yield connection
    connection.close()


@given(st.text(max_size=80))
@example("\" OR body:x NEAR(a b, 2) * ^ - + {title heading}: AND NOT \x00 ' ; DROP TABLE words")
@example("NOT")
@example("AND OR NOT NEAR")
@example("col : val*")
@example("ﬁ ² Ⅷ ١٢ ໑ _ ＿")
def test_no_text_is_a_command(words, query):
    assert len(by_words(words, query)) <= 4


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_only_words_in_quotes_reach_the_query_language(query):
    for part in filter(None, match_expression(query).split(" OR ")):
        assert part[0] == part[-1] == '"'
        assert '"' not in part[1:-1]


def test_words_are_found_as_people_say_them(words):
    assert by_words(words, "how do I return it") == {4: 1.0, 1: 1.0}  # the title weighs most
    assert by_words(words, "returned within a year") == {1: 2 / 3, 4: 1 / 3}
    assert by_words(words, "cafe opening") == {2: 1 / 2}
    assert by_words(words, "怎么退货") == {3: 1 / 3}
    assert by_words(words, "what is it") == {4: 1.0}  # no telling word: then any
    assert by_words(words, "parking") == {}
    assert by_words(words, "?!") == {}


def test_fusion_adds_what_ranks_are_worth():
    assert fuse({1: 1.0, 2: 1.0, 3: 1.0}, [3, 1]) == {1: 1 / 61 + 1 / 62, 3: 1 / 63 + 1 / 61, 2: 1 / 62}
    assert list(fuse({1: 1.0, 2: 1.0, 3: 1.0}, [3, 1])) == [1, 3, 2]
    assert list(fuse({1: 0.25}, [3])) == [3, 1]  # a chance word does not outweigh the meaning
    assert fuse({}, []) == {}


def test_the_nearest_are_found_and_the_unrelated_left_out():
    vectors = np.eye(4, dtype=np.float32)
    query = np.array([0.2, 0.9, 0.3, 0.1], np.float32)
    found = by_meaning(np.array([10, 20, 30, 40]), vectors, query, 3)
    assert list(found) == [20, 30]
    assert found[20] == pytest.approx(0.9)


def test_a_passage_is_the_sentences_with_the_words_asked_for():
    text = "We open at nine. The shop is large. Returned goods need a receipt. Parking is free. We close at six."
    assert best_passage(text, "do I need a receipt to return goods", 7) == "Returned goods need a receipt."
    assert best_passage(text, "nothing of this", 8) == "We open at nine. The shop is large."
    assert best_passage("word " * 50, "x", 5) == "word word word word word …"
    assert best_passage("第一句话。退货需要收据。", "退货", 7) == "退货需要收据。"


def test_batches_hold_texts_of_like_length():
    lengths = [3, 100, 5, 90, 4]
    groups = batches(lengths, most_tokens=200)
    assert groups == [[1, 3], [2, 4, 0]]
    assert sorted(index for group in groups for index in group) == [0, 1, 2, 3, 4]
    assert batches([], 10) == []
    assert batches([500], 10) == [[0]]


def test_the_vocabulary_is_turned_into_berts_form(tmp_path):
    (tmp_path / "vocab.json").write_text('["[PAD]", "▁", "▁the", "ing", "▁[", "[UNK]"]', encoding="utf-8")
    expected = ["[PAD]", "[unused0]", "the", "##ing", "[", "[UNK]"]
    assert list(read_vocabulary(tmp_path)) == expected
    (tmp_path / "vocab.txt").write_text("[PAD]\nof\n", encoding="utf-8")
    assert read_vocabulary(tmp_path) == {"[PAD]": 0, "of": 1}


@pytest.mark.models
def test_the_vocabulary_that_is_fetched_is_berts(model_path):
    import hashlib

    pieces = read_vocabulary(model_path("minilm"))
    digest = hashlib.sha256("".join(f"{piece}\n" for piece in pieces).encode()).hexdigest()
    # vocab.txt of google-research/bert, uncased
    assert digest == "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"


@pytest.mark.models
def test_minilm_knows_what_is_related(model_path):
    from sayso.tools.documents.embed import MiniLM

    model_path("minilm")
    texts = ["How do I return a purchase?", "Items may be sent back for a refund.", "The moon orbits the earth.", ""]
    vectors = MiniLM().embed(texts)
    assert vectors.shape == (4, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
    # the first two as the sentence-transformers package rates them: 0.55 (its float model)
    assert 0.4 < vectors[0] @ vectors[1] < 0.7
    assert abs(vectors[0] @ vectors[2]) < 0.15
    alone = MiniLM().embed(texts[:1])
    assert alone[0] @ vectors[0] > 0.999  # padding changes nothing
