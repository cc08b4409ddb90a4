"""Texts as integers, beside Keras's own tokenizer, and the sets of reviews."""

import json
import random

import numpy as np
import pytest
from keras_on_jax import keras

from jaxfound.data import reviews
from jaxfound.data.text import Tokenizer, pad_sequences

LEGACY = keras.src.legacy.preprocessing.text
ALPHABETS = (
    "aAbBeEiItT",
    "aB,.!-'\t\n \r",
    "ßẞΣσςİıéÉ語中 🙂\u00a0\u2028",
)


def texts_of(seed, count, longest=12):
    """Texts of few different words, so that there are ties; empty ones among them."""
    draw = random.Random(seed)
    words = ["".join(draw.choices(a, k=draw.randint(0, 3))) for a in ALPHABETS for _ in range(15)]
    return [
        draw.choice(" \n,").join(draw.choices(words, k=draw.randint(0, longest)))
        for _ in range(count)
    ]


SETTINGS = (
    {},
    {"num_words": 20},
    {"num_words": 20, "oov_token": "<OOV>"},
    {"oov_token": "a"},  # a word of the texts
    {"num_words": 1, "oov_token": "<OOV>"},
    {"lower": False, "filters": "aé,"},
    {"split": ","},
    {"split": ", ", "filters": ",.!"},
    {"split": "é"},
    {"filters": ""},
    {"char_level": True, "oov_token": "?"},
    {"char_level": True, "lower": False, "num_words": 7},
)
each_setting = pytest.mark.parametrize("settings", SETTINGS, ids=str)


@pytest.fixture(params=range(3))
def pair(request, settings):
    """Ours and Keras's tokenizer, fitted twice on the same, and texts with unseen words."""
    ours, theirs = Tokenizer(**settings), LEGACY.Tokenizer(**settings)
    for part in (texts_of(request.param, 150), texts_of(request.param + 50, 60)):
        ours.fit_on_texts(part)
        theirs.fit_on_texts(part)
    return ours, theirs, ["", *texts_of(request.param, 60), *texts_of(request.param + 100, 150)]


# --- the tokenizer ----------------------------------------------------------------------------


@each_setting
def test_the_vocabulary_is_that_of_keras(pair):
    ours, theirs, _ = pair
    assert list(ours.word_counts.items()) == list(theirs.word_counts.items())
    assert ours.word_docs == theirs.word_docs
    assert list(ours.word_index.items()) == list(theirs.word_index.items())
    assert ours.index_word == theirs.index_word
    assert ours.index_docs == theirs.index_docs
    assert ours.document_count == theirs.document_count


@each_setting
def test_sequences_are_those_of_keras(pair):
    ours, theirs, texts = pair
    sequences = theirs.texts_to_sequences(texts)
    assert ours.texts_to_sequences(texts) == sequences
    beyond = [*sequences, [0, 1, 10**6], []]
    assert ours.sequences_to_texts(beyond) == theirs.sequences_to_texts(beyond)


@each_setting
@pytest.mark.parametrize("mode", ["binary", "count", "tfidf", "freq"])
def test_matrices_are_those_of_keras(pair, mode):
    ours, theirs, texts = pair
    np.testing.assert_allclose(
        ours.texts_to_matrix(texts, mode), theirs.texts_to_matrix(texts, mode), rtol=1e-15
    )


def test_lists_of_tokens_are_taken_as_they_are():
    tokens = [["New York", "a", ""], ["A", "b, c"], []]
    ours, theirs = Tokenizer(), LEGACY.Tokenizer()
    ours.fit_on_texts(tokens)
    theirs.fit_on_texts(tokens)
    assert ours.word_index == theirs.word_index
    assert ours.texts_to_sequences(tokens) == theirs.texts_to_sequences(tokens)


@each_setting
def test_files_go_both_ways(pair, tmp_path):
    ours, theirs, texts = pair
    ours.save(tmp_path / "ours.json")
    (tmp_path / "theirs.json").write_text(theirs.to_json(), encoding="utf-8")
    text = (tmp_path / "ours.json").read_text("utf-8")
    assert json.loads(text)["class_name"] == "Tokenizer"
    sequences = ours.texts_to_sequences(texts)
    assert LEGACY.tokenizer_from_json(text).texts_to_sequences(texts) == sequences
    for name in ("ours.json", "theirs.json"):
        loaded = Tokenizer.load(tmp_path / name)
        assert loaded.texts_to_sequences(texts) == sequences
        assert loaded.index_docs == ours.index_docs
        loaded.fit_on_texts(["one more"])
        assert loaded.document_count == ours.document_count + 1


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["good", None], r"text 1 is None \(NoneType\), expected a string"),
        (["good", 3.5], r"text 1 is 3.5 \(float\), expected a string"),
        ([["good", None]], r"text 0 is \['good', None\] \(list\), expected a string"),
        ("one text", r"texts is one string, expected a list of them: pass \[text\]"),
    ],
)
def test_what_is_no_text_is_named_and_nothing_is_counted(texts, said):
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(["before"])
    for method in (
        tokenizer.fit_on_texts,
        tokenizer.texts_to_sequences,
        tokenizer.texts_to_matrix,
    ):
        with pytest.raises(TypeError, match=said):
            method(texts)
    assert tokenizer.word_counts == {"before": 1}
    assert tokenizer.document_count == 1


def test_an_empty_vocabulary_is_a_sentence():
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(["", " ,. "])
    for use in (tokenizer.texts_to_sequences, tokenizer.texts_to_matrix):
        with pytest.raises(ValueError, match=r"vocabulary is empty.*call fit_on_texts"):
            use(["a"])
    with pytest.raises(ValueError, match="vocabulary is empty"):
        Tokenizer().sequences_to_texts([[1]])


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"num_words": 0}, ValueError, "num_words is 0, expected"),
        ({"num_words": 2.5}, TypeError, "num_words is 2.5"),
        ({"split": ""}, ValueError, "split is ''"),
        ({"filters": None}, TypeError, "filters is None"),
        ({"lower": "yes"}, TypeError, "lower is 'yes'"),
        ({"oov_token": 1}, TypeError, "oov_token is 1"),
    ],
)
def test_bad_settings_are_named(settings, error, said):
    with pytest.raises(error, match=said):
        Tokenizer(**settings)


def test_other_modes_and_files_are_refused(tmp_path):
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(["a"])
    with pytest.raises(ValueError, match="mode is 'tf', expected one of"):
        tokenizer.texts_to_matrix(["a"], "tf")
    for text in ("", "{}", "[1]", "not JSON"):
        (tmp_path / "file").write_text(text)
        with pytest.raises(ValueError, match="holds no tokenizer"):
            Tokenizer.load(tmp_path / "file")


# --- padding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncating", ["pre", "post"])
@pytest.mark.parametrize("maxlen", [None, 1, 4, 30])
@pytest.mark.parametrize(("dtype", "value"), [("int32", 0), ("int64", -1), ("float32", 0.5)])
def test_padding_is_that_of_keras(padding, truncating, maxlen, dtype, value):
    draw = random.Random(0)
    rows = [[draw.randint(1, 99) for _ in range(draw.randint(0, 9))] for _ in range(200)]
    options = {"maxlen": maxlen, "dtype": dtype, "value": value}
    sides = {"padding": padding, "truncating": truncating}
    for sequences in (rows, [np.array(row) for row in rows]):
        ours = pad_sequences(sequences, **options, **sides)
        theirs = keras.utils.pad_sequences(sequences, **options, **sides)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_nothing_to_pad():
    assert pad_sequences([]).shape == (0, 0)
    assert pad_sequences([], maxlen=3).shape == (0, 3)
    np.testing.assert_array_equal(pad_sequences([[], []], 2), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("sequences", "options", "error", "said"),
    [
        ([[1], None], {}, TypeError, "sequence 1 is None"),
        (["text"], {}, TypeError, "sequence 0 is 'text'.*texts_to_sequences"),
        ([[1.0, np.nan]], {}, ValueError, "holds something that int32 cannot.*NaN"),
        ([[1, None]], {}, ValueError, "holds something that int32 cannot"),
        ([[2**40]], {}, ValueError, "holds something that int32 cannot"),
        ([[[1], [2, 3]]], {}, ValueError, "holds something that int32 cannot"),
        ([[1]], {"maxlen": 0}, ValueError, "maxlen is 0"),
        ([[1]], {"padding": "left"}, ValueError, "padding is 'left'"),
        ([[1]], {"truncating": "left"}, ValueError, "truncating is 'left'"),
    ],
)
def test_what_cannot_be_padded_is_a_sentence(sequences, options, error, said):
    with pytest.raises(error, match=said):
        pad_sequences(sequences, **options)


# --- reviews ----------------------------------------------------------------------------------


def test_the_sentences_of_the_package():
    texts, labels = reviews.movie_sentences()
    assert len(texts) == len(labels) == 10_072
    assert texts[0].startswith("The Rock is destined to be the 21st Century's new")
    assert set(labels) == {0, 1}
    assert abs(labels.mean() - 0.5) < 0.05
    assert len(reviews.movie_sentences(0).texts) == 10_605
    assert all(map(str.strip, texts))
    with pytest.raises(ValueError, match="least is -1"):
        reviews.movie_sentences(-1)


def test_imdb_is_read_from_its_folder(tmp_path, monkeypatch):
    for part, name, text in (
        ("train", "pos", "Good.<br />Très."),
        ("train", "neg", "Bad."),
        ("test", "pos", "Fine."),
    ):
        folder = tmp_path / "aclImdb" / part / name
        folder.mkdir(parents=True)
        (folder / "0_9.txt").write_text(text, encoding="utf-8")
    texts, labels = reviews.imdb(tmp_path / "aclImdb")
    assert texts == ["Bad.", "Good. Très."]
    assert list(labels) == [0, 1]
    monkeypatch.setenv("JAXFOUND_DATA", str(tmp_path))
    assert reviews.imdb().texts == texts
    with pytest.raises(FileNotFoundError, match=r"test/neg.*aclImdb_v1.tar.gz.*JAXFOUND_DATA"):
        reviews.imdb(part="test")


def test_reviews_are_read_from_a_csv(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text('text,label\n"Good, really.<br />",1\nBad.,0\n', encoding="utf-8")
    texts, labels = reviews.read_csv(path)
    assert texts == ["Good, really. ", "Bad."]
    assert labels.tolist() == [1, 0]
    path.write_text("body,mood\nGood,pos\nBad,\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"columns \['body', 'mood'\], expected one named 'text'"):
        reviews.read_csv(path)
    with pytest.raises(ValueError, match=r"row 3 of .* has no 'mood'"):
        reviews.read_csv(path, "body", "mood")
    path.write_text("body,mood\nGood,pos\n", encoding="utf-8")
    assert reviews.read_csv(path, "body", "mood").labels.tolist() == ["pos"]
