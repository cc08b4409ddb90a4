"""Trees and forests as estimators: what reads scikit-learn's trees, and the settings of forests."""

import pickle

import jax
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn import ensemble, tree
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

import jaxfound as jf
from jaxfound.estimators import _growth
from jaxfound.model_selection import cross_val_score


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True)


@pytest.fixture(scope="module")
def forest(iris):
    return jf.RandomForestClassifier(n_estimators=20, oob_score=True, random_state=0).fit(*iris)


# --- one tree ---------------------------------------------------------------------------------


def test_scikit_learn_reads_the_tree(iris):
    X, y = iris
    ours = jf.DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, y)
    text = tree.export_text(ours, feature_names=list("abcd"))
    assert text.count("class:") == ours.get_n_leaves()
    axes = FigureCanvasAgg(Figure()).figure.subplots()
    assert len(tree.plot_tree(ours, ax=axes)) >= ours.tree_.node_count
    leaves = ours.apply(X)
    np.testing.assert_array_equal(ours.tree_.apply(X.astype(np.float32)), leaves)
    np.testing.assert_array_equal(ours.decision_path(X)[np.arange(len(X)), leaves], 1)
    np.testing.assert_allclose(ours.feature_importances_.sum(), 1)


def test_all_nodes_have_scikit_learns_impurity_and_value(diabetes):
    X, y = (part[:100] for part in diabetes)
    ours = jf.DecisionTreeRegressor(max_depth=3, random_state=0).fit(X, y).tree_
    theirs = tree.DecisionTreeRegressor(max_depth=3, random_state=0).fit(X, y).tree_
    for name in ("impurity", "value", "weighted_n_node_samples", "n_node_samples"):
        got, want = (np.sort(np.ravel(getattr(t, name))) for t in (ours, theirs))
        np.testing.assert_allclose(got, want, rtol=2e-4, err_msg=name)


@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_pruning_is_scikit_learns(iris, alpha):
    ours, theirs = (
        kind(ccp_alpha=alpha, random_state=0).fit(*iris)
        for kind in (jf.DecisionTreeClassifier, tree.DecisionTreeClassifier)
    )
    assert ours.tree_.node_count == theirs.tree_.node_count
    assert ours.score(*iris) == theirs.score(*iris)


def test_several_outputs_of_labels(iris):
    X, y = iris
    both = np.stack([np.array(["a", "b", "c"])[y], np.array(["u", "v", "u"])[y]], 1)
    model = jf.DecisionTreeClassifier(random_state=0).fit(X, both)
    np.testing.assert_array_equal(model.predict(X), both)
    assert [p.shape for p in model.predict_proba(X)] == [(150, 3), (150, 2)]
    assert [list(c) for c in model.classes_] == [["a", "b", "c"], ["u", "v"]]


# --- many trees -------------------------------------------------------------------------------


def test_the_trees_of_a_forest_are_estimators(forest, iris):
    X, _ = iris
    found = np.mean([one.predict_proba(X) for one in forest.estimators_], axis=0)
    np.testing.assert_allclose(forest.predict_proba(X), found, rtol=1e-6, atol=1e-9)
    leaves = np.stack([one.apply(X) for one in forest.estimators_], 1)
    np.testing.assert_array_equal(forest.apply(X), leaves)
    assert [len(rows) for rows in forest.estimators_samples_] == [150] * 20
    importances = np.mean([one.feature_importances_ for one in forest.estimators_], axis=0)
    np.testing.assert_allclose(forest.feature_importances_, importances, rtol=1e-5)


def test_rows_out_of_the_bag_are_judged_by_the_trees_without_them(forest, iris):
    X, y = iris
    total, count = np.zeros((150, 3)), np.zeros(150)
    for one, rows in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        unseen = np.setdiff1d(np.arange(150), rows)
        total[unseen] += one.predict_proba(X[unseen])
        count[unseen] += 1
    want = total / np.maximum(count, 1)[:, None]
    np.testing.assert_allclose(forest.oob_decision_function_, want, atol=1e-6)
    assert forest.oob_score_ == np.mean(want.argmax(1) == y)


def test_a_warm_start_adds_the_trees_that_were_missing(forest, iris):
    model = jf.RandomForestClassifier(n_estimators=7, warm_start=True, random_state=0).fit(*iris)
    model.set_params(n_estimators=20).fit(*iris)
    np.testing.assert_array_equal(model.predict_proba(iris[0]), forest.predict_proba(iris[0]))


def test_the_shape_that_small_data_are_padded_to_changes_nothing(forest, iris, monkeypatch):
    monkeypatch.setattr(_growth, "_padded", lambda n, d: None)
    model = jf.RandomForestClassifier(n_estimators=20, random_state=0).fit(*iris)
    jax.tree.map(np.testing.assert_array_equal, model.params_, forest.params_)


def test_rows_of_weight_zero_change_nothing(forest, iris):
    """Not even the bins: they are far away."""
    X, y = iris
    X, y = np.concatenate([X, 1e6 + X[:50]]), np.append(y, 2 - y[:50])
    weight = np.repeat([1.0, 0.0], [150, 50])
    model = jf.RandomForestClassifier(n_estimators=20, random_state=0).fit(X, y, weight)
    np.testing.assert_array_equal(model.predict_proba(X[:150]), forest.predict_proba(X[:150]))


def test_a_device_more_or_less_changes_nothing(forest, iris):
    where = jax.devices()[5]
    X = jax.device_put(iris[0].astype(np.float32), where)
    given = jf.RandomForestClassifier(n_estimators=20, random_state=0).fit(X, iris[1])
    host = jf.RandomForestClassifier(n_estimators=20, random_state=0)
    host.fit(iris[0].astype(np.float32), iris[1])
    np.testing.assert_array_equal(given.params_.nodes.threshold, host.params_.nodes.threshold)
    np.testing.assert_array_equal(given.params_.nodes.value, host.params_.nodes.value)


@pytest.mark.parametrize("class_weight", ["balanced", "balanced_subsample", {0: 1, 1: 20}])
def test_a_class_that_weighs_more_is_found_more_often(class_weight):
    rng = np.random.default_rng(0)
    y = (rng.uniform(size=400) < 0.1).astype(int)
    X = rng.normal(size=(400, 3)) + y[:, None] * 0.7
    options = {"n_estimators": 20, "max_depth": 3, "random_state": 0}
    plain = jf.RandomForestClassifier(**options).fit(X, y)
    weighed = jf.RandomForestClassifier(class_weight=class_weight, **options).fit(X, y)
    assert weighed.predict(X).sum() > 2 * plain.predict(X).sum()


@pytest.mark.parametrize(
    ("kind", "load"),
    [("RandomForestClassifier", load_breast_cancer), ("RandomForestRegressor", load_diabetes)],
)
def test_a_forest_is_as_good_as_scikit_learns(kind, load):
    X, y = load(return_X_y=True)
    scores = [
        getattr(source, kind)(oob_score=True, random_state=0).fit(X, y).oob_score_
        for source in (jf, ensemble)
    ]
    np.testing.assert_allclose(*scores, atol=0.03)


def test_folds_are_lanes_of_one_program(iris):
    model = jf.RandomForestClassifier(n_estimators=8, random_state=0)
    assert cross_val_score(model, *iris, cv=3).mean() > 0.9


def test_a_forest_is_smaller_than_scikit_learns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 5)).astype(np.float32)
    y = (X[:, 0] + rng.normal(size=2000) > 0).astype(int)
    ours, theirs = (
        len(pickle.dumps(kind(n_estimators=20, random_state=0).fit(X, y)))
        for kind in (jf.RandomForestClassifier, ensemble.RandomForestClassifier)
    )
    assert 2 * ours <= theirs


@pytest.mark.parametrize("setting", [{"criterion": "absolute_error"}, {"monotonic_cst": [1] * 10}])
def test_what_is_not_supported_is_a_sentence(diabetes, setting):
    with pytest.raises(ValueError, match="expected"):
        jf.RandomForestRegressor(**setting).fit(*diabetes)
