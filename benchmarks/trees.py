"""Rows of trees and forests, which are judged by their scores on new rows."""

from functools import partial

import numpy as np

from benchmarks import baselines
from benchmarks.case import Case, Contender

__all__ = ["NumpyTree", "forest", "judged"]


class NumpyTree:
    """The baseline, which is as deep as it is told, with the method that judges it."""

    depth = 8

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        self._tree = baselines.tree(X, y, self.depth)
        return self

    def score(self, X, y):
        return np.mean(baselines.predict_tree(self._tree, X) == y)


def judged(name, estimator, data, size, tolerance, *, module, numpy=None, **options):
    """A row whose answers are scores on new rows: ties are broken by other random numbers."""

    def halves(rng, n, d):
        return tuple(part[:n] for part in data(rng, 2 * n, d))

    def score(model):
        n = model.score_rows
        new = [part[n:] for part in data(None, 2 * n, model.n_features_in_)]
        return np.array([model.score(np.asarray(new[0], np.float32), new[1])])

    def contender(library, make_model):
        def fit(X, y):
            model = make_model().fit(X, y)
            model.score_rows = len(X)
            return model

        return Contender(library, lambda: fit, score)

    def named(library, module):
        def make():
            cls = getattr(__import__(module, fromlist=["_"]), estimator)
            return cls(random_state=0, **options)

        return contender(library, make)

    own = {"numpy": contender("numpy", numpy)} if numpy else {}
    faster = module.replace("sklearn.", "sklearnex.", 1)
    theirs = named("sklearn", module)
    return Case(
        name,
        "forest",
        halves,
        {
            "jax": named("jax", "jaxfound"),
            "sklearn": theirs,
            "sklearnex": named(faster, faster),
            **own,
        },
        lambda X, y: theirs.answer(theirs.make()(X, y)),
        tolerance,
        {"small": ((500, size[1]),), "medium": (size,), "large": (size,)},
        dtypes=("float32",),
        resident=False,
    )


forest = partial(judged, module="sklearn.ensemble", n_jobs=-1)
