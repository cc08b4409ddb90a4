"""A learning curve of 50 fits as one compiled program: folds and sizes are row weights."""

from typing import Any, NamedTuple

import jax
import numpy as np
from sklearn import svm as reference
from sklearn.datasets import make_classification
from sklearn.model_selection import LearningCurveDisplay, StratifiedKFold, learning_curve

from jaxfound._types import Array, Float, Int
from jaxfound.experiments.figures import BLUE, ORANGE, panel
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson
from jaxfound.metrics import accuracy
from jaxfound.models import svm

__all__ = ["Masks", "fold_masks", "learning_curve_scores", "run"]

SHARES = np.linspace(0.1, 1.0, 10)
FOLDS = 5


class Masks(NamedTuple):
    """One row of weights a fit: which rows are trained on, and which are held out."""

    train: Any  # bool [s f n]
    test: Any


@lesson(
    name="svm-learning-curve",
    title="A learning curve is one program",
    order=120,
    tags=("classification", "kernels", "model-selection"),
)
def run(quick: bool) -> Result:
    del quick  # one program is quick as it is
    data: Any = make_classification(n_samples=1000, n_features=20, random_state=42)
    x, y = data
    masks, sizes = fold_masks(y, SHARES)

    def ours():
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, learning_curve_scores(x, y.astype(np.int32), masks))

    def theirs():
        return learning_curve(reference.SVC(), x, y, cv=FOLDS, train_sizes=SHARES)[1:]

    timed = race(ours, {"scikit-learn": theirs})
    (train, test), (their_train, their_test) = timed.ours.value, timed.theirs["scikit-learn"].value
    return Result(
        checks=(
            Check("held-out accuracy", test, their_test, "scikit-learn", 1e-12),
            Check("training accuracy", train, their_train, "scikit-learn", 1e-12),
        ),
        figures={
            "Accuracy by the number of training rows, mean and band of five folds": _draw(
                sizes, train, test
            )
        },
        formula="train row ⇔ weight 1    held-out row ⇔ weight 0",
        notes=(
            "Ten sizes times five folds are fifty rows of weights over the same thousand rows, so "
            "one compiled program fits them all, each to its own end. A row of weight 0 takes no "
            "part in the fit, and its decision is known at the end of it."
        ),
        race=timed,
    )


def fold_masks(y, shares) -> tuple[Masks, np.ndarray]:
    """The folds of `StratifiedKFold`, and of each the first rows in every size."""
    folds = list(StratifiedKFold(FOLDS).split(np.zeros(len(y)), y))
    sizes = (np.asarray(shares) * min(len(train) for train, _ in folds)).astype(int)
    train, test = masks = Masks(*np.zeros((2, len(sizes), FOLDS, len(y)), bool))
    for fold, (inside, outside) in enumerate(folds):
        test[:, fold, outside] = True
        for size, mask in zip(sizes, train[:, fold], strict=True):
            mask[inside[:size]] = True
    return masks, sizes


@jax.jit
def learning_curve_scores(
    x: Float[Array, "n d"], y: Int[Array, " n"], masks: Masks
) -> tuple[Float[Array, "s f"], Float[Array, "s f"]]:
    """Accuracy on the rows trained on and on those held out; the lanes are those of `svm.fit`."""

    def lane(train, test):
        _, _, scores = svm.fit_with_scores(x, y, train.astype(x.dtype))
        predicted = (scores >= 0).astype(y.dtype)
        return [accuracy(y, predicted, mask.astype(x.dtype)) for mask in (train, test)]

    lanes = jax.tree.map(lambda mask: mask.reshape(-1, len(y)), masks)
    train, test = jax.lax.map(lambda lane_masks: lane(*lane_masks), tuple(lanes))
    shape = masks.train.shape[:2]
    return train.reshape(shape), test.reshape(shape)


def _draw(sizes, train, test):
    figure, axes = panel(xlabel="training rows", ylabel="accuracy")
    display: Any = LearningCurveDisplay(
        train_sizes=sizes, train_scores=train, test_scores=test, score_name="accuracy"
    )
    display.plot(ax=axes, std_display_style="fill_between")
    for line, band, colour in zip(
        display.lines_, display.fill_between_, (BLUE, ORANGE), strict=True
    ):
        line.set(color=colour, marker="o", markersize=4)
        band.set(color=colour, alpha=0.18, linewidth=0)
    axes.set(xlabel="training rows", ylabel="accuracy")
    axes.legend(axes.lines, ["training", "held out"], loc="center right")
    return figure
