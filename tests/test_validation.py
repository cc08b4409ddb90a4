"""scikit-learn's model selection in one program: the same arguments, the same results."""

import inspect

import jax
import numpy as np
import pytest
from sklearn import linear_model
from sklearn import model_selection as reference
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline

import jaxfound as jf
from jaxfound import metrics, model_selection
from jaxfound.model_selection import lanes

SCALED = make_pipeline(jf.StandardScaler(), jf.LogisticRegression())
CHAIN = make_pipeline(jf.StandardScaler(), jf.PCA(3), jf.LogisticRegression())
GRID = {"logisticregression__C": [0.01, 0.1, 1.0]}


@pytest.fixture(scope="module")
def cancer():
    x, y = load_breast_cancer(return_X_y=True)
    return x[:200], np.array(["benign", "malignant"])[y[:200]]


CLASSIFIERS = [
    SCALED,
    CHAIN,
    make_pipeline(jf.StandardScaler(), jf.SVC(gamma="auto")),
    make_pipeline(make_pipeline(jf.StandardScaler(), jf.PCA(3)), jf.SVC(gamma="auto")),
    make_pipeline(jf.StandardScaler(), jf.LinearSVC()),
    make_pipeline(jf.StandardScaler(), jf.LogisticRegression(solver="liblinear")),
    make_pipeline(jf.StandardScaler(), jf.SVC(class_weight="balanced")),
    make_pipeline(jf.StandardScaler(), jf.SVC(class_weight={"benign": 2.0, "malignant": 1.0})),
]
REGRESSORS = [
    jf.Ridge(0.1),
    jf.LinearRegression(),
    jf.SVR(C=100.0),
    jf.GradientDescentRegressor(0.1, 50),
    make_pipeline(jf.StandardScaler(), jf.PCA(3), jf.Ridge()),
]


def short(model):
    return "-".join(name for name, _ in model.steps) if hasattr(model, "steps") else repr(model)


@pytest.mark.parametrize("model", CLASSIFIERS, ids=short)
def test_scores_of_classifiers_are_those_of_a_loop(model, cancer):
    ours = model_selection.cross_val_score(model, *cancer)
    np.testing.assert_allclose(ours, reference.cross_val_score(model, *cancer), rtol=1e-12)


@pytest.mark.parametrize("model", REGRESSORS, ids=short)
def test_scores_of_regressors_are_those_of_a_loop(model):
    data = load_diabetes(return_X_y=True)
    ours = model_selection.cross_val_score(model, *data)
    np.testing.assert_allclose(ours, reference.cross_val_score(model, *data), rtol=1e-5)


def test_more_than_two_classes():
    x, y = load_iris(return_X_y=True)
    for model in (jf.SVC(), jf.LogisticRegression()):
        ours = model_selection.cross_val_score(model, x, y)
        np.testing.assert_allclose(ours, reference.cross_val_score(model, x, y), rtol=1e-12)


def test_cross_validate_returns_what_scikit_learn_does(cancer):
    options = {
        "scoring": ["accuracy", "neg_log_loss", "roc_auc"],
        "return_train_score": True,
        "return_indices": True,
        "return_estimator": True,
    }
    ours = model_selection.cross_validate(SCALED, *cancer, **options)
    theirs = reference.cross_validate(SCALED, cancer[0], cancer[1] == "malignant", **options)
    assert set(ours) == set(theirs)
    for name in ours:
        if "test_" in name or "train_" in name:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9)
    np.testing.assert_array_equal(ours["indices"]["test"][0], theirs["indices"]["test"][0])
    assert len(ours["estimator"]) == 5


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
def test_predictions_of_rows_held_out(cancer, method):
    ours = model_selection.cross_val_predict(SCALED, *cancer, method=method)
    theirs = reference.cross_val_predict(SCALED, *cancer, method=method)
    if method == "predict":
        np.testing.assert_array_equal(ours, theirs)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-14)


def test_curves_are_those_of_scikit_learn(cancer):
    sizes = {"train_sizes": [0.3, 1.0], "shuffle": True, "random_state": 1}
    ours = model_selection.learning_curve(SCALED, *cancer, **sizes)
    for mine, other in zip(ours, reference.learning_curve(SCALED, *cancer, **sizes), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12)
    values = {"param_name": "logisticregression__C", "param_range": [0.1, 1.0]}
    ours = model_selection.validation_curve(SCALED, *cancer, **values)
    for mine, other in zip(
        ours, reference.validation_curve(SCALED, *cancer, **values), strict=True
    ):
        np.testing.assert_allclose(mine, other, rtol=1e-12)


def test_permuted_targets_are_those_of_scikit_learn(cancer):
    options = {"n_permutations": 3, "random_state": 0}
    ours = model_selection.permutation_test_score(SCALED, *cancer, **options)
    theirs = reference.permutation_test_score(SCALED, *cancer, **options)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12)


SEARCHES = {
    "grid": lambda room: room.GridSearchCV(SCALED, GRID, return_train_score=True),
    "several scores": lambda room: room.GridSearchCV(
        SCALED, GRID, scoring=["accuracy", "neg_log_loss"], refit="neg_log_loss"
    ),
    "random": lambda room: room.RandomizedSearchCV(SCALED, GRID, n_iter=2, random_state=0),
    "halving": lambda room: room.HalvingGridSearchCV(SCALED, GRID, random_state=0),
    "settings": lambda room: room.GridSearchCV(
        CHAIN, {"pca__n_components": [2, 4], "logisticregression__fit_intercept": [True, False]}
    ),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_are_those_of_scikit_learn(name, cancer):
    ours, theirs = (SEARCHES[name](room).fit(*cancer) for room in (model_selection, reference))
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_allclose(ours.best_score_, theirs.best_score_, rtol=1e-9)
    assert list(ours.predict(cancer[0])) == list(theirs.predict(cancer[0]))
    assert set(ours.cv_results_) == set(theirs.cv_results_)
    for key, values in theirs.cv_results_.items():
        if "time" in key or key == "params":
            continue
        if values.dtype == object:  # a masked array of settings
            assert list(ours.cv_results_[key]) == list(values)
        else:
            np.testing.assert_allclose(ours.cv_results_[key], values, rtol=1e-9, err_msg=key)


def test_a_search_compiles_once_whatever_its_size(cancer):
    model_selection.GridSearchCV(jf.LogisticRegression(), {"C": [0.1, 1.0]}).fit(*cancer)
    before = lanes.evaluate._cache_size()
    for grid, cv in (([0.1, 1.0, 3.0, 5.0], 5), ([0.5, 2.0], 10)):
        model_selection.GridSearchCV(jf.LogisticRegression(), {"C": grid}, cv=cv).fit(*cancer)
    assert lanes.evaluate._cache_size() <= before + 2  # another number of folds or candidates


def test_a_search_goes_on_from_its_journal(cancer, tmp_path):
    path = tmp_path / "search.jsonl"
    first = model_selection.GridSearchCV(SCALED, GRID).fit(*cancer, journal=path)
    size = path.stat().st_size
    again = model_selection.GridSearchCV(SCALED, GRID).fit(*cancer, journal=path)
    assert path.stat().st_size == size
    mean = "mean_test_score"
    np.testing.assert_array_equal(first.cv_results_[mean], again.cv_results_[mean])


def test_any_jittable_metric_is_a_scoring(cancer):
    @jax.jit
    def error(y, predicted, weight):
        return -1.0 + metrics.accuracy(y, predicted, weight)

    ours = model_selection.cross_val_score(SCALED, *cancer, scoring=error)
    plain = model_selection.cross_val_score(SCALED, *cancer)
    np.testing.assert_allclose(ours, plain - 1, rtol=1e-12)


def test_weights_are_those_of_the_fits(cancer):
    weight = np.random.default_rng(0).uniform(0.5, 2, 200)
    ours = model_selection.cross_val_score(
        jf.LogisticRegression(C=0.1), *cancer, params={"sample_weight": weight}
    )
    theirs = reference.cross_val_score(
        jf.LogisticRegression(C=0.1), *cancer, params={"sample_weight": weight}
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda x, y: model_selection.cross_val_score(linear_model.RidgeClassifier(), x, y),
            TypeError,
            "sklearn.model_selection, whose functions",
        ),
        (
            lambda x, y: model_selection.cross_val_score(SCALED, x, y, scoring="f1"),
            ValueError,
            "scoring is 'f1', expected one of 'accuracy'",
        ),
        (
            lambda x, y: model_selection.cross_validate(SCALED, x, y, scoring=["r2", "r2"]),
            ValueError,
            "must be unique strings",
        ),
        (
            lambda x, y: model_selection.learning_curve(
                SCALED, x, y, exploit_incremental_learning=True
            ),
            ValueError,
            "exploit_incremental_learning is True, expected False",
        ),
        (
            lambda x, y: model_selection.cross_val_score(jf.SVC(), x, y, scoring="neg_log_loss"),
            ValueError,
            "reads predict_proba of the model, which jaxfound.models.svm does not have",
        ),
        (
            lambda x, y: model_selection.cross_val_score(jf.SVC(kernel="precomputed"), x, y),
            ValueError,
            "kernel is 'precomputed', expected a named one",
        ),
        (
            lambda x, y: model_selection.cross_val_score(
                make_pipeline(jf.PCA(0.9), jf.LogisticRegression()), x, y
            ),
            ValueError,
            "n_components of PCA is 0.9",
        ),
        (
            lambda x, y: model_selection.cross_validate(SCALED, x, y, params={"when": 1}),
            ValueError,
            r"params has \['when'\]",
        ),
        (
            lambda x, y: model_selection.cross_validate(SCALED, x, y, memory="1B"),
            ValueError,
            "expected at least",
        ),
        (
            lambda x, y: model_selection.cross_val_predict(
                SCALED, x, y, cv=reference.ShuffleSplit(2)
            ),
            ValueError,
            "only works for partitions",
        ),
    ],
)
def test_what_cannot_be_done_is_a_sentence(cancer, call, error, message):
    with pytest.raises(error, match=message):
        call(*cancer)


FUNCTIONS = (
    "cross_val_predict",
    "cross_val_score",
    "cross_validate",
    "learning_curve",
    "permutation_test_score",
    "validation_curve",
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_of_scikit_learn_is_accepted(name, cancer):
    extra = {
        "learning_curve": {"train_sizes": [0.5, 1.0]},  # the first rows are of one class
        "validation_curve": {"param_name": "C", "param_range": [1.0]},
    }.get(name, {})
    needed = {"X": cancer[0], "y": cancer[1], "estimator": jf.LogisticRegression(C=0.1)}
    known = inspect.signature(getattr(reference, name)).parameters
    given = {key: p.default for key, p in known.items() if p.default is not p.empty}
    ours = getattr(model_selection, name)
    full, plain = ours(**(given | needed | extra)), ours(**needed, **extra)
    if name == "cross_validate":
        full, plain = full["test_score"], plain["test_score"]
    for one, other in zip(full, plain, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(TypeError, match="unexpected keyword argument 'jobs'"):
        ours(**needed, **extra, jobs=1)


def test_fits_that_do_not_converge_are_counted(cancer):
    model = jf.LogisticRegression(max_iter=1, solver="newton-cg")
    with pytest.warns(ConvergenceWarning, match="5 of 5 fits did not converge"):
        model_selection.cross_val_score(model, *cancer)
