"""What the lanes of an experiment share, and how few rows they read: set before it is traced."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jaxfound._types import Array, Float
from jaxfound.model_selection import lanes
from jaxfound.numerics.reduce import ONE_BLOCK

__all__ = ["neighbours", "sorted_by", "with_candidates", "with_few_rows"]

_MOST_SCORES = 2**22  # rows times candidates that are fitted at once
_MOST_IN_A_BLOCK = 8  # candidates that share stages or a matrix, where fits follow one another
_PARTS = 16  # of all rows: so many sizes a fit can be cut to, since each is another program


def with_candidates(
    task: lanes.Task, hypers: Any, varies: Sequence[bool], n_candidates: int, x: Any
) -> lanes.Task:
    """The task of these candidates, which share what does not depend on them, with rows `x`.

    Those of a model that fits them `in_lock_step` share their passes over the rows; those of other
    models share the stages before it, and `neighbours` what the model lets them share, or where
    to start.
    """
    model, config = _last_stage(task.model, task.config)
    lock_step, on_a_path = (
        getattr(model, name, _never)(config, *x.shape) for name in ("in_lock_step", "on_a_path")
    )
    task = dataclasses.replace(task, varies=tuple(varies), in_lock_step=lock_step)
    staged = hasattr(task.model, "stages")
    if staged and any(varies[: -len(jax.tree.leaves(hypers[-1]))]):
        return task
    if lanes.knows_scores(model, config):
        alike = _divisor(_agreeing(task.model, hypers, n_candidates), _MOST_IN_A_BLOCK)
        if alike > 1:
            return dataclasses.replace(task, width=alike, alike=True)
    most = _MOST_IN_A_BLOCK if staged or on_a_path else 1
    if lock_step:
        most = max(1, _MOST_SCORES // max(1, len(x)))
    return dataclasses.replace(task, width=_divisor(n_candidates, most), on_a_path=on_a_path)


def _never(config, n, d):
    del config, n, d
    return False


def neighbours(model: Any, hypers: Any, n_candidates: int) -> np.ndarray:
    """An order of the candidates in which those that may share something are neighbours."""
    keys = _known(sorted_by(model, hypers))
    return np.lexsort(keys[::-1]) if keys else np.arange(n_candidates)


def sorted_by(model: Any, hyper: Any) -> tuple[Any, ...]:
    """The leaves of a hyper that put candidates in order: what they may share, and their path."""
    last, of_last = _last_stage(model, hyper)
    along = (getattr(of_last, last.PATH),) if hasattr(last, "PATH") else ()
    return (*_shared_by(model, hyper), *along)


def _shared_by(model, hyper):
    """The leaves of a hyper that decide which fits may share something."""
    model, hyper = _last_stage(model, hyper)
    leaves = (getattr(hyper, name) for name in getattr(model, "SHARED_BY", ()))
    return tuple(leaf for leaf in leaves if leaf is not None)


def _last_stage(model, of_stages):
    """The last model of a pipeline with what belongs to it; of a model alone, the two as given."""
    return (model.stages[-1], of_stages[-1]) if hasattr(model, "stages") else (model, of_stages)


def _known(leaves):
    """Those with an axis of candidates, `[h]` each; None where a program is still traced."""
    keys = [leaf for leaf in leaves if leaf.ndim]
    return None if any(isinstance(leaf, Tracer) for leaf in keys) else keys


def _agreeing(model, hypers, n_candidates):
    """The most neighbours such that, block by block, all can share something."""
    keys = _known(_shared_by(model, hypers))
    if keys is None:
        return 1
    order = neighbours(model, hypers, n_candidates)
    ends = [np.flatnonzero(np.diff(np.asarray(leaf)[order])) + 1 for leaf in keys]
    return int(np.gcd.reduce([n_candidates, *itertools.chain(*ends)]))


def _divisor(n, most):
    return max(w for w in range(1, min(n, most) + 1) if n % w == 0)


def with_few_rows(
    task: lanes.Task, train: Float[Array, "m n"], test: Float[Array, "m n"]
) -> lanes.Task:
    """The task that reads no more rows than these masks need, where they are known and few."""
    if isinstance(train, Tracer) or isinstance(test, Tracer):
        return task
    n, fitted, judges = train.shape[1], _most_rows(train), _most_rows(test)
    parts = -(-fitted * _PARTS // n)
    # A kernel machine knows what it decides for rows left out; many rows cost more to copy.
    knows = lanes.knows_scores(*_last_stage(task.model, task.config))
    if n <= ONE_BLOCK and parts < _PARTS and not knows:
        task = dataclasses.replace(task, n_train=-(-n * parts // _PARTS))
    elif task.with_train:  # the same outputs serve both scores
        return task
    # Halves of halves, so that another number of folds is seldom another program.
    halvings = (n // judges).bit_length() - 1
    return dataclasses.replace(task, n_test=-(-n >> halvings) if halvings else None)


def _most_rows(masks):
    return max(1, int((np.asarray(masks) > 0).sum(1).max()))
