"""One look for all figures: small panels that stay readable on a phone."""

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["BLUE", "GREY", "INK", "ORANGE", "STYLE", "panel", "png"]

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


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
