"""Runs lessons one after the other, shows them in a live table, and writes the report."""

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import matplotlib
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jaxfound.experiments.figures import STYLE, png
from jaxfound.experiments.outcome import Outcome, duration, number
from jaxfound.experiments.pages import write_atomically
from jaxfound.experiments.reference import write_reference
from jaxfound.experiments.registry import Lesson, Result
from jaxfound.experiments.report import write_report

__all__ = ["Course", "run_lesson", "run_lessons"]


class Course(NamedTuple):
    """All lessons that ended, and whether Ctrl-C ended the rest."""

    outcomes: list[Outcome]
    interrupted: bool


def run_lessons(lessons: Sequence[Lesson], *, quick: bool, out: Path, console: Console) -> Course:
    """Runs every lesson, whatever the others do. The report always has the lessons that ended."""
    outcomes, interrupted = [], False
    write_reference(out)
    # No refresh from a second thread: it would run into the times that the lessons measure.
    with Live(console=console, auto_refresh=False) as live:
        try:
            for lesson in lessons:
                live.update(_table(outcomes, out, running=lesson), refresh=True)
                outcomes.append(run_lesson(lesson, quick=quick, out=out))
                write_report(out, outcomes, planned=len(lessons))
        except KeyboardInterrupt:
            interrupted = True
            write_report(out, outcomes, planned=len(lessons))
        live.update(_table(outcomes, out), refresh=True)
    return Course(outcomes, interrupted)


def run_lesson(lesson: Lesson, *, quick: bool, out: Path) -> Outcome:
    """Runs one lesson and saves its figures. A lesson that raises is an outcome, too."""
    jax.clear_caches()  # so that a cold time does not depend on the lessons before
    try:
        with matplotlib.rc_context(STYLE):
            result = lesson.run(quick)
            return Outcome(lesson, result, pictures=_save_figures(lesson, result, out))
    except Exception as error:
        one_line = f"{type(error).__name__}: {error}".partition("\n")[0]
        return Outcome(lesson, error=one_line, traceback=traceback.format_exc())


def _save_figures(lesson: Lesson, result: Result, out: Path) -> dict[str, str]:
    pictures = {}
    for place, (caption, figure) in enumerate(result.figures.items(), start=1):
        name = f"{lesson.name}-{place}.png"
        write_atomically(out / name, png(figure))
        pictures[name] = caption
    return pictures


def _table(outcomes: Sequence[Outcome], out: Path, running: Lesson | None = None) -> Table:
    """Narrow enough for a terminal of eighty columns: what belongs to a lesson is stacked."""
    page = Text(f"Report: {out / 'index.html'}")
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=page, caption_justify="left")
    table.add_column("lesson", overflow="fold", min_width=23)  # of the longest file name
    table.add_column("jaxfound", max_width=13)  # of a time; what a lesson raised is wrapped
    table.add_column("reference")
    for heading in ("theirs", "warm", "agree"):
        table.add_column(heading, justify="right", no_wrap=True)
    for outcome in outcomes:
        table.add_row(*_cells(outcome))
    if running:
        table.add_row(Text(running.name), Text("running", style="dim"))
    return table


def _cells(outcome: Outcome) -> tuple[Text, ...]:
    name = Text(outcome.lesson.name, style="bold")
    if outcome.result is None:
        return name, Text(outcome.verdict, style="bold red")
    first, race = outcome.checks[0], outcome.race
    lesson = Text("\n").join((name, *map(Text, (first.name, *outcome.pictures)), Text()))
    ours = [number(first.gap.ours)]
    if race:
        ours += [f"{duration(race.ours.cold)} cold", f"{duration(race.ours.warm)} warm"]
    theirs = ("\n".join(column) for column in zip(*outcome.others(), strict=True))
    verdict = Text(outcome.verdict, style="green" if outcome.agrees else "bold red")
    return (lesson, Text("\n".join(ours)), *map(Text, theirs), verdict)
