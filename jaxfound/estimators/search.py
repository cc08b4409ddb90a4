"""scikit-learn's searches, all candidates and folds of which are one compiled program."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sklearn import model_selection as reference
from sklearn.base import is_classifier
from sklearn.experimental import enable_halving_search_cv
from sklearn.metrics import check_scoring
from sklearn.utils import indexable

from jaxfound.estimators._experiment import Limits, prepared, run, scorers_of, variant

__all__ = ["GridSearchCV", "HalvingGridSearchCV", "RandomizedSearchCV", "halving_is_visible"]

halving_is_visible = enable_halving_search_cv is not None  # its import is what makes it so


_Search: Any = object  # what the methods below find beside them, see `GridSearchCV`


class _OneProgram(_Search):
    """`fit` of a search of scikit-learn's, whose other methods are as they are there."""

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        memory: str | int | None = None,
        journal: str | Path | None = None,
    ) -> Any:
        """Tries all candidates on `X` `[n d]` and `y`; then fits the best to all rows.

        Args:
          sample_weight: `[n]`, of the fits; scores are not weighted.
          groups: `[n]`, of the splitter.
          memory: bytes, or such as "4GiB", that the temporary arrays may take; None is no limit.
          journal: a file for finished fits, from which a search that was killed goes on.

        Raises:
          TypeError: for an estimator that is not jaxfound's.
          ValueError: for bad data, splits or scoring.
        """
        X, y = indexable(X, y)
        scorers, self.multimetric_ = scorers_of(self.estimator, self.scoring)
        if self.multimetric_:
            self._check_refit_for_multimetric(dict(scorers))
        self._n_samples_orig = len(y)
        cv: Any = reference.check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        self._checked_cv_orig = cv
        self._check_input_parameters(X=X, y=y, split_params={"groups": groups})
        self.n_splits_ = cv.get_n_splits(X, y, groups)
        data = prepared(self.estimator, X, y, sample_weight)
        limits = Limits(memory, journal)
        self._choose(self._search(data, X, y, groups, scorers, limits))
        if self.refit:
            self._refit(X, y, {} if sample_weight is None else {"sample_weight": sample_weight})
        return self

    def _search(self, data, X, y, groups, scorers, limits):
        known: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        extra: defaultdict[str, list[Any]] = defaultdict(list)
        results: dict[str, Any] = {}
        grouped = {} if groups is None else {"groups": groups}

        def evaluate(candidate_params, cv=None, more_results=None, callback_ctx=None):
            nonlocal results
            del callback_ctx
            candidates = list(candidate_params)
            splits = list((cv or self._checked_cv_orig).split(X, y, **grouped))
            known.extend(candidates)
            rows.extend(self._scored(candidates, data, splits, scorers, limits))
            for key, values in (more_results or {}).items():
                extra[key].extend(values)
            results = self._format_results(known, len(splits), rows, extra)
            return results

        context = self._init_callback_context(max_subtasks=2)
        context = context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        self._run_search(evaluate, callback_ctx=context)
        context.call_on_fit_task_end(estimator=self)
        return results

    def _scored(self, candidates, data, splits, scorers, limits):
        """One dictionary a fit, as scikit-learn's own loop would return them."""
        models = [variant(self.estimator, settings) for settings in candidates]
        with _bar(self.verbose, len(models) * len(splits)) as progress:
            limits = limits._replace(progress=progress)
            options: Any = {"with_train": self.return_train_score, "limits": limits}
            found = run(models, data, splits, scorers, **options)
        seconds = found.seconds / (len(models) * len(splits))

        def pick(scores, place):
            values = {name: array[place] for name, array in scores.items()}
            return values if self.multimetric_ else values["score"]

        rows = []
        for place in product(range(len(models)), range(len(splits))):
            row = {"fit_time": seconds, "score_time": 0.0, "test_scores": pick(found.test, place)}
            if self.return_train_score:
                row["train_scores"] = pick(found.train, place)
            rows.append(row)
        return rows

    def _choose(self, results):
        self.cv_results_ = results
        metric = self.refit if self.multimetric_ else "score"
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, metric, results)
            if not callable(self.refit):
                self.best_score_ = results[f"mean_test_{metric}"][self.best_index_]
            self.best_params_ = results["params"][self.best_index_]
        if hasattr(self, "n_candidates_"):  # halving chooses among the candidates that are left
            self.best_score_ = results["mean_test_score"][self.best_index_]

    def _refit(self, X, y, weight):
        self.best_estimator_ = variant(self.estimator, self.best_params_)
        start = time.perf_counter()
        self.best_estimator_.fit(X, y, **weight)
        self.refit_time_ = time.perf_counter() - start
        if hasattr(self.best_estimator_, "feature_names_in_"):
            self.feature_names_in_ = self.best_estimator_.feature_names_in_

    @property
    def scorer_(self):
        """What `score` calls: scikit-learn's scorer, or the metric on predictions."""
        scoring = self.scoring
        if scoring is None or isinstance(scoring, str):
            return check_scoring(self.estimator, scoring)
        if callable(scoring):
            return lambda model, X, y: np.asarray(scoring(y, model.predict(X), None))[()]
        return {name: check_scoring(self.estimator, name) for name in scoring}


class GridSearchCV(_OneProgram, reference.GridSearchCV):
    """`sklearn.model_selection.GridSearchCV`, every candidate and fold in one program.

    Args and attributes are scikit-learn's. `n_jobs`, `pre_dispatch` and `error_score` have no
    effect; `scoring` is a name, a jittable metric of `(y, prediction, weight)`, or several of
    them; times are those of all fits together, shared out evenly.
    """


class RandomizedSearchCV(_OneProgram, reference.RandomizedSearchCV):
    """`sklearn.model_selection.RandomizedSearchCV`, in one program; see `GridSearchCV`."""


class HalvingGridSearchCV(_OneProgram, reference.HalvingGridSearchCV):
    """`sklearn.model_selection.HalvingGridSearchCV`, a program a round; see `GridSearchCV`."""


@contextlib.contextmanager
def _bar(verbose: int, total: int) -> Iterator[Callable[[int, Any], None]]:
    """Shows fits done, fits a second and the best score so far; nothing without a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.completed}/{task.total} fits"),
        BarColumn(),
        TextColumn("{task.speed:.0f} fits/s, best {task.fields[best]:.4g}"),
        TimeRemainingColumn(),
    )
    if not (verbose and console.is_terminal):
        yield lambda n, scores: None
        return
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("", total=total, best=-np.inf)

        def progress(n, scores):
            best = max(np.nanmax(next(iter(scores.test.values()))), display.tasks[0].fields["best"])
            display.update(task, advance=n, best=best)

        yield progress
