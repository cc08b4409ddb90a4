"""One look for all figures: small panels that stay readable on a phone."""

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.model_selection import LearningCurveDisplay

__all__ = [
    "BLUE",
    "GREY",
    "INK",
    "ORANGE",
    "STYLE",
    "learning_curve",
    "panel",
    "picture_grid",
    "png",
]

INK, GREY = "#22272e", "#8b95a1"
BLUE, ORANGE = "#2a6ebb", "#d96b27"  # told apart by colour-blind readers, and in grey

STYLE: dict[Any, Any] = {  # for matplotlib.rc_context
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e7e9ec",
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
}


def panel(*, xlabel: str, ylabel: str, width: float = 5.6) -> tuple[Figure, Axes]:
    """A figure of one panel, without pyplot: no state, no window."""
    figure = Figure(figsize=(width, 3.9), dpi=160, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def picture_grid(rows: int, columns: int, *, width: float = 5.6) -> tuple[Figure, Any]:
    """A figure of panels `[rows columns]` without axes, for images."""
    figure = Figure(figsize=(width, width * rows / columns + 0.4), dpi=160, layout="constrained")
    panels: Any = figure.subplots(rows, columns)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure, panels


def learning_curve(
    sizes: Any, train: Any, test: Any, *, score: str, is_error: bool = False
) -> tuple[Figure, Axes]:
    """Mean and band of the scores `[s f]` by training rows; errors are scores with a minus."""
    figure, axes = panel(xlabel="training rows", ylabel=score)
    display: Any = LearningCurveDisplay(
        train_sizes=sizes, train_scores=train, test_scores=test, score_name=score
    )
    display.plot(ax=axes, negate_score=is_error, std_display_style="fill_between")
    for line, band, colour in zip(
        display.lines_, display.fill_between_, (BLUE, ORANGE), strict=True
    ):
        line.set(color=colour, marker="o", markersize=4)
        band.set(color=colour, alpha=0.18, linewidth=0)
    axes.set(xlabel="training rows", ylabel=score)
    return figure, axes


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
