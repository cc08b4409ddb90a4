"""The face of `hypergrad`: a search like scikit-learn's that follows the gradient."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

import jaxfound as jf
from jaxfound.model_selection import GradientSearchCV

SCALED = make_pipeline(jf.StandardScaler(), jf.LogisticRegression(tol=1e-8))


@pytest.fixture(scope="module")
def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return x[:200], (y[:200] - 150) / 80


@pytest.fixture(scope="module")
def cancer():
    x, y = load_breast_cancer(return_X_y=True)
    return x[:200], np.array(["benign", "malignant"])[y[:200]]


def test_one_penalty_is_the_best_of_a_fine_grid(diabetes):
    ours = GradientSearchCV(jf.Ridge(), ["alpha"]).fit(*diabetes)
    grid = GridSearchCV(jf.Ridge(), {"alpha": np.logspace(-3, 1, 60)}).fit(*diabetes)
    assert ours.best_score_ >= grid.best_score_ - 1e-9
    np.testing.assert_allclose(
        np.log(ours.best_params_["alpha"]), np.log(grid.best_params_["alpha"]), atol=0.2
    )
    mean = cross_val_score(jf.Ridge(**ours.best_params_), *diabetes).mean()
    np.testing.assert_allclose(ours.best_score_, mean, rtol=1e-9)
    assert ours.trajectory_.shape == (101,)
    assert ours.trajectory_.max() == ours.best_score_


def test_a_pipeline_of_classes_with_names_predicts_and_scores(cancer):
    search = GradientSearchCV(SCALED, ["logisticregression__C"], n_steps=10, cv=3).fit(*cancer)
    assert search.best_score_ > search.trajectory_[0]
    alone = clone(SCALED).set_params(**search.best_params_).fit(*cancer)
    np.testing.assert_array_equal(search.predict(cancer[0]), alone.predict(cancer[0]))
    np.testing.assert_array_equal(search.predict_proba(cancer[0]), alone.predict_proba(cancer[0]))
    assert list(search.classes_) == ["benign", "malignant"]
    assert search.n_features_in_ == 30
    assert -1 < search.score(*cancer) < 0  # the log loss, which it climbs


def test_two_settings_at_once(diabetes):
    search = GradientSearchCV(
        jf.SVR(C=1.0, gamma=1.0, tol=1e-8), ["C", "gamma"], n_steps=20, refit=False
    )
    search.fit(*diabetes)
    assert set(search.best_params_) == {"C", "gamma"}
    assert search.best_score_ > search.trajectory_[0] + 0.01
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        search.predict(diabetes[0])


def test_it_clones_and_weights_of_zero_are_deleted_rows(diabetes):
    x, y = diabetes
    split = [(np.arange(100), np.arange(100, 150))]
    search = GradientSearchCV(jf.Ridge(0.1), ["alpha"], n_steps=3, cv=split)
    weight = np.where(np.arange(200) < 50, 0.0, 1.0)
    masked = clone(search).fit(x, y, sample_weight=weight)
    cut = clone(search).set_params(cv=[(np.arange(50), np.arange(50, 100))]).fit(x[50:], y[50:])
    np.testing.assert_allclose(masked.trajectory_, cut.trajectory_, rtol=1e-9)


@pytest.mark.parametrize(
    ("model", "names", "options", "message"),
    [
        (jf.SVR(), ["gamma"], {}, r"gamma of the estimator is 'scale' \(str\), expected a number"),
        (jf.Ridge(0.0), ["alpha"], {}, "alpha of the estimator is 0.0, expected a number greater"),
        (jf.Ridge(), ["penalty"], {}, "penalty of the estimator is None"),
        (jf.Ridge(max_iter=5), ["max_iter"], {}, "max_iter is no number with a gradient"),
        (jf.Ridge(), ["alpha"], {"scoring": "f1"}, "scoring is 'f1'"),
        (jf.Ridge(), ["alpha"], {"n_steps": 0}, "n_steps is 0"),
        (jf.Ridge(), [], {}, "names is"),
    ],
)
def test_what_cannot_be_climbed_is_a_sentence(diabetes, model, names, options, message):
    search = GradientSearchCV(model, names, **options)
    with pytest.raises((TypeError, ValueError), match=message):
        search.fit(*diabetes)
    with pytest.raises(NotFittedError):
        search.predict(diabetes[0])


def test_a_score_without_a_slope_is_refused(cancer):
    with pytest.raises(ValueError, match="expected a score with a slope"):
        GradientSearchCV(SCALED, ["logisticregression__C"], scoring="accuracy").fit(*cancer)
