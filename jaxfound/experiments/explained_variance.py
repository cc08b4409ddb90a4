"""How much of the variance each principal component explains."""

import numpy as np
from sklearn.decomposition import PCA

import jaxfound as jf
from jaxfound.experiments.figures import BLUE, GREY, ORANGE, panel
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["run"]


@lesson(
    name="explained-variance",
    title="Explained variance of principal components",
    question="How many directions does a table of numbers really have?",
    meaning=(
        "Three independent columns give three directions of about equal weight, as they should. "
        "Where a few shares tower above the rest, a table can be shortened without losing much."
    ),
    order=90,
    tags=("pca", "unsupervised"),
)
def run(quick: bool) -> Result:
    del quick  # a hundred points take no time
    x = jf.StandardScaler().fit_transform(_points())
    timed = race(
        lambda: jf.PCA().fit(x).explained_variance_ratio_,
        {
            "scikit-learn": lambda: PCA().fit(x).explained_variance_ratio_,
            "NumPy": lambda: _by_hand(x),
        },
    )
    return Result(
        checks=tuple(
            Check(what, timed.ours.value[part], rival.value[part], name, 1e-6)
            for what, part in (("first explained variance ratio", 0), ("all ratios", slice(None)))
            for name, rival in timed.theirs.items()
        ),
        figures={"The share of each component in the variance": _draw(timed.ours.value)},
        formula="λᵢ / Σⱼ λⱼ,   S vᵢ = λᵢ vᵢ",
        notes=(
            "The three columns are independent and standardised, so every direction holds about a "
            "third of the variance, and what rises above it is chance. The components are "
            "eigenvectors of the covariance matrix, and their shares are its eigenvalues over "
            "their sum."
        ),
        race=timed,
    )


def _points():
    random = np.random.RandomState(42)  # what np.random.seed(42) starts: the classic lesson
    return random.randn(100, 3)


def _by_hand(x):
    values = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    return values / values.sum()


def _draw(ratio):
    figure, axes = panel(xlabel="principal component", ylabel="share of the variance")
    place = np.arange(1, len(ratio) + 1)
    bars = axes.bar(place, ratio, color=BLUE, width=0.6, label="each component")
    axes.bar_label(bars, [f"{r:.1%}" for r in ratio], label_type="center", color="white")
    axes.plot(place, np.cumsum(ratio), "o-", color=ORANGE, label="together")
    axes.axhline(1 / len(ratio), color=GREY, linestyle="--", linewidth=1, label="equal shares")
    axes.set(xticks=place, ylim=(0, 1.1))
    axes.legend(loc="upper left")
    return figure
