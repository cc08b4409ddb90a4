"""What trees and forests have in common as estimators: settings, labels, and predictions."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import issparse
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from jaxfound._threads import cores
from jaxfound.estimators._base import JaxEstimator, Table, bucket
from jaxfound.estimators._labels import classes_of, encoded
from jaxfound.estimators._nodes import in_order, joined, padded, pruned, trees_of
from jaxfound.models import forest, tree

__all__ = ["TreeModel", "check_supported", "tree_settings"]

_WALKED, _FEW_WALKED = 4096, 1024  # rows at once; so few that they go together
_CRITERIA = {"log_loss": "entropy", "friedman_mse": "squared_error"}  # the same splits


class TreeModel(JaxEstimator):
    """Goes before scikit-learn's class, which brings the settings and all that reads a tree.

    Its `plot_tree` and `export_text` ask for a subclass of that.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.allow_nan = True
        return tags

    def _prepared(self, X: Any, y: Any, sample_weight: Any, class_weight: Any = None) -> Table:
        """The table with class indices or real targets, and weights times those of the classes."""
        given: Any = self
        given._validate_params()
        check_supported(given)
        if issparse(y):
            raise TypeError("y is a sparse matrix, expected a dense array: give y.toarray().")
        if given.criterion == "poisson":
            _check_poisson(np.asarray(y))
        finite = {"ensure_all_finite": "allow-nan", "multi_output": True}
        table = self._table(X, y, sample_weight, **finite)
        if table.weight is not None and not (table.weight > 0).any():
            raise ValueError("sample_weight is zero everywhere: give some row a positive weight.")
        y = np.asarray(table.y)
        if y.ndim == 2 and y.shape[1] == 1:
            self._meet_column()
            y = y[:, 0]
            table = table._replace(y=y)
        if not is_classifier(self):
            y = y.astype(table.dtype)
            table = table._replace(y=y)
        elif y.ndim == 1:
            self.classes_ = classes_of(table)
            self.n_classes_ = len(self.classes_)
            table, _ = encoded(table, self.classes_, class_weight)
        else:
            table = self._several(table, y, class_weight)
        self.n_outputs_ = 1 if table.y.ndim == 1 else table.y.shape[1]
        return table

    def _meet_column(self) -> None:
        """A target `[n 1]` is taken as `[n]`."""

    def _several(self, table, y, class_weight):
        """Several outputs of classes."""
        check_classification_targets(y)
        present = slice(None) if table.weight is None else table.weight > 0
        self.classes_ = [np.unique(column) for column in y[present].T]
        self.n_classes_ = np.array([len(classes) for classes in self.classes_])
        index = [
            np.searchsorted(classes, column).clip(max=len(classes) - 1)
            for classes, column in zip(self.classes_, y.T, strict=True)
        ]
        weight = table.weight
        if class_weight is not None:
            own = compute_sample_weight(class_weight, y).astype(table.dtype)
            weight = own if weight is None else weight * own
        return table._replace(y=np.stack(index, 1).astype(np.int32), weight=weight)

    def _tree_settings(self, table: Table, drawn: int | None = None):
        """`(hyper, config)` of a tree that sees `drawn` rows, or all."""
        n, d = table.x.shape
        weight = drawn or float(n if table.weight is None else table.weight.sum())
        hyper, config = tree_settings(self, n, d, self._n_classes(), weight)
        missing = bool((jnp if isinstance(table.x, jax.Array) else np).isnan(table.x).any())
        hyper = tree.Hyper._make(np.asarray(value, table.dtype) for value in hyper)
        return hyper, dataclasses.replace(config, missing=missing)

    def _n_classes(self) -> tuple[int, ...]:
        """Of every output; 1 for a mean."""
        if not is_classifier(self):
            return (1,) * self.n_outputs_
        return tuple(int(k) for k in np.atleast_1d(self.n_classes_))

    def _pruned(self, params: forest.Params) -> forest.Params:
        """Every tree cut back as far as `ccp_alpha` says."""
        given: Any = self
        if given.ccp_alpha == 0:
            return params
        sizes = self.n_features_in_, self._n_classes()
        short = [pruned(nodes, given.ccp_alpha, *sizes) for nodes in trees_of(params)]
        return joined([in_order(nodes, np.zeros(1, np.int32)) for nodes in short], len(short))

    def _key(self) -> jax.Array:
        given: Any = self
        state = check_random_state(given.random_state)
        return jax.random.key(state.randint(np.iinfo(np.int32).max))

    def _leaf_values(self, X: Any) -> Any:
        """Shares of the classes, or means: `[n o c]`."""
        self._check_fitted()
        shares = _forest_shares if isinstance(self._nodes(), forest.Params) else _tree_shares
        return self._apply(shares, _for_walks(self._nodes()), X, ensure_all_finite="allow-nan")

    def _leaves(self, X: Any) -> Any:
        self._check_fitted()
        walk = _forest_leaves if isinstance(self._nodes(), forest.Params) else _tree_leaves
        return self._apply(walk, _for_walks(self._nodes()), X, ensure_all_finite="allow-nan")

    def _rows_at_once(self, n, d):
        """As many as there are nodes, which every call looks through; every core has some."""
        most = max(_WALKED, jax.tree.leaves(self._nodes())[0].size)
        chunks = cores() * -(-n // (cores() * most)) if n > _FEW_WALKED else 1
        return bucket(-(-n // chunks), d)

    def _check_fitted(self) -> None:
        if "params_" not in vars(self):
            raise NotFittedError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with "
                "appropriate arguments before using this estimator."
            )

    def _nodes(self) -> Any:
        return vars(self)["params_"]

    def predict(self, X: Any, check_input: bool = True) -> Any:
        """The class of the largest (mean) share, or the mean: `[n]`, of several outputs `[n o]`."""
        del check_input
        found = self._leaf_values(X)
        if not is_classifier(self):
            return found[:, 0, 0] if self.n_outputs_ == 1 else found[:, :, 0]
        classes = self.classes_ if self.n_outputs_ > 1 else [self.classes_]
        labels = [_labels_of(k, found[:, o, : len(k)], X) for o, k in enumerate(classes)]
        if self.n_outputs_ == 1:
            return labels[0]
        return (jnp if isinstance(labels[0], jax.Array) else np).stack(labels, 1)

    def _probabilities(self, X: Any) -> Any:
        """Shares of the classes `[n k]`; of several outputs a list of these."""
        found = self._leaf_values(X)
        parts = [found[:, o, :k] for o, k in enumerate(self._n_classes())]
        return parts[0] if self.n_outputs_ == 1 else parts


def tree_settings(
    given: Any, n: int, d: int, n_classes: tuple[int, ...], weight: float
) -> tuple[tree.Hyper, tree.Config]:
    """What an estimator says of its trees.

    Args:
      given: the estimator.
      n, d: rows and features.
      n_classes: of every output.
      weight: of all rows.
    """
    least, looked_at = _rows(given.min_samples_leaf, n), _max_features(given.max_features, d)
    hyper = tree.Hyper(
        max_depth=np.inf if given.max_depth is None else given.max_depth,
        min_samples_split=max(2, _rows(given.min_samples_split, n), 2 * least),
        min_samples_leaf=least,
        min_weight_leaf=given.min_weight_fraction_leaf * weight,
        min_impurity_decrease=given.min_impurity_decrease,
        max_features=looked_at or np.inf,
    )
    criterion: Any = _CRITERIA.get(given.criterion, given.criterion)
    config = tree.Config(
        criterion=criterion,
        n_classes=n_classes if is_classifier(given) else (),
        max_features=looked_at,
        max_leaf_nodes=given.max_leaf_nodes,
        count_rows=least > 1,
    )
    return hyper, config


# Kernels of a few thousand rows are not worth a second thread: chunks of rows are spread instead.
_jit = partial(jax.jit, compiler_options={"xla_cpu_multi_thread_eigen": False})


@_jit
def _tree_shares(params, x):
    return tree.shares(params, x)


@_jit
def _forest_shares(params, x):
    return forest.shares(params, x)


@_jit
def _tree_leaves(params, x):
    return tree.apply(params, x)


@_jit
def _forest_leaves(params, x):
    return forest.apply(params, x).T


def _for_walks(params):
    """The nodes in few shapes."""
    if isinstance(params, forest.Params):
        return params._replace(nodes=padded(params.nodes, axis=1))
    return padded(params)


def _labels_of(classes, shares, X):
    index = shares.argmax(1)
    if isinstance(X, jax.Array) and classes.dtype.kind in "biuf":
        return jnp.asarray(classes)[index]
    return classes[np.asarray(index)]


def _rows(given, n):
    """A number of rows, or a share of them."""
    return int(given) if isinstance(given, int | np.integer) else int(np.ceil(given * n))


def _max_features(given, d):
    """scikit-learn's ways to say it; None for all."""
    if given is None:
        return None
    if isinstance(given, str):
        return max(1, int(np.sqrt(d) if given == "sqrt" else np.log2(d)))
    if isinstance(given, int | np.integer):
        return min(int(given), d)
    return max(1, int(given * d))


def check_supported(model: Any) -> None:
    """Refuses what scikit-learn has and trees here have not.

    Raises:
      ValueError: for such a setting.
    """
    if not isinstance(model.criterion, str):
        raise ValueError(
            f"criterion is {model.criterion!r}, expected a name: objects compute on the host."
        )
    if model.criterion == "absolute_error":
        raise ValueError(
            "criterion is 'absolute_error', expected 'squared_error', 'friedman_mse' or 'poisson': "
            "medians are no sums over rows. Take scikit-learn's estimator for it."
        )
    if model.monotonic_cst is not None:
        raise ValueError(
            "monotonic_cst is given, expected None: monotonic trees are not supported. Take "
            "scikit-learn's estimator for them."
        )
    if getattr(model, "splitter", "best") != "best":
        raise ValueError(
            "splitter is 'random', expected 'best': random thresholds are not supported. Take "
            "scikit-learn's estimator for them."
        )


def _check_poisson(y):
    if y.min() < 0:
        raise ValueError(
            "Some value(s) of y are negative which is not allowed for Poisson regression: expected "
            "counts or rates."
        )
    if y.sum() <= 0:
        raise ValueError(
            "Sum of y is not strictly positive which is necessary for Poisson regression: y is not "
            "positive anywhere, expected counts or rates for the criterion of Poisson."
        )
