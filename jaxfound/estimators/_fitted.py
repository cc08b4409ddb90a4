"""The pure function behind a *fitted* estimator: a scorer `(params, x)`, static, and its params."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.pipeline import Pipeline as Chain
from sklearn.utils.validation import check_is_fitted

from jaxfound.estimators import linear as linear_estimators
from jaxfound.estimators._principal import PrincipalComponents
from jaxfound.estimators.linear_svm import LinearSVC
from jaxfound.estimators.logistic import LogisticRegression
from jaxfound.estimators.scaling import StandardScaler
from jaxfound.estimators.svm import SVC, SVR
from jaxfound.models import logistic, ridge, svm
from jaxfound.nn import train

__all__ = ["Output", "Scorer", "fitted"]

Output = Literal["decision", "predict_proba", "predict"]


@dataclasses.dataclass(frozen=True)
class Scorer:
    """Functions `(params, x)`, one after the other; hashable, so that it can be static."""

    stages: tuple[Callable[..., Any], ...]

    def __call__(self, params: tuple[Any, ...], x: Any) -> Any:
        for stage, known in zip(self.stages, params, strict=True):
            x = stage(known, x)
        return x


class _Affine(NamedTuple):
    shift: Any  # [d]
    matrix: Any  # [d c]


def fitted(estimator: Any, output: Output = "decision") -> tuple[Scorer, tuple[Any, ...]]:
    """A scorer of rows and its params on the host.

    Args:
      estimator: fitted; one of jaxfound's or a `Pipeline` of them that ends in a model.
      output: of a classifier: "decision" are log odds, margins or logits, `[n]` for two classes
        and `[n k]` for more; "predict_proba" `[n k]`; "predict" class indices `[n]`. A
        regression has its predictions `[n]` only.

    Raises:
      NotFittedError: for an estimator that is not fitted.
      TypeError: for an estimator that is not jaxfound's.
      ValueError: for an SVC of more than two classes, which has no score a class, and for
        probabilities of machines, which have none.
    """
    check_is_fitted(estimator)
    steps = estimator.steps if isinstance(estimator, Chain) else [("", estimator)]
    *before, last = [stage for _, stage in steps if stage not in (None, "passthrough")]
    known = [(_affine, _map_of(stage)) for stage in before] + [_score_of(last)]
    stages, params = (tuple(part) for part in zip(*known, strict=True))
    if output == "predict_proba" and isinstance(last, SVC | LinearSVC):
        raise ValueError(
            f"output is 'predict_proba', expected 'decision' or 'predict': a {type(last).__name__} "
            "has margins, no probabilities."
        )
    if hasattr(last, "classes_") and output != "decision":
        stages, params = (*stages, _OUTPUTS[output]), (*params, None)
    return Scorer(stages), params


def _affine(params, x):
    return jnp.matmul(x - params.shift[None], params.matrix, precision="highest")


def _map_of(stage):
    if isinstance(stage, StandardScaler):
        mean = np.zeros(stage.n_features_in_) if stage.mean_ is None else stage.mean_
        scale = np.ones_like(mean) if stage.scale_ is None else stage.scale_
        return _Affine(mean if stage.with_mean else np.zeros_like(mean), np.diag(1 / scale))
    if isinstance(stage, PrincipalComponents):
        return _Affine(stage.mean_, (stage.components_ / stage._scale[:, None]).T)
    raise _foreign(stage)


def _score_of(model):
    if isinstance(model, _LINEAR):
        intercept: Any = np.asarray(model.intercept_)
        return ridge.predict, ridge.Params(model.coef_.T, intercept)
    if isinstance(model, LogisticRegression | LinearSVC):
        intercept: Any = np.broadcast_to(model.intercept_, len(model.coef_))
        return logistic.decision, _narrow(logistic.Params(model.coef_.T, intercept))
    if isinstance(model, SVC | SVR):
        if isinstance(model, SVC) and len(model.classes_) > 2:
            raise ValueError(
                f"estimator is an SVC of {len(model.classes_)} classes, expected two: its "
                "decisions are about pairs of classes. Fit one pair at a time."
            )
        return _single, model._params()
    if hasattr(model, "_graph"):  # a network
        state = model._state
        return _Logits(model._graph), (state.params, state.rest)
    raise _foreign(model)


def _foreign(stage):
    return TypeError(
        f"estimator is or holds a {type(stage).__name__} of {type(stage).__module__}, expected "
        "models, scalers and components of jaxfound: for others take sklearn.inspection."
    )


def _narrow(params):
    two_classes = params.coef.shape[1] == 1
    return jax.tree.map(lambda p: p[..., 0], params) if two_classes else params


def _single(params, x):
    return svm.decision(params, x)[:, 0]


@dataclasses.dataclass(frozen=True)
class _Logits:
    graph: Any

    def __call__(self, params: Any, x: Any) -> Any:
        return train.predict(self.graph, *params, x)


def _probabilities(params, scores):
    del params
    if scores.ndim == 2:
        return jax.nn.softmax(scores)
    return jnp.stack([jax.nn.sigmoid(-scores), jax.nn.sigmoid(scores)], axis=1)


def _labels(params, scores):
    del params
    return scores.argmax(1) if scores.ndim == 2 else (scores > 0).astype(int)


_LINEAR = (
    linear_estimators.LinearRegression,
    linear_estimators.Ridge,
    linear_estimators.GradientDescentRegressor,
)
_OUTPUTS = {"predict_proba": _probabilities, "predict": _labels}
