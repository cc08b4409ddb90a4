"""Neural networks with scikit-learn's face. What is common to them is in `NetworkClassifier`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d

from jaxfound._checks import check_choice, check_flag, check_number, check_whole
from jaxfound.estimators._base import Table, bucket, give_back
from jaxfound.estimators._labels import classes_of, encoded
from jaxfound.estimators._scope import compute_scope
from jaxfound.nn import loop, train

__all__ = ["NetworkClassifier"]

SCHEDULES = {"constant": train.constant, "cosine": train.cosine, "one_cycle": train.one_cycle}
_FLOAT = np.dtype(np.float32)


class NetworkClassifier(ClassifierMixin, BaseEstimator):
    """Trains a network on inputs and labels; a kind of network says what its inputs are.

    That kind has all constructor arguments as attributes, and two methods: `_inputs(X)` gives the
    checked array `[n ...]`, `_network(shape, n_classes, rngs)` the module from its rows to logits.
    """

    epochs: int
    batch_size: int
    optimizer: Callable[..., optax.GradientTransformation]
    learning_rate: float
    schedule: str
    weight_decay: float
    clip_norm: float | None
    label_smoothing: float
    mixed_precision: bool
    class_weight: Any
    patience: int | None
    validation_fraction: float
    checkpoint_dir: Any
    random_state: Any
    _inputs: Callable[[Any], Any]
    _network: Callable[..., nnx.Module]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Trains from the beginning (or from the last checkpoint) for `epochs` epochs.

        Raises:
          ValueError: for inputs of a wrong shape or range, labels that do not match, weights that
            are negative or all zero, or settings out of range.
          FloatingPointError: as soon as the loss is not finite.
          OSError: if a checkpoint cannot be written.
        """
        config, hyper, seed = self._config(), self._hyper(), self._seed()
        epochs = check_whole("epochs", self.epochs, least=1)
        table = _checked(self._inputs(X), y, sample_weight)
        classes = _two_or_more(classes_of(table))
        table, validation = self._held_out(table, classes, seed)
        with compute_scope(_FLOAT):
            trained = loop.fit(
                self._network(table.x.shape[1:], len(classes), nnx.Rngs(seed)),
                _padded(encoded(table, classes, self.class_weight)[0]),
                jax.random.key(seed),
                epochs=epochs,
                hyper=hyper,
                config=config,
                validation=validation,
                patience=self.patience,
                directory=self.checkpoint_dir,
            )
        self.classes_, self.history_, self._graph = classes, trained.history, trained.graph
        self._state = trained.state._replace(params=trained.params, rest=trained.rest)
        self.input_shape_ = table.x.shape[1:]
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> "NetworkClassifier":
        """One epoch over these rows, at a constant rate, from where the last call ended.

        Args:
          classes: all labels that will come, needed on the first call only.

        Raises:
          ValueError: as `fit`, and for labels outside the classes.
        """
        first = not hasattr(self, "classes_")
        config, hyper = self._config(schedule=train.constant), self._hyper()
        x = self._inputs(X)
        table = _checked(x if first else self._as_fitted(x), y, sample_weight)
        classes = self._known(classes) if first else self.classes_
        _refuse_unknown(table, classes)
        data = _padded(encoded(table, classes, self.class_weight)[0])
        with compute_scope(_FLOAT):
            start = (x.shape[1:], classes, config)
            graph, state = self._start(*start) if first else (self._graph, self._state)
            state, history = loop.one_epoch(graph, state, data, hyper, config)
        self.classes_, self._graph, self._state = classes, graph, state
        self.input_shape_ = x.shape[1:]
        known = {"loss": [], "accuracy": []} if first else self.history_
        self.history_ = {name: [*known[name], *history[name]] for name in history}
        return self

    def predict_proba(self, X: Any) -> Any:
        """The probability `[n k]` of each class, in the order of `classes_`."""
        check_is_fitted(self)
        x = self._as_fitted(self._inputs(X))
        with compute_scope(_FLOAT):
            state, config = self._state, self._config()
            rows = jnp.asarray(_longer(x, _size(x)))
            logits = train.predict(self._graph, state.params, state.rest, rows, config=config)
            return give_back(jax.nn.softmax(logits[: len(x)]), X)

    def predict(self, X: Any) -> Any:
        """The most probable label `[n]`."""
        index = self.predict_proba(X).argmax(1)
        if isinstance(index, jax.Array) and self.classes_.dtype.kind in "biuf":
            return jnp.asarray(self.classes_)[index]
        return self.classes_[np.asarray(index)]

    def weights(self) -> dict[str, np.ndarray]:
        """The trained arrays by their names in the network, such as "out.kernel"."""
        check_is_fitted(self)
        named = nnx.to_flat_state(self._state.params)
        return {".".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in named}

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classes_")

    def _seed(self):
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _hyper(self):
        clip = np.inf if self.clip_norm is None else self.clip_norm
        return train.Hyper(
            check_number("learning_rate", self.learning_rate, above=0),
            check_number("weight_decay", self.weight_decay, least=0),
            check_number("clip_norm", clip, above=0),
            check_number("label_smoothing", self.label_smoothing, least=0, most=1),
        )

    def _config(self, schedule=None):
        check_choice("schedule", self.schedule, SCHEDULES)
        if not callable(self.optimizer):
            raise TypeError(
                f"optimizer is {self.optimizer!r}, expected a function from a learning rate to an "
                "optax optimiser, such as optax.adam."
            )
        return train.Config(
            batch_size=check_whole("batch_size", self.batch_size, least=1),
            optimizer=self.optimizer,
            schedule=schedule or SCHEDULES[self.schedule],
            augment=self._augmentation(),
            mixed_precision=check_flag("mixed_precision", self.mixed_precision),
        )

    def _augmentation(self):
        return None

    def _held_out(self, table, classes, seed):
        """The rows to train on, and those that tell when to stop."""
        if self.patience is None:
            return table, None
        check_whole("patience", self.patience, least=1)
        share = check_number("validation_fraction", self.validation_fraction, above=0, most=0.9)
        present = np.arange(len(table.y)) if table.weight is None else np.flatnonzero(table.weight)
        kept, held = train_test_split(
            present, test_size=share, random_state=seed, stratify=table.y[present]
        )
        train_on, wait_for = (_rows(table, np.sort(rows)) for rows in (kept, held))
        return train_on, _padded(encoded(wait_for, classes, None)[0])

    def _known(self, classes):
        if classes is None:
            raise ValueError(
                "classes is None, expected all labels that will come: the first call of "
                "partial_fit needs them."
            )
        return _two_or_more(np.unique(classes))

    def _as_fitted(self, x):
        if x.shape[1:] != self.input_shape_:
            raise ValueError(
                f"X has rows of shape {x.shape[1:]}, expected {self.input_shape_} as in fit."
            )
        return x

    def _start(self, shape, classes, config):
        seed = self._seed()
        module = self._network(shape, len(classes), nnx.Rngs(seed))
        return train.start(module, jax.random.key(seed), config=config)


def _checked(x, y, sample_weight):
    """Inputs, labels and weights of one length, as `_labels` takes them."""
    if y is None:
        raise ValueError("y is None, expected a label for each row: requires y to be passed.")
    y = column_or_1d(np.asarray(y), warn=True)
    if len(y) != len(x):
        raise ValueError(
            f"y has {len(y)} labels, expected {len(x)}, one for each row of X. Found input "
            "variables with inconsistent numbers of samples."
        )
    if sample_weight is not None:
        rows = np.empty((len(x), 0), _FLOAT)
        options: dict[str, Any] = {"dtype": _FLOAT, "ensure_non_negative": True}
        sample_weight = _check_sample_weight(sample_weight, rows, **options)
    return Table(x, y, sample_weight, _FLOAT)


def _two_or_more(classes):
    if len(classes) < 2:
        raise ValueError(
            f"y has the classes {classes}, expected at least two; one class, or zero weights "
            "everywhere, leave nothing to tell apart."
        )
    return classes


def _refuse_unknown(table, classes):
    unknown = np.setdiff1d(table.y, classes)
    if len(unknown):
        raise ValueError(
            f"y has the label {unknown[0]!r}, expected one of {classes}: name all classes in the "
            "first call."
        )


def _rows(table, rows):
    weight = None if table.weight is None else table.weight[rows]
    return table._replace(x=table.x[rows], y=table.y[rows], weight=weight)


def _padded(table):
    """On the device, with rows of weight 0 up to a bucket, so that a new `n` rarely compiles."""
    n, size = len(table.y), _size(table.x)
    weight = table.weight
    if weight is None and size > n:
        weight = np.ones(n, _FLOAT)
    x, y = (jnp.asarray(_longer(rows, size)) for rows in (table.x, table.y))
    return train.Data(x, y, None if weight is None else jnp.asarray(_longer(weight, size)))


def _size(x):
    return bucket(len(x), int(np.prod(x.shape[1:])))


def _longer(rows, size):
    if size == len(rows):
        return rows
    xp = jnp if isinstance(rows, jax.Array) else np
    return xp.pad(rows, [(0, size - len(rows))] + [(0, 0)] * (rows.ndim - 1))
