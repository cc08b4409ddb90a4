"""Every metric against scikit-learn's, and the laws of weights, transforms and dtypes for each."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk

from jaxfound import metrics

N, K = 300, 4
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


# --- the table --------------------------------------------------------------------------------


def labels(rng, dtype, k=K):
    y = rng.integers(0, k, N).astype(np.int32)
    return y, np.where(rng.random(N) < 0.7, y, rng.integers(0, k, N)).astype(np.int32)


def targets(rng, dtype, outputs=()):
    y = 100 + rng.normal(size=(N, *outputs))
    return y.astype(dtype), (y + 0.5 * rng.normal(size=y.shape)).astype(dtype)


def scores(rng, dtype, levels=None):
    """Scores of both signs; with `levels`, full of ties (and of 0.0 and -0.0)."""
    y = rng.integers(0, 2, N).astype(np.int32)
    score = rng.normal(size=N) + y
    return y, (score if levels is None else np.round(score * levels) / levels).astype(dtype)


def probabilities(rng, dtype, k=K):
    """Ninths that sum to one: full of ties, and of zeros to be clipped."""
    proba = rng.multinomial(8, np.full(k, 1 / k), size=N) / 8
    return rng.integers(0, k, N).astype(np.int32), proba.astype(dtype)


def binary_probabilities(rng, dtype):
    y, proba = probabilities(rng, dtype, k=2)
    return y, proba[:, 1]


class Case(NamedTuple):
    metric: Callable  # (y_true, y_pred, weight)
    reference: Callable  # (y_true, y_pred, sample_weight=)
    data: Callable  # (rng, dtype) -> y_true, y_pred
    differentiable: bool = False


def _confusion(normalize):
    return Case(
        partial(metrics.confusion_matrix, n_classes=K + 1, normalize=normalize),
        partial(sk.confusion_matrix, labels=range(K + 1), normalize=normalize),
        labels,
    )


CASES = {
    "accuracy": Case(metrics.accuracy, sk.accuracy_score, labels),
    "confusion": _confusion(None),
    "confusion-true": _confusion("true"),
    "confusion-pred": _confusion("pred"),
    "confusion-all": _confusion("all"),
    "mse": Case(metrics.mean_squared_error, sk.mean_squared_error, targets, True),
    "mse-outputs": Case(
        metrics.mean_squared_error, sk.mean_squared_error, partial(targets, outputs=(3,)), True
    ),
    "mae": Case(metrics.mean_absolute_error, sk.mean_absolute_error, targets, True),
    "mae-outputs": Case(
        metrics.mean_absolute_error, sk.mean_absolute_error, partial(targets, outputs=(3,)), True
    ),
    "r2": Case(metrics.r2_score, sk.r2_score, targets, True),
    "r2-outputs": Case(metrics.r2_score, sk.r2_score, partial(targets, outputs=(3,)), True),
    "log-loss": Case(metrics.log_loss, partial(sk.log_loss, labels=range(K)), probabilities, True),
    "log-loss-binary": Case(metrics.log_loss, sk.log_loss, binary_probabilities, True),
    "auc": Case(metrics.roc_auc, sk.roc_auc_score, scores),
    "auc-ties": Case(metrics.roc_auc, sk.roc_auc_score, partial(scores, levels=2)),
    "auc-one-level": Case(metrics.roc_auc, sk.roc_auc_score, partial(scores, levels=1e-3)),
    "auc-ovr": Case(metrics.roc_auc, partial(sk.roc_auc_score, multi_class="ovr"), probabilities),
}
SMOOTH = {name: case for name, case in CASES.items() if case.differentiable}


# --- fixtures ---------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def case(request):
    return request.param


@pytest.fixture(params=SMOOTH.values(), ids=list(SMOOTH))
def smooth_case(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def random_weights(rng, dtype, folds=()):
    """A third of them zero."""
    return (rng.random((*folds, N)) * (rng.random((*folds, N)) > 1 / 3)).astype(dtype)


def poison(values, deleted):
    """Puts into the deleted rows what a padded row may hold: NaN, or a label of no class."""
    values = values.copy()
    values[deleted] = np.nan if values.dtype.kind == "f" else -1
    return values


def assert_close(got, want, dtype):
    np.testing.assert_allclose(got, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


# --- the laws ---------------------------------------------------------------------------------


@pytest.mark.parametrize("to_device", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_equals_scikit_learn(case, dtype, rng, to_device):
    y, pred = case.data(rng, dtype)
    weight = random_weights(rng, dtype)
    got = case.metric(to_device(y), to_device(pred), to_device(weight))
    assert isinstance(got, jax.Array)
    assert got.dtype == dtype
    assert_close(got, case.reference(y, pred, sample_weight=weight), dtype)
    assert_close(case.metric(to_device(y), to_device(pred)), case.reference(y, pred), dtype)


def test_zero_weight_deletes_the_row(case, dtype, rng):
    y, pred = case.data(rng, dtype)
    weight = random_weights(rng, dtype)
    keep = weight > 0
    got = case.metric(poison(y, ~keep), poison(pred, ~keep), weight)
    want = case.reference(y[keep], pred[keep], sample_weight=weight[keep])
    assert_close(got, want, dtype)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int32])
def test_counting_weights_repeat_the_row(case, dtype, rng, kind):
    y, pred = case.data(rng, dtype)
    weight = rng.integers(0, 4, N).astype(kind)
    times = weight.astype(int)
    want = case.reference(np.repeat(y, times, axis=0), np.repeat(pred, times, axis=0))
    assert_close(case.metric(y, pred, weight), want, dtype)


def test_vmap_over_weights_equals_a_loop(case, dtype, rng):
    y, pred = case.data(rng, dtype)
    weights = random_weights(rng, dtype, folds=(3,))
    nowhere = (weights == 0).all(axis=0)
    y, pred = poison(y, nowhere), poison(pred, nowhere)
    got = jax.jit(jax.vmap(case.metric, in_axes=(None, None, 0)))(y, pred, weights)
    assert_close(got, np.stack([case.metric(y, pred, weight) for weight in weights]), dtype)


def test_vmap_over_predictions_equals_a_loop(case, rng):
    y, preds = zip(*(case.data(rng, "float32") for _ in range(3)), strict=True)
    got = jax.vmap(case.metric)(np.stack(y), np.stack(preds))
    want = [case.metric(*pair) for pair in zip(y, preds, strict=True)]
    assert_close(got, np.stack(want), "float32")


def test_without_jit(case, rng):
    y, pred = case.data(rng, "float32")
    weight = random_weights(rng, "float32")
    with jax.disable_jit():
        plain = case.metric(y, pred, weight)
    assert_close(plain, case.metric(y, pred, weight), "float32")


def test_no_row_left(case, rng):
    y, pred = case.data(rng, "float32")
    got = case.metric(y, pred, np.zeros(N, "float32"))
    assert np.all(np.isnan(got) if got.ndim == 0 else got == 0)


def test_gradient_in_the_predictions(smooth_case, rng):
    with jax.enable_x64(True):
        y, pred = smooth_case.data(rng, "float64")
        weight = random_weights(rng, "float64")
        direction = rng.normal(size=pred.shape) * 1e-3
        if y.dtype.kind == "i":
            pred = 0.1 + 0.8 * pred  # off the clip, where the slope jumps
        keep = (weight > 0).reshape(-1, *(1,) * (pred.ndim - 1))
        slope = jax.grad(smooth_case.metric, argnums=1)
        got = slope(poison(y, weight == 0), poison(pred, weight == 0), weight)
        assert np.all(np.where(keep, 0, got) == 0)
        step = 1e-3
        ahead, behind = (smooth_case.metric(y, pred + s * direction, weight) for s in (step, -step))
        np.testing.assert_allclose(
            np.sum(got * direction), (ahead - behind) / (2 * step), rtol=1e-5
        )


def test_gradient_in_the_weights(smooth_case, rng):
    """At zero too: what would the row add? (Influence, and the choice of rows by gradient.)"""
    with jax.enable_x64(True):
        y, pred = smooth_case.data(rng, "float64")
        weight = random_weights(rng, "float64")
        got = jax.grad(smooth_case.metric, argnums=2)(y, pred, weight)
        step = 1e-6
        for row in (np.argmax(weight == 0), np.argmax(weight > 0)):
            change = np.where(np.arange(N) == row, step, 0)
            ahead, behind = (smooth_case.metric(y, pred, weight + s * change) for s in (1, -1))
            np.testing.assert_allclose(got[row], (ahead - behind) / (2 * step), rtol=1e-4)


# --- corners ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "pred", "want"),
    [
        ([0.1] * 7, [0.1] * 7, 1.0),
        ([0.1] * 7, [0.1] * 6 + [0.2], 0.0),  # the mean of 0.1 is not 0.1 in floats
        ([[1, 0.1], [2, 0.1], [3, 0.1]], [[1, 0.1], [2, 0.1], [3, 0.2]], 0.5),
        ([2.0], [2.0], 1.0),
    ],
)
def test_r2_of_a_constant(dtype, y, pred, want):
    assert metrics.r2_score(np.array(y, dtype), np.array(pred, dtype)) == want


def test_r2_slope_is_finite_for_a_constant(dtype):
    slope = jax.grad(metrics.r2_score, argnums=1)(np.ones(3, dtype), np.zeros(3, dtype))
    assert np.all(slope == 0)


@pytest.mark.parametrize("present", [0, 1])
def test_auc_is_undefined_without_both_classes(dtype, rng, present):
    score = rng.normal(size=N).astype(dtype)
    assert np.isnan(metrics.roc_auc(np.full(N, present), score))
    other_deleted = np.arange(N) % 2 == present
    assert np.isnan(metrics.roc_auc(np.arange(N) % 2, score, other_deleted))


def test_auc_is_flat_in_the_scores_and_not_in_the_weights(rng):
    y, score = scores(rng, "float32")
    weight = np.ones(N, np.float32)
    in_scores, in_weights = jax.grad(metrics.roc_auc, argnums=(1, 2))(y, score, weight)
    assert np.all(in_scores == 0)
    assert np.all(np.isfinite(in_weights))
    assert np.any(in_weights != 0)


def test_auc_of_infinite_and_tiny_scores(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    score = np.array([-np.inf, -1, -tiny, -0.0, 0.0, tiny, 1, np.inf], dtype)
    y = np.array([0, 1, 0, 1, 0, 0, 1, 1])
    order = np.array([0, 1, 2, 3, 3, 4, 5, 6])
    assert_close(metrics.roc_auc(y, score), sk.roc_auc_score(y, order), dtype)


@pytest.mark.parametrize("name", ["mse", "r2-outputs", "log-loss", "log-loss-binary", "auc"])
def test_nan_in_a_row_that_counts_is_not_hidden(dtype, rng, name):
    y, pred = CASES[name].data(rng, dtype)
    first = np.arange(N) == 0
    assert np.isnan(CASES[name].metric(y, poison(pred, first), np.ones(N, dtype)))


def test_log_loss_of_a_label_without_column(dtype):
    proba = np.full((2, 2), 0.5, dtype)
    assert np.isnan(metrics.log_loss(np.array([0, 2]), proba))
    assert np.isnan(metrics.log_loss(np.array([0, -1]), proba))


def test_confusion_matrix_counts_in_integers(rng):
    y, pred = labels(rng, None)
    for weight in (None, np.ones(N, bool)):
        table = metrics.confusion_matrix(y, pred, weight, n_classes=K)
        assert jnp.issubdtype(table.dtype, jnp.integer)
        np.testing.assert_array_equal(table, sk.confusion_matrix(y, pred))


def test_confusion_matrix_of_labels_in_bytes():
    y = np.arange(200, dtype=np.uint8)  # 200 * 200 does not fit
    np.testing.assert_array_equal(metrics.confusion_matrix(y, y, n_classes=200), np.eye(200))


@pytest.mark.parametrize("bad", [-1, 2])
def test_confusion_matrix_leaves_other_labels_out(bad):
    y, pred = np.array([0, 1, bad, 1]), np.array([0, bad, 1, 1])
    np.testing.assert_array_equal(metrics.confusion_matrix(y, pred, n_classes=2), np.eye(2))


def test_integer_targets_keep_fractional_weights():
    y, pred, weight = np.array([0, 1, 1]), np.array([0, 1, 0]), np.array([0.5, 0.5, 0.25])
    with jax.numpy_dtype_promotion("standard"):
        assert metrics.mean_squared_error(y, pred, weight) == 0.2
        assert metrics.mean_squared_error(y, pred.astype(np.float32), weight) == 0.2


def test_huge_deleted_row_does_not_overflow():
    y, pred = np.zeros(2, np.float32), np.array([1, 1e30], np.float32)
    weight = np.array([1, 0], np.float32)
    assert metrics.mean_squared_error(y, pred, weight) == 1
    np.testing.assert_array_equal(
        jax.grad(metrics.mean_squared_error, argnums=1)(y, pred, weight), [2, 0]
    )


ONES, INTS = np.ones(3, np.float32), np.ones(3, np.int32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.accuracy(INTS, INTS[:2]), "y_pred is int32 of shape .2,., expected"),
        (lambda: metrics.accuracy(INTS, ONES), "y_pred is float32 .* the index of"),
        (lambda: metrics.accuracy(np.eye(3, dtype=int), INTS), "y_true .* expected integers"),
        (lambda: metrics.accuracy(INTS, INTS, ONES[:, None]), "weight .* expected .3,."),
        (lambda: metrics.mean_squared_error(ONES, ONES[:, None]), "y_pred .* the shape of y_true"),
        (lambda: metrics.r2_score(ONES[0], ONES[0]), "y_true .* expected .n. or .n k."),
        (lambda: metrics.log_loss(INTS, ONES[:2]), "y_proba .* a row for each label"),
        (lambda: metrics.roc_auc(INTS, np.ones((2, 3))), "y_score .* expected .3,. or .3, k."),
        (lambda: metrics.confusion_matrix(INTS, INTS, n_classes=0), "n_classes is 0"),
        (
            lambda: metrics.confusion_matrix(INTS, INTS, n_classes=2, normalize="rows"),
            "normalize is 'rows', expected 'true'",
        ),
    ],
)
def test_errors_name_argument_got_and_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_new_data_traces_once(case, rng):
    traces = []

    @jax.jit
    def counted(*args):
        traces.append(1)
        return case.metric(*args)

    for _ in range(2):
        counted(*case.data(rng, "float32"), random_weights(rng, "float32"))
    assert len(traces) == 1


@pytest.mark.slow
def test_float32_at_ten_million_rows(rng):
    """A float32 running sum would be off by 1e-5 to 1e-3 here, and stop at 2^24."""
    n = 10_000_000
    y, weight = rng.integers(0, 2, n, np.int32), rng.random(n, np.float32)
    pred = np.where(rng.random(n, np.float32) < 0.9, y, 1 - y)
    score = (pred + rng.integers(0, 3, n, np.int32)).astype(np.float32)  # four levels
    wide = weight.astype(float)

    counts = np.bincount(2 * y + pred, wide).reshape(2, 2)
    table = metrics.confusion_matrix(y, pred, weight, n_classes=2)
    np.testing.assert_allclose(table, counts, rtol=1e-6)
    accuracy = np.trace(counts) / counts.sum()
    np.testing.assert_allclose(metrics.accuracy(y, pred, weight), accuracy, rtol=1e-6)

    level = score.astype(int)
    positives, negatives = (np.bincount(level, wide * (y == c)) for c in (1, 0))
    won = positives @ (np.cumsum(negatives) - negatives / 2)
    auc = won / positives.sum() / negatives.sum()
    np.testing.assert_allclose(metrics.roc_auc(y, score, weight), auc, rtol=1e-6)

    target = y + np.float32(100)
    mse = wide @ (target - score.astype(float)) ** 2 / wide.sum()
    got = metrics.mean_squared_error(target, score, weight)
    np.testing.assert_allclose(got, mse, rtol=1e-6)
    r2 = sk.r2_score(target.astype(float), score + 100.0, sample_weight=wide)
    np.testing.assert_allclose(metrics.r2_score(target, score + 100, weight), r2, rtol=1e-6)
