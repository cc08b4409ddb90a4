"""Metrics of a prediction: scikit-learn's values, as weighted pure functions of arrays.

Each one can be jitted and vmapped (over the weights, so that every fold of a cross-validation is
scored in one program) and takes NumPy or JAX arrays. What holds for all of them:

- `weight` is a float, integer or boolean array `[n]`, or None for ones. A zero deletes the row:
  whatever stands in it, NaN and labels out of range included, changes neither the value nor the
  gradient in the predictions. With no row left the value is NaN (the confusion matrix: zeros).
- Labels are class indices 0 .. k-1.
- The value has the dtype of the predictions; that of the weights, or JAX's default float, where the
  predictions are labels.
- Sums stay right in float32 at 10 million rows: XLA's sum is a tree, other sums run in blocks.

Shapes and dtypes are checked while tracing and raise ValueError. Values are never looked at: where
scikit-learn raises, for a NaN in a row that counts, say, the result is NaN.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float, Int, Shaped

__all__ = [
    "accuracy",
    "confusion_matrix",
    "log_loss",
    "mean_absolute_error",
    "mean_squared_error",
    "r2_score",
    "roc_auc",
]

_Weight = Shaped[Array, " n"] | None  # float, integer or boolean (the mask of a fold)
ROWS_PER_BLOCK = 256  # of the confusion matrix: few enough for float32, many enough to be fast


# --- classification ---------------------------------------------------------------------------


@jax.jit
def accuracy(
    y_true: Int[Array, " n"], y_pred: Int[Array, " n"], weight: _Weight = None
) -> Float[Array, ""]:
    r"""The share of the weight on correctly labelled rows.

    $$\sum_i w_i [y_i = \hat y_i] \Big/ \sum_i w_i$$

    Args:
      y_true, y_pred: labels and predicted labels `[n]`.
      weight: weights `[n]`, or None.

    Returns:
      A scalar in [0, 1]; `sklearn.metrics.accuracy_score`.

    Raises:
      ValueError: if the shapes disagree or labels are no integers.

    Example:
      >>> print(accuracy(jnp.array([0, 1, 1, 0]), jnp.array([0, 1, 0, 0])))
      0.75
    """
    y_true, y_pred = _labels("y_true", y_true), _labels("y_pred", y_pred, len(y_true))
    weight = _weights(weight, y_true.size)
    return jnp.sum(jnp.where(y_true == y_pred, weight, 0)) / jnp.sum(weight)


@partial(jax.jit, static_argnames=("n_classes", "normalize"))
def confusion_matrix(
    y_true: Int[Array, " n"],
    y_pred: Int[Array, " n"],
    weight: _Weight = None,
    *,
    n_classes: int,
    normalize: Literal["true", "pred", "all"] | None = None,
) -> Shaped[Array, "k k"]:
    r"""The weight of the rows of true class $i$ (down) that were labelled $j$ (across).

    $$C_{ij} = \sum_r w_r [y_r = i] [\hat y_r = j]$$

    Args:
      y_true, y_pred: labels and predicted labels `[n]`; one outside 0 .. k-1 leaves the row out.
      weight: weights `[n]`, or None to count.
      n_classes: k.
      normalize: what shall sum to one: each row ("true"), each column ("pred"), everything
        ("all"), or nothing (None). An empty row or column stays zero.

    Returns:
      `[k k]`, integers if `weight` is None or boolean and nothing is normalized;
      `sklearn.metrics.confusion_matrix` with `labels=range(k)`.

    Raises:
      ValueError: if the shapes disagree or labels, `n_classes` or `normalize` are no valid ones.

    Example:
      >>> print(confusion_matrix(jnp.array([0, 1, 1]), jnp.array([0, 1, 0]), n_classes=2))
      [[1 0]
       [1 1]]
    """
    if n_classes < 1:
        raise ValueError(f"n_classes is {n_classes}, expected 1 or more: the number of labels.")
    if normalize not in (None, *_NORMALIZE_AXIS):
        raise ValueError(f"normalize is {normalize!r}, expected 'true', 'pred', 'all' or None.")
    y_true, y_pred = _labels("y_true", y_true), _labels("y_pred", y_pred, len(y_true))
    counts = weight is None or jnp.asarray(weight).dtype == bool
    weight = _weights(weight, y_true.size, jnp.result_type(int) if counts else None)
    table = _weighted_counts(y_true, y_pred, weight, n_classes)
    if normalize is None:
        return table
    total = jnp.sum(table, axis=_NORMALIZE_AXIS[normalize], keepdims=True)
    return table / jnp.where(total == 0, 1, total)


_NORMALIZE_AXIS = {"true": 1, "pred": 0, "all": (0, 1)}


def _weighted_counts(y_true, y_pred, weight, n_classes):
    """One table for each block of rows, then their sum.

    A single float32 cell stops counting at 2^24 and loses digits long before. The blocks are no
    shorter than a table has cells, so that all the tables take no more memory than the rows.
    """
    rows_per_block = max(ROWS_PER_BLOCK, n_classes**2)
    n_blocks = -(-y_true.size // rows_per_block)
    block = jnp.arange(y_true.size) // rows_per_block
    tables = jnp.zeros((n_blocks, n_classes, n_classes), weight.dtype)
    tables = tables.at[block, y_true, y_pred].add(weight, mode="drop", wrap_negative_indices=False)
    return jnp.sum(tables, axis=0)


@jax.jit
def log_loss(
    y_true: Int[Array, " n"], y_proba: Float[Array, " n *k"], weight: _Weight = None
) -> Float[Array, ""]:
    r"""The mean negative log-probability of the true class (cross-entropy, in nats).

    $$-\sum_i w_i \log p_{i y_i} \Big/ \sum_i w_i$$

    Probabilities are clipped to $[\epsilon, 1 - \epsilon]$, $\epsilon$ the machine epsilon of their
    dtype, as scikit-learn does; a clipped row has gradient zero.

    Args:
      y_true: labels `[n]`.
      y_proba: probabilities `[n k]`, or `[n]` those of class 1 of two; a row is not renormalized,
        and a label that has no column gives NaN.
      weight: weights `[n]`, or None.

    Returns:
      A scalar, at least 0; `sklearn.metrics.log_loss` with `labels=range(k)`.

    Raises:
      ValueError: if the shapes disagree or labels are no integers.

    Example:
      >>> print(round(float(log_loss(jnp.array([1, 0]), jnp.array([0.5, 0.5]))), 4))
      0.6931
    """
    y_true = _labels("y_true", y_true)
    y_proba = _scores("y_proba", y_proba, y_true.size)
    weight = _weights(weight, y_true.size, y_proba.dtype)
    if y_proba.ndim == 1:
        y_proba = jnp.stack([1 - y_proba, y_proba], axis=1)
    likelihood = y_proba.at[jnp.arange(y_true.size), y_true].get(
        mode="fill", fill_value=jnp.nan, wrap_negative_indices=False
    )
    eps = float(jnp.finfo(y_proba.dtype).eps)
    return _mean(-jnp.log(jnp.clip(_delete(likelihood, weight), eps, 1 - eps)), weight)


@jax.jit
def roc_auc(
    y_true: Int[Array, " n"], y_score: Float[Array, " n *k"], weight: _Weight = None
) -> Float[Array, ""]:
    r"""The probability that a positive row scores above a negative one; a tie counts one half.

    $$\sum_{i+, j-} w_i w_j \big([s_i > s_j] + \tfrac12 [s_i = s_j]\big)
      \Big/ \sum_{i+} w_i \sum_{j-} w_j$$

    The area under the ROC curve, in $O(n \log n)$. Piecewise constant: no slope in the scores.

    Args:
      y_true: labels `[n]`. For scores `[n]`, 1 is positive and every other label negative.
      y_score: scores `[n]`, or `[n k]` for k classes: each against the rest, then the plain mean.
      weight: weights `[n]`, or None.

    Returns:
      A scalar in [0, 1], NaN if a class has no weight; `sklearn.metrics.roc_auc_score`, with
      `multi_class="ovr"` for `[n k]`.

    Raises:
      ValueError: if the shapes disagree or labels are no integers.

    Example:
      >>> print(roc_auc(jnp.array([0, 0, 1, 1]), jnp.array([0.1, 0.4, 0.35, 0.8])))
      0.75

    Reference:
      Mann and Whitney, On a test of whether one of two random variables is stochastically larger
      than the other, Ann. Math. Statist. 18 (1947): the AUC is their U over its largest value.
    """
    y_true = _labels("y_true", y_true)
    y_score = _scores("y_score", y_score, y_true.size)
    weight = _weights(weight, y_true.size, y_score.dtype)
    if y_score.ndim == 1:
        return _binary_auc(y_true == 1, y_score, weight)
    of_class = y_true[:, None] == jnp.arange(y_score.shape[1])[None, :]
    return jnp.mean(jax.vmap(_binary_auc, in_axes=(1, 1, None))(of_class, y_score, weight))


def _binary_auc(positive, score, weight):
    """$U / (W_+ W_-)$: each positive row beats the negatives below it and half of those level.

    The scores are sorted alone, so that a vmap over weights sorts once; deleted rows stay in.
    """
    key = _sort_key(score)
    ordered = jnp.sort(key)
    first = jnp.searchsorted(ordered, key)  # the places of this score are first .. first + ties - 1
    ties = jnp.zeros_like(first).at[first].add(1)[first]
    # Rows of equal score share out their places by row number: any split is right, and this one
    # puts at most sqrt(n) rows in a place, so that float32 weights add up exactly enough.
    place = first + jnp.arange(score.size, dtype=first.dtype) % ties
    of_negatives = jnp.where(positive, 0, weight)
    of_positives = jnp.where(positive, weight, 0)
    below = jnp.cumsum(jnp.zeros_like(weight).at[place].add(of_negatives))
    below = jnp.concatenate([jnp.zeros_like(below, shape=1), below])  # negatives in places 0 .. i-1
    won = (below[first] + below[first + ties]) / 2
    auc = _mean(won, of_positives) / jnp.sum(of_negatives)
    return jnp.where(jnp.any(jnp.isnan(score) & (weight != 0)), jnp.nan, auc)


def _sort_key(x):
    """Integers in the order of the floats `x`: on CPU XLA sorts them six times as fast."""
    x = jnp.where(x == 0, 0, x)  # -0.0 is a tie with 0.0
    bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"int{jnp.finfo(x.dtype).bits}"))
    # Negative floats are sign and magnitude: flip the magnitude to make it two's complement.
    return jnp.where(bits < 0, bits ^ jnp.iinfo(bits.dtype).max, bits)


# --- regression -------------------------------------------------------------------------------


@jax.jit
def mean_squared_error(
    y_true: Float[Array, " n *k"], y_pred: Float[Array, " n *k"], weight: _Weight = None
) -> Float[Array, ""]:
    r"""The mean squared error; several outputs are averaged.

    $$\sum_i w_i (y_i - \hat y_i)^2 \Big/ \sum_i w_i$$

    Args:
      y_true, y_pred: targets and predictions, both `[n]` or both `[n k]`.
      weight: weights `[n]`, or None.

    Returns:
      A scalar (no factor 1/2); `sklearn.metrics.mean_squared_error`.

    Raises:
      ValueError: if the shapes disagree.

    Example:
      >>> print(mean_squared_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
      2.0
    """
    y_true, y_pred, weight = _regression(y_true, y_pred, weight)
    return _mean(_delete(y_true - y_pred, weight) ** 2, weight)


@jax.jit
def mean_absolute_error(
    y_true: Float[Array, " n *k"], y_pred: Float[Array, " n *k"], weight: _Weight = None
) -> Float[Array, ""]:
    r"""The mean absolute error; several outputs are averaged.

    $$\sum_i w_i |y_i - \hat y_i| \Big/ \sum_i w_i$$

    Args:
      y_true, y_pred: targets and predictions, both `[n]` or both `[n k]`.
      weight: weights `[n]`, or None.

    Returns:
      A scalar; `sklearn.metrics.mean_absolute_error`.

    Raises:
      ValueError: if the shapes disagree.

    Example:
      >>> print(mean_absolute_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
      1.0
    """
    y_true, y_pred, weight = _regression(y_true, y_pred, weight)
    return _mean(jnp.abs(_delete(y_true - y_pred, weight)), weight)


@jax.jit
def r2_score(
    y_true: Float[Array, " n *k"], y_pred: Float[Array, " n *k"], weight: _Weight = None
) -> Float[Array, ""]:
    r"""The share of the variance of `y_true` that is explained; several outputs are averaged.

    $$1 - \sum_i w_i (y_i - \hat y_i)^2 \Big/ \sum_i w_i (y_i - \bar y)^2$$

    For a constant `y_true` it is 1 if the prediction is perfect and 0 if not. Here that goes for a
    single row as well, where scikit-learn says NaN: a row of weight 2 is two rows.

    Args:
      y_true, y_pred: targets and predictions, both `[n]` or both `[n k]`.
      weight: weights `[n]`, or None.

    Returns:
      A scalar, at most 1; `sklearn.metrics.r2_score`.

    Raises:
      ValueError: if the shapes disagree.

    Example:
      >>> print(r2_score(jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 2.0, 2.0])))
      0.5
    """
    y_true, y_pred, weight = _regression(y_true, y_pred, weight)
    if y_true.ndim == 1:
        return _r2(y_true, y_pred, weight)
    # A map, since XLA sums a column five to ten times as fast as the first axis of a matrix.
    return jnp.mean(jax.lax.map(lambda pair: _r2(pair[0], pair[1], weight), (y_true.T, y_pred.T)))


def _r2(y_true, y_pred, weight):
    # Shifted by a row that counts: a constant becomes exactly 0, and a large mean costs no digits.
    shifted = _delete(y_true - y_true[jnp.argmax(weight != 0)], weight)
    variance = _mean((shifted - _mean(shifted, weight)) ** 2, weight)
    unexplained = _mean(_delete(y_true - y_pred, weight) ** 2, weight)
    constant = variance == 0
    of_constant = (unexplained == 0).astype(variance.dtype)
    return jnp.where(constant, of_constant, 1 - unexplained / jnp.where(constant, 1, variance))


# --- what they share --------------------------------------------------------------------------


def _mean(values, weight):
    """The weighted mean of `values` `[n]`, or of the row means of `[n k]`."""
    values = values if values.ndim == 1 else jnp.mean(values, axis=1)
    return jnp.sum(weight * _delete(values, weight)) / jnp.sum(weight)


def _delete(values, weight):
    """Zero for what is not finite in a row of weight zero (times zero it would be NaN).

    Goes before each step that is not linear: then no derivative is NaN either. Finite values stay,
    since the derivative in the weight asks what the row would have added.
    """
    weight = weight.reshape(-1, *(1,) * (values.ndim - 1))
    return jnp.where(jnp.isfinite(values) | (weight != 0), values, 0)


def _regression(y_true, y_pred, weight):
    """The arguments of a regression metric, checked, in one dtype."""
    y_true, y_pred = _floats(y_true, y_pred)
    _check("y_true", y_true, y_true.ndim in (1, 2), "[n] or [n k]")
    _check("y_pred", y_pred, y_pred.shape == y_true.shape, f"the shape of y_true, {y_true.shape}")
    return y_true, y_pred, _weights(weight, y_true.shape[0], y_true.dtype)


def _floats(*arrays):
    """Arrays in their common dtype; integers become floats."""
    dtype = jnp.result_type(*arrays, float)
    return [jnp.asarray(array).astype(dtype) for array in arrays]


def _labels(name, y, n=None):
    """Class indices `[n]` in JAX's default integer (uint8 would count modulo 256)."""
    y = jnp.asarray(y)
    n = y.size if n is None else n
    valid = y.shape == (n,) and not jnp.issubdtype(y.dtype, jnp.inexact)
    _check(name, y, valid, f"integers of shape ({n},): the index of each row's class")
    return y.astype(jnp.result_type(int))


def _scores(name, scores, n):
    valid = scores.ndim in (1, 2) and scores.shape[0] == n
    _check(name, scores, valid, f"({n},) or ({n}, k): a row for each label")
    return _floats(scores)[0]


def _weights(weight, n, dtype=None):
    """Weights `[n]`, ones for None, in `dtype`: by default their own if it is a float, or JAX's."""
    weight = jnp.ones(n, bool) if weight is None else jnp.asarray(weight)
    _check("weight", weight, weight.shape == (n,), f"({n},): a number for each row")
    if dtype is None:
        is_float = jnp.issubdtype(weight.dtype, jnp.floating)
        dtype = weight.dtype if is_float else jnp.result_type(float)
    return weight.astype(dtype)


def _check(name, array, valid, expected):
    if not valid:
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, expected {expected}.")
