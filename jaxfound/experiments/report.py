"""The pages of a run: one a lesson, and an index with every number beside its reference."""

from collections.abc import Iterator, Sequence
from html import escape
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from jaxfound.experiments.environment import settings, versions
from jaxfound.experiments.outcome import Outcome, duration, number
from jaxfound.experiments.pages import (
    Link,
    badge,
    code,
    page,
    picture,
    row,
    table,
    write_atomically,
)
from jaxfound.experiments.race import Race, Timed
from jaxfound.experiments.reference import API_PAGE
from jaxfound.experiments.registry import Check, Lesson

__all__ = ["address", "write_report"]

_INDEX: Link = ("index.html", "All lessons")


def write_report(out: Path, outcomes: Sequence[Outcome], *, planned: int) -> Path:
    """Writes `index.html` and one page a lesson, with the PNG files of `out` inside them.

    Returns:
      The path of the index.
    """
    ways: dict[str, list[Link]] = {outcome.lesson.name: [] for outcome in outcomes}
    for before, after in pairwise(outcome.lesson for outcome in outcomes):
        ways[before.name].append((address(after), f"{after.title} →"))
        ways[after.name].insert(0, (address(before), f"← {before.title}"))
    for outcome in outcomes:
        links = [_INDEX, *ways[outcome.lesson.name]]
        text = page(outcome.lesson.title, _lesson(outcome, out), *links)
        write_atomically(out / address(outcome.lesson), text.encode())
    index = out / _INDEX[0]
    write_atomically(index, page("jaxfound: the lessons", _index(outcomes, out, planned)).encode())
    return index


def address(lesson: Lesson) -> str:
    """The file name of its page."""
    return f"{lesson.name}.html"


# --- the index --------------------------------------------------------------------------------


def _index(outcomes, out, planned):
    head = ("lesson", "agree", "number", "jaxfound", "time", "reference", "theirs", "time")
    cards = "\n".join(_card(outcome, out) for outcome in outcomes)
    return "\n".join(
        (
            "<header><h1>The lessons, number by number</h1>",
            f'<p class="lead">{escape(_lead(outcomes, planned))}</p></header>',
            f'<div class="cards">{cards}</div>',
            "<h2>The first number of each</h2>",
            table(head, map(_contents_row, outcomes), "contents"),
            f'<p><a href="{API_PAGE}">Every public name of jaxfound</a>, with its docstring.</p>',
            f"<footer><p>{_OF_NUMBERS} {_OF_TIMES}</p><dl>{_environment()}</dl></footer>",
        )
    )


def _lead(outcomes: Sequence[Outcome], planned: int) -> str:
    """The whole run in two sentences."""
    checks = [check for outcome in outcomes for check in outcome.checks]
    wrong = sum(not check.agrees for check in checks)
    failed = sum(outcome.result is None for outcome in outcomes)
    ran = (
        f"{len(outcomes)} lessons"
        if len(outcomes) == planned
        else (f"Stopped after {len(outcomes)} of {planned} lessons")
    )
    numbers = f"{len(checks)} comparisons with exact results, NumPy and scikit-learn"
    verdict = "all agree" if not wrong else f"{wrong} of {len(checks)} disagree"
    raised = f" {failed} failed to run." if failed else ""
    return f"{ran}. {numbers}: {verdict}.{raised}"


def _card(outcome: Outcome, out: Path) -> str:
    lesson = outcome.lesson
    first = list(outcome.pictures.items())[:1]
    pictures = [picture(out / name, caption) for name, caption in first]
    verdict = badge(outcome.agrees, _words(outcome))
    return (
        f'<a class="card" href="{escape(address(lesson))}">{"".join(pictures)}'
        f"<b>{escape(lesson.title)}</b><p>{escape(lesson.question)}</p>{verdict}</a>"
    )


def _words(outcome: Outcome) -> str:
    if outcome.result is None:
        return outcome.verdict
    agreeing = sum(check.agrees for check in outcome.checks)
    return f"{agreeing} of {len(outcome.checks)} comparisons agree"


def _contents_row(outcome: Outcome) -> str:
    link = f'<a href="{escape(address(outcome.lesson))}">{escape(outcome.lesson.title)}</a>'
    verdict = badge(outcome.agrees, outcome.verdict)
    if outcome.result is None:
        return f'<tr><td>{link}</td><td colspan="7">{verdict}</td></tr>'
    first, race = outcome.checks[0], outcome.race
    return row(
        link,
        verdict,
        escape(first.name),
        number(first.gap.ours),
        duration(race.ours.warm) if race else "",
        *("<br>".join(map(escape, column)) for column in zip(*outcome.others(), strict=True)),
    )


def _environment() -> str:
    facts = {**versions(), **settings()}
    return "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items()
    )


_OF_NUMBERS = """\
A difference is absolute below 1 and relative above; for an array it is that of the farthest
entry, and its two numbers are shown."""
_OF_TIMES = """\
A first call includes tracing and compiling (or loading from the compile cache); later calls are
the median of three. A time ends when the result is there."""

# --- a lesson ---------------------------------------------------------------------------------


def _lesson(outcome: Outcome, out: Path) -> str:
    lesson = outcome.lesson
    found = _found(outcome, out) if outcome.result else _failed(outcome)
    return "\n".join(
        (
            f'<article id="{escape(lesson.name)}"><header><h1>{escape(lesson.title)}</h1>',
            f'<p class="lead">{escape(lesson.question)}</p></header>',
            found,
            "<h2>The code</h2>",
            code(_source(lesson)),
            "</article>",
        )
    )


def _failed(outcome: Outcome) -> str:
    return f'<p class="bad">{escape(outcome.error)}</p><pre>{escape(outcome.traceback)}</pre>'


def _found(outcome: Outcome, out: Path) -> str:
    result, meaning = outcome.result, outcome.lesson.meaning
    assert result is not None
    return "\n".join(
        (
            _headline(outcome),
            _figures(outcome, out),
            f"<h2>What it means</h2><p>{escape(meaning)}</p>" if meaning else "",
            "<h2>The mathematics</h2>",
            f'<p class="formula">{escape(result.formula)}</p>' if result.formula else "",
            f"<p>{escape(result.notes)}</p>",
            "<h2>Every number</h2>",
            _checks(result.checks),
            f'<p class="note">{_OF_NUMBERS}</p>',
            _times(result.race) if result.race else "",
        )
    )


def _headline(outcome: Outcome) -> str:
    """Our number beside that of each reference, large."""
    first = outcome.checks[0]
    numbers = [("jaxfound", number(first.gap.ours))]
    numbers += [(name, theirs) for name, theirs, _ in outcome.others() if theirs]
    tiles = "".join(f"<div><b>{value}</b>{escape(name)}</div>" for name, value in numbers)
    verdict = badge(outcome.agrees, _words(outcome))
    return f'<div class="headline">{tiles}</div><p><i>{escape(first.name)}</i> · {verdict}</p>'


def _figures(outcome: Outcome, out: Path) -> str:
    figures = "\n".join(
        f"<figure>{picture(out / name, caption)}<figcaption>{escape(caption)}</figcaption></figure>"
        for name, caption in outcome.pictures.items()
    )
    return f'<div class="figures">{figures}</div>'


def _checks(checks: Sequence[Check]) -> str:
    head = ("number", "jaxfound", "reference", "", "difference", "allowed", "")
    return table(head, map(_check_row, checks))


def _check_row(check: Check) -> str:
    gap = check.gap
    return row(
        escape(check.name),
        number(gap.ours),
        number(gap.reference),
        f"<i>{escape(check.reference_name)}</i>",
        f"{gap.size:.1e}" if gap.size else "0",
        f"{check.tolerance:.0e}" if check.tolerance else "0",
        badge(check.agrees, "agrees" if check.agrees else "disagrees"),
    )


def _times(race: Race) -> str:
    runs: dict[str, Timed] = {"jaxfound": race.ours, **race.theirs}
    times = table(("", "first call", "later calls"), _time_rows(runs))
    return f'<h2>Time</h2>{times}<p class="note">{_OF_TIMES}</p>'


def _time_rows(runs: dict[str, Timed]) -> Iterator[str]:
    for name, timed in runs.items():
        yield row(escape(name), duration(timed.cold), duration(timed.warm))


def _source(lesson: Lesson) -> str:
    """The file that a lesson lies in, found without running it."""
    spec = find_spec(lesson.module)
    return Path(spec.origin).read_text("utf-8") if spec and spec.origin else ""
