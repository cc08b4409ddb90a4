"""The search that scikit-learn does not have: settings follow the gradient of the score."""

from collections.abc import Callable, Sequence
from typing import Any

import optax
from sklearn import model_selection as reference
from sklearn.base import is_classifier
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import indexable

from jaxfound._checks import check_number, check_whole
from jaxfound.estimators._base import all_or_nothing
from jaxfound.estimators._experiment import climbed, prepared, scorers_of
from jaxfound.estimators.search import OneProgram, called_scorer

__all__ = ["GradientSearchCV"]

_Search: Any = BaseSearchCV


class GradientSearchCV(OneProgram, _Search):
    r"""Learns settings of an estimator by the gradient of its cross-validated score.

    The cost of a step does not depend on the number of settings. It climbs from where the
    estimator stands, so that it finds the nearest maximum; a penalty a feature is learned by
    `model_selection.hypergrad`, which this calls.

    Args:
      estimator: one of jaxfound's, or a `Pipeline` of them.
      names: the settings to learn, such as `["alpha"]` or `["svr__C", "svr__gamma"]`: positive
        numbers, and the start is what they are in `estimator`.
      scoring: a name or a jittable metric of `(y, prediction, weight)` with a slope; None is "r2",
        or "neg_log_loss" for a classifier.
      n_steps: of the optimiser.
      learning_rate: about the change of the logarithm of a setting in a step.
      optimizer: any of optax's, from its learning rate.
      refit: whether the best is then fitted to all rows.
      cv: as scikit-learn's.

    Attributes:
      best_params_, best_score_, best_estimator_, refit_time_, n_splits_: as in a grid search.
      trajectory_: `[n_steps + 1]`, the mean score of the start and after each step.

    Example:
      >>> penalty = GradientSearchCV(Ridge(), ["alpha"]).fit(X, y).best_params_["alpha"]
    """

    def __init__(
        self,
        estimator: Any,
        names: Sequence[str],
        *,
        scoring: Any = None,
        n_steps: int = 100,
        learning_rate: float = 0.1,
        optimizer: Callable[..., optax.GradientTransformation] = optax.adam,
        refit: bool = True,
        cv: Any = None,
    ):
        self.estimator = estimator
        self.names = names
        self.scoring = scoring
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.refit = refit
        self.cv = cv

    @all_or_nothing
    def fit(
        self, X: Any, y: Any = None, *, sample_weight: Any = None, groups: Any = None
    ) -> "GradientSearchCV":
        """Climbs on `X` `[n d]` and `y`; then fits the best to all rows.

        Args:
          sample_weight: `[n]`, of the fits; scores are not weighted.
          groups: `[n]`, of the splitter.

        Raises:
          TypeError: for an estimator that is not jaxfound's, or a setting that is no number.
          ValueError: for bad data or splits, a setting that is not positive or that no gradient
            reaches, or a score without a slope.
        """
        X, y = indexable(X, y)
        options = {
            "n_steps": check_whole("n_steps", self.n_steps, least=1),
            "learning_rate": check_number("learning_rate", self.learning_rate, above=0),
            "optimizer": self.optimizer,
        }
        data = prepared(self.estimator, X, y, sample_weight)
        scorers, self.multimetric_ = scorers_of(self.estimator, self._smooth_scoring())
        cv: Any = reference.check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(cv.split(X, y, groups))
        self.n_splits_ = len(splits)
        self.best_params_, found = climbed(
            self.estimator, self.names, data, splits, scorers, **options
        )
        self.best_score_, self.trajectory_ = float(found.score), found.trajectory
        if self.refit:
            self._refit(X, y, {} if sample_weight is None else {"sample_weight": sample_weight})
        return self

    @property
    def scorer_(self):
        """What `score` calls: scikit-learn's scorer, or the metric on predictions."""
        return called_scorer(self.estimator, self._smooth_scoring())

    def _smooth_scoring(self):
        if self.scoring is None:
            return "neg_log_loss" if is_classifier(self.estimator) else "r2"
        return self.scoring

    def _run_search(self, evaluate_candidates):
        raise NotImplementedError  # there are no candidates
