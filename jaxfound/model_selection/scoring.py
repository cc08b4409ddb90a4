"""What a fold is judged by: a metric, the output of the model that it reads, and its sign."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

from jaxfound import metrics

__all__ = ["SCORERS", "Output", "Scorer", "Scoring", "as_scorers"]

Output = Literal["predict", "predict_proba", "decision"]


@dataclasses.dataclass(frozen=True)
class Scorer:
    """Greater is better: `sign * metric(y, output, weight)`."""

    metric: Callable[..., Any]  # jittable; the weight is a mask times the weights of the rows
    output: Output = "predict"  # the function of the model that gives the second argument
    sign: int = 1


SCORERS = {
    "accuracy": Scorer(metrics.accuracy),
    "neg_log_loss": Scorer(metrics.log_loss, "predict_proba", -1),
    "neg_mean_absolute_error": Scorer(metrics.mean_absolute_error, sign=-1),
    "neg_mean_squared_error": Scorer(metrics.mean_squared_error, sign=-1),
    "r2": Scorer(metrics.r2_score),
    "roc_auc": Scorer(metrics.roc_auc, "decision"),
    "roc_auc_ovr": Scorer(metrics.roc_auc, "predict_proba"),
}

# A name of scikit-learn's, a metric of predictions, a `Scorer`, or several of these by name.
Scoring = str | Callable[..., Any] | Scorer | Mapping[str, Any]


def as_scorers(scoring: Scoring) -> tuple[tuple[str, Scorer], ...]:
    """Names and scorers, hashable; a single one has the name "score".

    Raises:
      ValueError: for a name that is not known.
    """
    if isinstance(scoring, Mapping):
        return tuple((name, _as_scorer(given)) for name, given in scoring.items())
    return (("score", _as_scorer(scoring)),)


def _as_scorer(given):
    if isinstance(given, Scorer):
        return given
    if callable(given):
        return Scorer(given)
    if given not in SCORERS:
        known = ", ".join(map(repr, SCORERS))
        raise ValueError(f"scoring is {given!r}, expected one of {known}, or a jittable function.")
    return SCORERS[given]
