"""Trees and forests: exact splits, whole-number sums, and the same bits however they are run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.datasets import load_diabetes, load_iris
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from jaxfound.models import forest, tree
from jaxfound.numerics import draws, histogram

CLASSES = tree.Config(n_classes=3)
TARGETS = tree.Config("squared_error", n_classes=())


def iris(dtype="float32"):
    x, y = load_iris(return_X_y=True)
    return jnp.asarray(x, dtype), jnp.asarray(y, jnp.int32)


def diabetes(dtype="float32", n=120):
    x, y = load_diabetes(return_X_y=True)
    return jnp.asarray(x[:n], dtype), jnp.asarray(y[:n], dtype)


DATA = {"classes": (iris, CLASSES), "targets": (diabetes, TARGETS)}
each = pytest.mark.parametrize(("load", "config"), DATA.values(), ids=DATA)


def assert_equal(got, want):
    jax.tree.map(np.testing.assert_array_equal, got, want)


def structure(params):
    """All but the weights, of the nodes that are used."""
    return params._replace(weight=0, n_rows=0, impurity=0)


# --- against scikit-learn ---------------------------------------------------------------------


@pytest.mark.parametrize("criterion", ["gini", "entropy"])
def test_a_tree_of_classes_has_the_size_and_first_split_of_scikit_learns(criterion):
    x, y = iris()
    params, info = tree.fit(x, y, config=tree.Config(criterion, n_classes=3))
    theirs = DecisionTreeClassifier(criterion=criterion, random_state=0).fit(x, y)
    assert 2 * info.n_iter + 1 == theirs.tree_.node_count
    assert info.value == 0
    np.testing.assert_array_equal(tree.predict(params, x), y)


@pytest.mark.parametrize("criterion", ["squared_error", "poisson"])
def test_a_tree_of_targets_is_scikit_learns(criterion):
    x, y = diabetes()
    params, info = tree.fit(x, y, config=tree.Config(criterion, n_classes=()))
    theirs = DecisionTreeRegressor(criterion=criterion, random_state=0).fit(x, y)
    assert 2 * info.n_iter + 1 == theirs.tree_.node_count
    np.testing.assert_array_equal(tree.predict(params, x), y)
    inner = theirs.tree_
    assert params.feature[0] == inner.feature[0]
    np.testing.assert_allclose(params.threshold[0], inner.threshold[0], rtol=1e-6)


# --- laws -------------------------------------------------------------------------------------


@each
def test_a_weight_counts_rows(load, config):
    x, y = load()
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    rows = np.repeat(np.arange(len(y)), weight)
    spoilt = jnp.where((weight == 0)[:, None], jnp.nan, x)
    got, _ = tree.fit(spoilt, y, jnp.asarray(weight, x.dtype), config=config)
    want, _ = tree.fit(x[rows], y[rows], config=config)
    np.testing.assert_array_equal(tree.shares(got, x), tree.shares(want, x))


@each
def test_only_the_share_of_a_weight_matters(load, config):
    x, y = load()
    weight = jnp.asarray(np.random.default_rng(0).integers(0, 3, len(y)), x.dtype)
    got, want = (tree.fit(x, y, w, config=config)[0] for w in (3 * weight, weight))
    np.testing.assert_allclose(tree.shares(got, x), tree.shares(want, x), rtol=1e-6)


@each
def test_the_bits_are_those_without_jit(load, config):
    x, y = (part[::8] for part in load())
    want = tree.fit(x, y, config=config)
    with jax.disable_jit():
        got = tree.fit(x, y, config=config)
    assert_equal(got, want)


@each
def test_vmap_is_a_loop(load, config):
    x, y = load()
    weights = jnp.asarray(np.random.default_rng(0).integers(0, 3, (3, len(y))), x.dtype)
    config = forest.Config(config, n_trees=4)
    got = jax.vmap(lambda w: forest.fit(x, y, w, config=config)[0])(weights)
    for i, weight in enumerate(weights):
        lane = jax.tree.map(lambda leaf, i=i: leaf[i], got)
        assert_equal(lane, forest.fit(x, y, weight, config=config)[0])


@each
def test_trees_do_not_depend_on_their_pool(load, config):
    """Four trees together, or each by itself."""
    x, y = load()
    config = forest.Config(config, n_trees=4)
    seeds = forest.seeds(jax.random.key(1), 4)
    together, _ = forest.fit_seeds(x, y, None, forest.Hyper(), seeds, config=config)
    alone = [
        forest.fit_seeds(x, y, None, forest.Hyper(), seeds[i : i + 1], config=config)[0]
        for i in range(4)
    ]
    for i, params in enumerate(alone):
        nodes = jax.tree.map(lambda leaf: leaf[0], together.nodes)
        got = tree.shares(nodes, x, together.root[0, i])
        np.testing.assert_array_equal(got, forest.shares(params, x))


def test_dtypes_stay(x64):
    x, y = diabetes("float64")
    params, _ = tree.fit(x, y, config=TARGETS)
    assert params.threshold.dtype == params.value.dtype == jnp.float64
    np.testing.assert_array_equal(tree.predict(params, x), y)


def test_a_derivative_is_refused():
    x, y = diabetes()

    def loss(x):
        return tree.predict(tree.fit(x, y, config=TARGETS)[0], x).sum()

    with pytest.raises(TypeError, match="no derivative"):
        check_grads(loss, (x,), order=1)


@each
def test_a_fit_lowers_for_every_platform(load, config):
    x, y = load()
    config = forest.Config(config, n_trees=2)

    def fit_and_predict(x, y):
        return forest.predict(forest.fit(x, y, config=config)[0], x)

    platforms = ("cpu", "cuda", "tpu")
    exported = jax.export.export(jax.jit(fit_and_predict), platforms=platforms)(x, y)
    assert exported.platforms == platforms


# --- settings and edges -----------------------------------------------------------------------


def n_leaves(params):
    return int(((params.left == tree.NO_CHILD) & (params.weight > 0)).sum())


def test_limits_stop_growth():
    x, y = iris()
    shallow, info = tree.fit(x, y, hyper=tree.Hyper(max_depth=1), config=CLASSES)
    assert info.n_iter == 1
    np.testing.assert_allclose(sorted(np.asarray(shallow.weight[1:3])), [50, 100])
    _, none = tree.fit(x, y, hyper=tree.Hyper(max_depth=0), config=CLASSES)
    assert none.n_iter == 0
    rows = tree.Config(n_classes=3, count_rows=True)
    wide, _ = tree.fit(x, y, hyper=tree.Hyper(min_samples_leaf=20), config=rows)
    assert wide.n_rows[(wide.left == tree.NO_CHILD) & (wide.n_rows > 0)].min() >= 20
    heavy, _ = tree.fit(x, y, hyper=tree.Hyper(min_weight_leaf=20.0), config=CLASSES)
    assert_equal(structure(heavy), structure(wide))
    _, strict = tree.fit(x, y, hyper=tree.Hyper(min_impurity_decrease=0.1), config=CLASSES)
    assert strict.n_iter == 2


def test_a_traced_number_of_features_grows_the_trees_of_a_static_one():
    x, y = iris()
    few = tree.Config(n_classes=3, max_features=2)
    static, _ = forest.fit(x, y, config=forest.Config(few, n_trees=4))
    hyper = forest.Hyper(tree.Hyper(max_features=2))
    traced, _ = forest.fit(x, y, hyper=hyper, config=forest.Config(CLASSES, n_trees=4))
    assert_equal(traced, static)


@pytest.mark.parametrize("most", [2, 3, 5, 8])
def test_the_best_leaves_are_those_of_scikit_learn(most):
    x, y = diabetes()
    config = tree.Config("squared_error", n_classes=(), max_leaf_nodes=most)
    params, info = tree.fit(x, y, config=config)
    theirs = DecisionTreeRegressor(max_leaf_nodes=most, random_state=0).fit(x, y)
    assert info.n_iter == most - 1
    np.testing.assert_allclose(tree.predict(params, x), theirs.predict(x), rtol=1e-5)


def test_missing_values_go_to_the_better_side():
    """The class is whether a value is missing, or below zero: one side takes both."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1)).astype(np.float32)
    x[::3] = np.nan
    y = (np.isnan(x[:, 0]) | (x[:, 0] < 0)).astype(np.int32)
    config = tree.Config(missing=True)
    params, info = tree.fit(jnp.asarray(x), jnp.asarray(y), config=config)
    assert info.n_iter == 1
    assert params.missing_left[0]
    np.testing.assert_array_equal(tree.predict(params, jnp.asarray(x)), y)


def test_no_leaf_has_the_rate_zero():
    """A Poisson rate of zero says that more is impossible."""
    x = jnp.arange(8, dtype=jnp.float32)[:, None]
    y = jnp.asarray([0, 0, 0, 0, 1, 0, 4, 9], jnp.float32)
    params, _ = tree.fit(x, y, config=tree.Config("poisson", n_classes=()))
    assert (tree.predict(params, x) > 0).all()


def test_several_outputs():
    x, y = diabetes()
    params, _ = tree.fit(x, jnp.stack([y, -y], 1), config=TARGETS)
    np.testing.assert_array_equal(tree.predict(params, x), np.stack([y, -y], 1))
    x, y = iris()
    both = jnp.stack([y, (y == 1).astype(y.dtype)], 1)
    params, _ = tree.fit(x, both, config=tree.Config(n_classes=(3, 2)))
    np.testing.assert_array_equal(tree.predict(params, x), both)


EDGES = {
    "one row": (np.ones((1, 2)), [1]),
    "constant": (np.ones((9, 2)), [0, 1, 1] * 3),
    "one class": (np.arange(12.0).reshape(6, 2), [1] * 6),
    "all missing": (np.full((6, 2), np.nan), [0, 1, 1] * 2),
}


@pytest.mark.parametrize("edge", EDGES)
def test_nothing_to_split_is_one_leaf(edge):
    x, y = (jnp.asarray(EDGES[edge][0], jnp.float32), jnp.asarray(EDGES[edge][1], jnp.int32))
    params, info = tree.fit(x, y)
    assert info.n_iter == 0
    np.testing.assert_array_equal(tree.predict(params, x), np.ones(len(y)))


def test_all_weight_on_one_row():
    x, y = iris()
    weight = jnp.zeros(len(y)).at[70].set(1.0)
    params, info = tree.fit(x, y, weight, config=CLASSES)
    assert info.n_iter == 0
    assert (tree.predict(params, x) == y[70]).all()


def test_a_hundred_classes():
    x = jnp.arange(400.0, dtype=jnp.float32)[:, None] // 2
    y = jnp.arange(400, dtype=jnp.int32) // 4
    params, _ = tree.fit(x, y, config=tree.Config(n_classes=100))
    np.testing.assert_array_equal(tree.predict(params, x), y)


# --- parts ------------------------------------------------------------------------------------


def test_bins_are_exact_where_they_can_be():
    column = np.repeat(np.arange(255.0), 3)
    bins = histogram.bin_features(jnp.asarray(column, jnp.float32)[:, None], jnp.ones(765, int))
    np.testing.assert_array_equal(bins.high[0], np.arange(255.0))
    np.testing.assert_array_equal(bins.low[0], np.arange(255.0))


def test_bins_split_the_weight_evenly():
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=5000).astype(np.float32), rng.integers(0, 4, 5000)
    bins = histogram.bin_features(jnp.asarray(x)[:, None], jnp.asarray(weight))
    codes = np.asarray(histogram.encode(jnp.asarray(x)[:, None], bins))[0]
    mass = np.bincount(codes, weights=weight, minlength=255)
    assert mass.max() <= 2 * weight.sum() / 255
    repeated = np.repeat(x, weight)
    want = histogram.bin_features(jnp.asarray(repeated)[:, None], jnp.ones(len(repeated), int))
    assert_equal(bins, want)


def test_a_long_tail_has_bins_of_its_own():
    """Ten rows far away, one value each, beside many rows of few hundred values."""
    x = jnp.append(jnp.arange(100_000.0) % 400, 1e4 * (1 + jnp.arange(10.0)))[:, None]
    codes = histogram.encode(x, histogram.bin_features(x, jnp.ones(len(x), int)))[0]
    assert len(set(np.asarray(codes[-10:]))) >= 3


def test_a_permutation_has_every_element_once():
    for size in (1, 2, 7, 20, 784):
        for seed in range(20):
            index = jnp.arange(size, dtype=jnp.int32)
            found = draws.permuted(jnp.full(size, seed, jnp.uint32), index, draws.span(size))
            assert sorted(np.asarray(found)) == list(range(size))


def test_draws_follow_the_weight():
    weight = jnp.asarray([0, 1, 2, 0, 5], jnp.int32)
    seeds = draws.mix(jnp.arange(400, dtype=jnp.uint32))
    drawn = jax.vmap(draws.draw_rows, (0, None, None))(seeds, weight, jnp.asarray(5)).sum(0)
    assert drawn.sum() == 2000
    np.testing.assert_allclose(drawn / 2000, weight / 8, atol=0.03)
