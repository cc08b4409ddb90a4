"""Real data: every linear model against scikit-learn's on diabetes, breast cancer and digits."""

from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets, linear_model
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import jaxfound as jf
from jaxfound.experiments.figures import BLUE, GREY, ORANGE, panel
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["Case", "Split", "run"]

CLOSED_FORM, ITERATIVE = 1e-8, 1e-4  # how far two right answers may lie apart
ROUNDING = 1e-17  # nothing smaller is a difference


class Split(NamedTuple):
    x_train: Any
    x_test: Any
    y_train: Any
    y_test: Any


class Case(NamedTuple):
    """One data set, our unfitted model for it, and scikit-learn's."""

    name: str
    split: Split
    ours: Any
    theirs: Any
    tolerance: float


@lesson(
    name="real-data",
    title="Linear models on real data",
    question="Do the linear models agree with scikit-learn on real patients and real handwriting?",
    meaning=(
        "Scores and single predictions on medical tables and scanned digits are those of "
        "scikit-learn. Existing work can be moved without its results changing."
    ),
    order=80,
    tags=("regression", "classification", "real"),
)
def run(quick: bool) -> Result:
    del quick  # the data are small; fewer digits would leave pixels that move only together
    tables = {
        "diabetes": datasets.load_diabetes(return_X_y=True),
        "breast cancer": datasets.load_breast_cancer(return_X_y=True),
        "digits": datasets.load_digits(return_X_y=True),
    }
    raw = {
        name: Split(*train_test_split(x, y, test_size=0.2, random_state=0))
        for name, (x, y) in tables.items()
    }
    splits = {name: _standardised(split, jf.StandardScaler()) for name, split in raw.items()}
    cases = _cases(splits)
    timed = race(
        lambda: [case.ours.fit(case.split.x_train, case.split.y_train) for case in cases],
        {
            "scikit-learn": lambda: [
                case.theirs.fit(case.split.x_train, case.split.y_train) for case in cases
            ]
        },
    )
    scores = [_score_check(case) for case in cases]
    predictions = [_prediction_check(case) for case in cases]
    scaling = [_scaling_check(name, raw[name], splits[name]) for name in raw]
    return Result(
        checks=(*scores, *predictions, *scaling),
        figures={
            "Scores on the fifth of each data set that was held out": _draw_scores(scores),
            "The farthest that any prediction lies from scikit-learn's": _draw_gaps(predictions),
        },
        formula="min Σ (yᵢ − ŷᵢ)² + α‖w‖²    min C Σ log loss + ½‖w‖²",
        notes=(
            "Columns are standardised with the mean and the scale of the training rows. The "
            "regressions predict the progress of diabetes, and elsewhere an indicator of each "
            "class (scored by R²); the logistic regressions predict the class (scored by "
            "accuracy). All fits are convex, so two right programs must find the same optimum."
        ),
        race=timed,
    )


def _standardised(split, scaler):
    """Both halves in units of the training half, without the pixels that never change there."""
    scaler.fit(split.x_train)
    kept = split.x_train.std(axis=0) > 0
    return split._replace(
        x_train=scaler.transform(split.x_train)[:, kept],
        x_test=scaler.transform(split.x_test)[:, kept],
    )


def _cases(splits) -> list[Case]:
    tight = {"tol": 1e-10, "max_iter": 10_000}  # so that both stop at the optimum, not near it
    cases = []
    for data, split in splits.items():
        target = split if data == "diabetes" else _indicators(split)
        ours, theirs = jf.LinearRegression(), linear_model.LinearRegression()
        cases.append(Case(f"{data}, least squares", target, ours, theirs, CLOSED_FORM))
        ours, theirs = jf.Ridge(alpha=1.0), linear_model.Ridge(alpha=1.0, solver="cholesky")
        cases.append(Case(f"{data}, ridge", target, ours, theirs, CLOSED_FORM))
        if data != "diabetes":
            ours = jf.LogisticRegression(C=1.0, **tight)
            theirs = linear_model.LogisticRegression(C=1.0, **tight)
            cases.append(Case(f"{data}, logistic", split, ours, theirs, ITERATIVE))
    return cases


def _indicators(split):
    """One column of zeros and ones for each class: labels that a regression can predict."""
    classes = np.unique(split.y_train)
    return split._replace(
        y_train=(split.y_train[:, None] == classes).astype(float),
        y_test=(split.y_test[:, None] == classes).astype(float),
    )


def _score_check(case):
    ours, theirs = (
        model.score(case.split.x_test, case.split.y_test) for model in (case.ours, case.theirs)
    )
    return Check(f"{case.name}: score", ours, theirs, "scikit-learn", CLOSED_FORM)


def _prediction_check(case):
    ours, theirs = (
        getattr(model, "predict_proba", model.predict)(case.split.x_test)
        for model in (case.ours, case.theirs)
    )
    return Check(f"{case.name}: predictions", ours, theirs, "scikit-learn", case.tolerance)


def _scaling_check(name, raw, ours):
    theirs = _standardised(raw, StandardScaler())
    return Check(f"{name}: scaling", ours.x_test, theirs.x_test, "scikit-learn", 1e-10)


def _draw_scores(checks):
    figure, axes = panel(xlabel="R² or accuracy", ylabel="")
    names = [check.name.removesuffix(": score") for check in checks]
    ours, theirs = zip(*((check.ours, check.reference) for check in checks), strict=True)
    axes.plot(theirs, names, "o", color=ORANGE, markersize=12, mfc="none", label="scikit-learn")
    axes.plot(ours, names, "o", color=BLUE, markersize=6, label="jaxfound")
    axes.set(xlim=(0, 1.02))
    return _read_downwards(figure, axes)


def _draw_gaps(checks):
    figure, axes = panel(xlabel="largest difference", ylabel="")
    names = [check.name.removesuffix(": predictions") for check in checks]
    found = [max(check.gap.size, ROUNDING) for check in checks]  # a logarithm has no zero
    allowed = [check.tolerance for check in checks]
    axes.hlines(names, ROUNDING, found, color=BLUE, linewidth=1)
    axes.semilogx(found, names, "o", color=BLUE, label="found")
    axes.semilogx(allowed, names, "|", color=GREY, markersize=14, mew=2, label="allowed")
    axes.set(xlim=(ROUNDING, 1e-3), xticks=[1e-16, 1e-12, 1e-8, 1e-4])
    return _read_downwards(figure, axes)


def _read_downwards(figure, axes):
    axes.invert_yaxis()
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return figure
