"""Experiments as one program: scores equal those of a loop over slices, and scikit-learn's."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import model_selection as reference
from sklearn.datasets import load_breast_cancer, load_diabetes, make_classification
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC

from jaxfound import metrics, parallel
from jaxfound.model_selection import execute, folds, lanes, path, search, sharing
from jaxfound.model_selection.scoring import as_scorers
from jaxfound.models import logistic, ridge, svm

L2 = np.logspace(-3, 1, 4)


def regression():
    x, y = load_diabetes(return_X_y=True)
    return x[:120], (y[:120] - 150) / 80


def classification():
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    return x[:150], y[:150].astype(np.int32)


@pytest.fixture
def diabetes(x64):
    x, y = map(jnp.asarray, regression())
    return x, y, folds.k_fold(len(x), 4)


def test_scores_are_those_of_a_loop_over_slices(diabetes):
    x, y, split = diabetes
    hypers = ridge.Hyper(jnp.asarray(L2))
    found = search.grid(ridge, x, y, split, hypers, scoring="r2", with_train=True)
    for h, l2 in enumerate(L2):
        for f, (train, test) in enumerate(zip(split.train, split.test, strict=True)):
            inside, outside = np.flatnonzero(train), np.flatnonzero(test)
            params, _ = ridge.fit(x[inside], y[inside], hyper=ridge.Hyper(l2))
            for rows, scores in ((outside, found.test), (inside, found.train)):
                alone = metrics.r2_score(y[rows], ridge.predict(params, x[rows]))
                np.testing.assert_allclose(scores["score"][h, f], alone, rtol=1e-10)


@pytest.mark.parametrize(
    ("module", "rival", "name", "values", "data", "scoring"),
    [
        (ridge, Ridge(), ("l2", "alpha"), L2, regression, ("r2", "neg_mean_squared_error")),
        (
            logistic,
            LogisticRegression(tol=1e-10, max_iter=1000),
            ("C", "C"),
            np.logspace(-2, 0, 3),
            classification,
            ("accuracy", "neg_log_loss", "roc_auc"),
        ),
        (svm, SVC(), ("C", "C"), np.logspace(-1, 1, 3), classification, ("accuracy",)),
    ],
)
def test_a_grid_is_that_of_scikit_learn(x64, module, rival, name, values, data, scoring):
    x, y = data()
    is_classifier = y.dtype.kind == "i"
    split = (
        folds.stratified_k_fold(jnp.asarray(y), n_classes=2) if is_classifier else folds.k_fold(120)
    )
    hypers = module.Hyper()._replace(**{name[0]: jnp.asarray(values)})
    scorers = {metric: metric for metric in scoring}
    ours = search.grid(module, jnp.asarray(x), jnp.asarray(y), split, hypers, scoring=scorers)
    theirs = reference.GridSearchCV(rival, {name[1]: values}, scoring=scoring, refit=False, cv=5)
    theirs.fit(x, y)
    for metric in scoring:
        mean = theirs.cv_results_[f"mean_test_{metric}"]
        np.testing.assert_allclose(ours.test[metric].mean(1), mean, rtol=2e-5)
    assert ours.converged.all()


def test_a_learning_curve_is_that_of_scikit_learn_and_sizes_are_traced(diabetes):
    x, y, split = diabetes
    sizes = np.array([20, 50, 90])
    hyper = ridge.Hyper(0.1)
    curve = jax.jit(lambda s: search.learning_curve(ridge, x, y, split, s, hyper, scoring="r2"))
    ours = curve(sizes)
    _, train, test = reference.learning_curve(
        Ridge(0.1), np.asarray(x), np.asarray(y), cv=reference.KFold(4), train_sizes=sizes
    )
    np.testing.assert_allclose(ours.test["score"], test, rtol=1e-9)
    np.testing.assert_allclose(ours.train["score"], train, rtol=1e-9)
    curve(sizes - 5)
    assert curve._cache_size() == 1


def test_weights_multiply_the_masks(diabetes):
    x, y, split = diabetes
    weight = jnp.where(jnp.arange(len(x)) % 3 == 0, 0.0, 1.0)
    kept = np.flatnonzero(weight)
    fewer = folds.Folds(*(table[:, kept] for table in split))
    ours = search.cross_validate(ridge, x, y, split, weight=weight, scoring="r2")
    alone = search.cross_validate(ridge, x[kept], y[kept], fewer, scoring="r2")
    np.testing.assert_allclose(ours.test["score"], alone.test["score"], rtol=1e-9)


def test_a_score_has_a_gradient_in_the_penalty(diabetes):
    x, y, split = diabetes

    def mean(log):
        hyper = ridge.Hyper(jnp.exp(log))
        scores = search.cross_validate(ridge, x, y, split, hyper, scoring="r2")
        return scores.test["score"].mean()

    slope = jax.grad(mean)(-2.0)
    np.testing.assert_allclose(slope, (mean(-1.999) - mean(-2.001)) / 0.002, rtol=1e-4)


def test_shuffled_targets_tell_a_signal_from_noise(diabetes):
    x, y, split = diabetes
    noise = jax.random.normal(jax.random.key(1), y.shape)
    for target, low, high in ((y, 0.0, 0.05), (noise, 0.05, 1.0)):
        found = search.permutation_test_score(
            ridge, x, target, split, jax.random.key(0), scoring="r2", n_permutations=30
        )
        assert low < found.p_value["score"] <= high
        assert found.permuted["score"].shape == (30,)


def test_the_bootstrap_has_the_spread_of_the_coefficients(diabetes):
    x, y, _ = diabetes
    x = x[:, :1] * 20
    drawn = search.bootstrap(ridge, x, y, jax.random.key(0), ridge.Hyper(0.0), n_samples=200)
    coef = np.polyfit(x[:, 0], y, 1)[0]
    error = np.sqrt(np.var(y - np.polyval(np.polyfit(x[:, 0], y, 1), x[:, 0])) / len(y) / x.var())
    np.testing.assert_allclose(drawn.coef.mean(), coef, atol=error / 2)
    np.testing.assert_allclose(drawn.coef.std(), error, rtol=0.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scoring": "f2"}, "scoring is 'f2', expected one of 'accuracy'"),
        ({"hypers": ridge.Hyper(1.0)}, "expected one length"),
        ({"hypers": ridge.Hyper(jnp.ones(2), jnp.ones(3))}, r"lengths \[2, 3\]"),
    ],
)
def test_what_is_no_experiment_is_a_sentence(diabetes, change, message):
    x, y, split = diabetes
    given = {"hypers": ridge.Hyper(jnp.ones(2)), "scoring": "r2"} | change
    with pytest.raises(ValueError, match=message):
        search.grid(ridge, x, y, split, given["hypers"], scoring=given["scoring"])


# --- candidates that are drawn, or dropped ----------------------------------------------------


def test_drawn_candidates_are_scored_as_a_grid_of_them(diabetes):
    x, y, split = diabetes

    def sample(key):
        return ridge.Hyper(10 ** jax.random.uniform(key, minval=-3.0, maxval=3.0))

    key = jax.random.key(3)
    options = {"n_candidates": 5, "scoring": "r2"}
    hypers, scores = search.random_search(ridge, x, y, split, sample, key, **options)
    assert len(np.unique(hypers.l2)) == 5
    again = search.grid(ridge, x, y, split, hypers, scoring="r2")
    np.testing.assert_allclose(scores.test["score"], again.test["score"], rtol=1e-12)


def test_halving_ends_with_the_best_of_those_it_kept(diabetes):
    x, y, split = diabetes
    hypers = ridge.Hyper(jnp.logspace(-3, 6, 9))
    found = search.successive_halving(ridge, x, y, split, hypers, scoring="r2", min_rows=40)
    assert found.sizes == (40, len(x))
    np.testing.assert_array_equal(jnp.isfinite(found.scores).sum(1), [9, 3])
    hyper = ridge.Hyper(hypers.l2[found.best])
    sizes = jnp.asarray(found.sizes)
    curve = search.learning_curve(ridge, x, y, split, sizes, hyper, scoring="r2")
    alone = curve.test["score"].mean(1)
    np.testing.assert_allclose(found.scores[:, found.best], alone, rtol=1e-9)
    assert found.score == found.scores[-1, found.best]
    kept = np.sort(np.argsort(found.scores[0])[-3:])
    np.testing.assert_array_equal(np.flatnonzero(jnp.isfinite(found.scores[1])), kept)


def test_a_candidate_that_diverges_is_the_first_to_go(diabetes):
    x, y, split = diabetes
    hypers = ridge.Hyper(jnp.array([jnp.nan, 1.0, 10.0]))
    found = search.successive_halving(ridge, x, y, split, hypers, scoring="r2", min_rows=30)
    assert found.scores[0, 0] == -jnp.inf
    assert found.best > 0
    with pytest.raises(ValueError, match="factor is 1, expected 2 or more"):
        search.successive_halving(ridge, x, y, split, hypers, scoring="r2", min_rows=30, factor=1)


# --- over devices, and over few rows ----------------------------------------------------------


@pytest.mark.parametrize("model", [ridge, svm])
def test_lanes_over_eight_devices_are_those_of_one(x64, model):
    x, y = map(jnp.asarray, classification())
    y = y if model is svm else y.astype(x.dtype)
    split = folds.k_fold(len(x), 5)
    first, *rest = model.Hyper()
    hypers = model.Hyper(first * jnp.array([0.5, 1.0, 2.0]), *rest)
    scoring = "accuracy" if model is svm else "r2"
    want = search.grid(model, x, y, split, hypers, scoring=scoring)
    with jax.set_mesh(parallel.make_mesh(axis=parallel.LANES)):
        got = search.grid(model, x, y, split, hypers, scoring=scoring)
    assert len(got.test["score"].sharding.device_set) == 8
    np.testing.assert_allclose(got.test["score"], want.test["score"], rtol=1e-12)


def test_chunks_over_eight_devices_are_those_of_one(plan):
    with jax.set_mesh(parallel.make_mesh(axis=parallel.LANES)):
        ours = execute.execute(*plan)
    np.testing.assert_allclose(ours.test["score"], lanes.evaluate(*plan).test["score"], rtol=1e-12)


def test_scores_of_the_rows_of_a_lane_are_those_of_all_rows_weighed(plan):
    task, tables, every = plan
    x = tables.x
    few = sharing.with_few_rows(task, tables.train, tables.test)
    assert len(x) / 4 <= few.n_test < len(x) / 2 < few.n_train < len(x)
    weight = jnp.asarray(np.random.default_rng(0).integers(0, 3, len(x)), x.dtype)
    tables = tables._replace(test=tables.test * weight[None])
    want, got = (lanes.evaluate(one, tables, every).test["score"] for one in (task, few))
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_penalties_that_share_their_passes_have_scores_of_their_own(x64):
    x, y = make_classification(17_000, 4, n_redundant=0, flip_y=0.2, random_state=0)
    x, y, config = jnp.asarray(x), jnp.asarray(y), logistic.Config("lbfgs")
    assert logistic.in_lock_step(config, *x.shape)
    split, penalties = folds.k_fold(len(x), 2), jnp.array([1e-4, 1e-2, 1.0])
    options = {"scoring": "neg_log_loss", "config": config}
    grid = search.grid(logistic, x, y, split, logistic.Hyper(penalties), **options)
    for got, penalty in zip(grid.test["score"], penalties, strict=True):
        hyper = logistic.Hyper(penalty)
        alone = search.cross_validate(logistic, x, y, split, hyper, **options)
        np.testing.assert_allclose(got, alone.test["score"], rtol=1e-10)


def test_fits_along_a_path_have_scores_of_their_own(x64):
    x, y = make_classification(300, 12, n_informative=8, n_classes=4, random_state=0)
    x, y, config = jnp.asarray(x), jnp.asarray(y), logistic.Config("lbfgs", n_classes=4)
    assert logistic.on_a_path(config, *x.shape)
    split, penalties = folds.k_fold(len(x), 2), jnp.array([1.0, 1e-3, 0.1, 0.1, 1e-2])
    options = {"scoring": "neg_log_loss", "config": config}
    hypers = logistic.Hyper(penalties, tol=1e-8)
    grid = search.grid(logistic, x, y, split, hypers, **options)
    assert grid.converged.all()
    for got, penalty in zip(grid.test["score"], penalties, strict=True):
        hyper = logistic.Hyper(penalty, tol=1e-8)
        alone = search.cross_validate(logistic, x, y, split, hyper, **options)
        np.testing.assert_allclose(got, alone.test["score"], rtol=1e-8)


def test_a_path_starts_on_the_line_through_the_last_two_fits():
    ends = jnp.array([2.0, 3.0, 5.0, jnp.nan, 1.0, 7.0])

    def fit(i, start):
        return ends[i], start

    values = jnp.array([0.1, 1.0, 1000.0, 1000.0, 2000.0, jnp.inf])
    starts = path.follow(fit, values, jnp.array(0.0))
    np.testing.assert_allclose(starts, [0, 2, 4, 5, 0, 0])


@pytest.mark.parametrize("jitted", [False, True])
def test_candidates_of_one_kernel_share_its_matrix(x64, jitted):
    x, y = make_classification(200, 5, random_state=0)
    x, y = jnp.asarray(x), jnp.asarray(y)
    split, config = folds.k_fold(len(x), 2), svm.Config()
    size, penalty = np.meshgrid([0.5, 0.01, 0.1], [1.0, 1e-2, 100.0, 10.0])
    hypers = svm.Hyper(jnp.asarray(penalty.ravel()), jnp.asarray(size.ravel()))

    def scores(hypers):
        options = {"scoring": "accuracy", "config": config}
        return search.grid(svm, x, y, split, hypers, **options).test["score"]

    varies = True, True, False, False, False
    arrays = jax.tree.map(jnp.asarray, hypers)
    task = lanes.Task(svm, config, as_scorers("accuracy"))
    task = sharing.with_candidates(task, arrays, varies, 12, x)
    assert (task.alike, task.width) == (True, 4)
    got = (jax.jit(scores) if jitted else scores)(hypers)
    for own, c, gamma in zip(got, hypers.C, hypers.gamma, strict=True):
        hyper = svm.Hyper(c, gamma)
        alone = search.cross_validate(svm, x, y, split, hyper, scoring="accuracy", config=config)
        np.testing.assert_array_equal(own, alone.test["score"])


# --- in chunks --------------------------------------------------------------------------------


@pytest.fixture
def plan(diabetes):
    x, y, split = diabetes
    varies = True, False, False
    task = lanes.Task(ridge, ridge.Config(), as_scorers("r2"), varies=varies, width=2)
    hypers = ridge.Hyper(jnp.asarray(L2), jnp.asarray(1e-6), jnp.asarray(0.01))
    tables = lanes.Plan(x, y[None], split.train, split.test, hypers, jax.random.key(0))
    every = lanes.Lanes(*np.indices((4, 4, 1)).reshape(3, -1))
    return task, tables, every


def test_chunks_equal_one_program_and_say_how_far_they_are(plan):
    done = []
    ours = execute.execute(*plan, progress=lambda n, scores: done.append(n))
    whole = lanes.evaluate(*plan)
    np.testing.assert_array_equal(ours.test["score"], whole.test["score"])
    assert sum(done) == 16
    assert len(done) > 1


def test_a_killed_run_goes_on_from_its_journal(plan, tmp_path):
    path = tmp_path / "journal.jsonl"

    def killed(n, scores):
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        execute.execute(*plan, journal=path, progress=killed)
    lines = path.read_text().splitlines()
    assert 1 < len(lines) <= 9
    path.write_text("\n".join([*lines, lines[-1][:20]]))  # as if killed while it wrote
    ours = execute.execute(*plan, journal=path)
    np.testing.assert_array_equal(ours.test["score"], lanes.evaluate(*plan).test["score"])
    with pytest.raises(ValueError, match="another experiment"):
        execute.execute(*plan[:2], lanes.Lanes(*(leaf[:8] for leaf in plan[2])), journal=path)


def test_memory_too_small_for_a_lane_says_what_is_needed(plan):
    with pytest.raises(ValueError, match=r"memory is 10 B, expected at least \d+ bytes"):
        execute.execute(*plan, memory="10 B")
    execute.execute(*plan, memory="1GiB")


@pytest.mark.parametrize(("text", "count"), [("4GiB", 2**32), ("500 MB", 5e8), ("10B", 10), (7, 7)])
def test_bytes_are_read_with_their_units(text, count):
    assert execute.parse_bytes(text) == count
    with pytest.raises(ValueError, match="such as '4GiB'"):
        execute.parse_bytes("much")
