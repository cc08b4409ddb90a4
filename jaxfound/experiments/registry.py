"""What a lesson is, what it returns, and where to find them all."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:  # the list of lessons is printed without loading any of these
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from jaxfound.experiments.race import Race

__all__ = ["Check", "Gap", "Lesson", "Result", "catalogue", "lesson"]


class Gap(NamedTuple):
    """The entry in which our number is farthest from its reference."""

    ours: float
    reference: float
    size: float  # |ours - reference| / max(1, |reference|): absolute below 1, relative above


@dataclass(frozen=True)
class Check:
    """One number (or array of them) of ours, and the one that it must equal."""

    name: str
    ours: ArrayLike
    reference: ArrayLike
    reference_name: str  # scikit-learn, NumPy or exact
    tolerance: float  # of the gap's size

    def __post_init__(self) -> None:
        ours, reference = np.shape(self.ours), np.shape(self.reference)
        if ours != reference:  # broadcasting would compare the wrong pairs
            raise ValueError(
                f"{self.name}: ours has shape {ours}, the reference {reference}; "
                "give both the same shape"
            )

    @cached_property
    def gap(self) -> Gap:
        ours, reference = np.asarray(self.ours, float), np.asarray(self.reference, float)
        with np.errstate(invalid="ignore"):
            sizes = np.abs(ours - reference) / np.maximum(1, np.abs(reference))
        worst = np.argmax(sizes)  # a NaN counts as the largest
        return Gap(float(ours.flat[worst]), float(reference.flat[worst]), float(sizes.flat[worst]))

    @property
    def agrees(self) -> bool:
        return self.gap.size <= self.tolerance  # false for NaN


@dataclass(frozen=True)
class Result:
    """What a lesson found. The first check is its headline in the table."""

    checks: tuple[Check, ...]
    figures: Mapping[str, Figure]  # by caption
    notes: str  # the mathematics, in two sentences
    formula: str = ""  # the one to set apart, in plain Unicode
    race: Race | None = None  # none where nobody else does the same work

    def __post_init__(self) -> None:
        if not self.checks:
            raise ValueError("the result has no checks: compare at least one number")


@dataclass(frozen=True)
class Lesson:
    """The card of a lesson; `run` loads what it needs."""

    name: str
    title: str
    question: str = ""
    meaning: str = ""
    order: int = 0
    tags: tuple[str, ...] = ()
    module: str = field(default="", repr=False)

    def run(self, quick: bool) -> Result:
        import_module(self.module)
        return _RUNNERS[self.name](quick)

    def matches(self, text: str) -> bool:
        """Whether `text` is one of the tags or a part of the name."""
        return text in self.tags or text in self.name


_RUNNERS: dict[str, Callable[[bool], Result]] = {}


def lesson(
    *,
    name: str,
    title: str,
    question: str = "",
    meaning: str = "",
    order: int = 0,
    tags: tuple[str, ...] = (),
) -> Any:
    """Registers a function `run(quick) -> Result` as the lesson `name`.

    Every argument is a literal, because `catalogue` reads it from the source.

    Args:
      question: what the lesson answers, for a reader who knows no mathematics.
      meaning: what its numbers mean to that reader, in two sentences.
      order: the place in the course, counted in tens as a BASIC programmer would, to leave room
        between.
      tags: words by which `jaxfound run --only` finds it.
    """
    del title, question, meaning, order, tags

    def register(run: Callable[[bool], Result]) -> Callable[[bool], Result]:
        _RUNNERS[name] = run
        return run

    return register


def catalogue() -> dict[str, Lesson]:
    """All lessons by name, in the order of the course.

    The decorators are read from the source: importing the lessons would load JAX, scikit-learn
    and Matplotlib only to print their titles, and one broken lesson would hide the others.
    """
    found = [card for path in Path(__file__).parent.glob("*.py") for card in _cards(path)]
    return {card.name: card for card in sorted(found, key=lambda card: (card.order, card.name))}


def _cards(path: Path) -> Iterator[Lesson]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for call in getattr(node, "decorator_list", ()):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "lesson":
                card = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
                yield Lesson(module=f"{__package__}.{path.stem}", **card)
