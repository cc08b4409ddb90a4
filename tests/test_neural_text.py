"""The LSTM as an estimator: texts, numbers, and what is refused."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import learning_curve
from sklearn.utils.estimator_checks import check_estimator

import jaxfound as jf
from jaxfound.data.text import pad_sequences

MODEL = jf.LSTMClassifier(
    *(40, 8, 4, (6,), 5), epochs=20, batch_size=16, learning_rate=3e-2, random_state=0
)


def opinions(n=96, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 2)
    filler = rng.choice(["film", "plot", "actor", "music", "scene"], (n, 4))
    words = [[*row, ("awful", "lovely")[label]] for row, label in zip(filler, y, strict=True)]
    return [" ".join(rng.permutation(row)) for row in words], np.array(["bad", "good"])[y]


X, Y = opinions()


@pytest.fixture(scope="module")
def fitted():
    return clone(MODEL).fit(X, Y)


def test_it_learns_from_texts(fitted):
    x, y = opinions(40, seed=1)
    assert fitted.score(x, y) > 0.9
    np.testing.assert_allclose(fitted.predict_proba(x).sum(1), 1, rtol=1e-6)
    assert len(fitted.history_["loss"]) == 20


def test_rows_of_numbers_are_the_same(fitted):
    rows = pad_sequences(fitted.tokenizer_.texts_to_sequences(X), 8, padding="post")
    same = clone(MODEL).fit(rows, Y)
    np.testing.assert_array_equal(same.predict_proba(rows), fitted.predict_proba(X))
    with pytest.raises(ValueError, match="as in fit"):
        same.predict(X)


def test_partial_fit_goes_on():
    model = clone(MODEL)
    for _ in range(20):
        model.partial_fit(X, Y, classes=["bad", "good"])
    assert model.score(X, Y) > 0.9


def test_learning_curves():
    model = clone(MODEL).set_params(epochs=1)
    _, _, scores = learning_curve(model, X, Y, cv=2, train_sizes=[0.5, 1.0])[:3]
    assert np.isfinite(scores).all()


def test_scikit_learn_checks_that_apply_to_texts():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the others need tables: the tags say so
        check_estimator(MODEL)


@pytest.mark.parametrize(
    ("x", "error", "says"),
    [
        (["good", None], TypeError, "text 1 of X is None"),
        ([1.0, 2.0], TypeError, "expected a string"),
        (["", "..."], ValueError, "vocabulary is empty"),
        ("good", TypeError, "one string"),
        (np.ones((2, 9), int), ValueError, "max_length = 8"),
        (np.full((2, 3), 40), ValueError, "below num_words"),
        (np.ones((2, 3)), ValueError, "integers"),
    ],
)
def test_what_is_refused(x, error, says):
    model = clone(MODEL)
    with pytest.raises(error, match=says):
        model.fit(x, ["a", "b"])
    assert not hasattr(model, "tokenizer_")
