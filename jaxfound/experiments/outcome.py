"""How one lesson ended, and the words for it that the table, the page and the terminal share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from jaxfound.experiments.race import Race
from jaxfound.experiments.registry import Check, Lesson, Result

__all__ = ["Outcome", "duration", "number"]


@dataclass(frozen=True)
class Outcome:
    lesson: Lesson
    result: Result | None = None  # none if the lesson raised
    error: str = ""  # what it raised, in one line
    traceback: str = ""
    pictures: Mapping[str, str] = field(default_factory=dict)  # file name: caption

    @property
    def checks(self) -> tuple[Check, ...]:
        return self.result.checks if self.result else ()

    @property
    def race(self) -> Race | None:
        return self.result.race if self.result else None

    def others(self) -> list[tuple[str, str, str]]:
        """Who else has the first number: their name, their number, and their warm time."""
        first = [check for check in self.checks if check.name == self.checks[0].name]
        numbers = {check.reference_name: number(check.gap.reference) for check in first}
        rivals = self.race.theirs if self.race else {}
        times = {name: duration(rival.warm) for name, rival in rivals.items()}
        return [(name, numbers.get(name, ""), times.get(name, "")) for name in numbers | times]

    @property
    def agrees(self) -> bool:
        return self.result is not None and all(check.agrees for check in self.checks)

    @property
    def verdict(self) -> str:
        if self.result is None:
            return f"failed: {self.error}"
        return f"{sum(check.agrees for check in self.checks)}/{len(self.checks)}"

    def complaints(self) -> Iterator[str]:
        """One sentence for everything that went wrong."""
        if self.error:
            yield f"{self.lesson.name} failed: {self.error}"
        for check in self.checks:
            if not check.agrees:
                ours, reference, size = check.gap
                yield (
                    f"{self.lesson.name} disagrees on {check.name}: jaxfound {ours:.12g}, "
                    f"{check.reference_name} {reference:.12g} "
                    f"(difference {size:.2g}, allowed {check.tolerance:.2g})"
                )


def number(value: float) -> str:
    return f"{value:.5g}"


def duration(seconds: float) -> str:
    """Three digits and the unit that fits: 12.3 ms."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 0.9995:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
