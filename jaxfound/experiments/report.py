"""One page for a run: every number beside its reference, every figure, nothing from outside."""

import base64
import os
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template

from jaxfound.experiments.environment import settings, versions
from jaxfound.experiments.outcome import Outcome, duration, number
from jaxfound.experiments.race import Race, Timed
from jaxfound.experiments.registry import Check

__all__ = ["write_atomically", "write_page"]


def write_page(out: Path, outcomes: Sequence[Outcome], *, planned: int) -> Path:
    """Writes `index.html`, self-contained, with the PNG files of `out` inside it."""
    page = PAGE.substitute(
        style=STYLE_SHEET,
        lead=escape(_lead(outcomes, planned)),
        contents="\n".join(map(_contents_row, outcomes)),
        lessons="\n".join(_section(outcome, out) for outcome in outcomes),
        environment=_environment(),
    )
    path = out / "index.html"
    write_atomically(path, page.encode())
    return path


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file that is complete or, should we be killed, as it was before."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(data)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


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


def _contents_row(outcome: Outcome) -> str:
    link = f'<a href="#{escape(outcome.lesson.name)}">{escape(outcome.lesson.title)}</a>'
    verdict = _badge(outcome.agrees, outcome.verdict)
    if outcome.result is None:
        return f'<tr><td>{link}</td><td colspan="7">{verdict}</td></tr>'
    first, race = outcome.checks[0], outcome.race
    return _row(
        link,
        verdict,
        escape(first.name),
        number(first.gap.ours),
        duration(race.ours.warm) if race else "",
        *("<br>".join(map(escape, column)) for column in zip(*outcome.others(), strict=True)),
    )


def _section(outcome: Outcome, out: Path) -> str:
    result = outcome.result
    title = f"<h2>{escape(outcome.lesson.title)}</h2>"
    if result is None:
        body = f'<p class="bad">{escape(outcome.error)}</p><pre>{escape(outcome.traceback)}</pre>'
    else:
        body = "\n".join(
            (
                f'<p class="formula">{escape(result.formula)}</p>' if result.formula else "",
                f"<p>{escape(result.notes)}</p>",
                _figures(outcome, out),
                _checks(result.checks),
                _times(result.race) if result.race else "",
            )
        )
    return f'<section id="{escape(outcome.lesson.name)}">\n{title}\n{body}\n</section>'


def _figures(outcome: Outcome, out: Path) -> str:
    figures = "\n".join(
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{_base64(out / name)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for name, caption in outcome.pictures.items()
    )
    return f'<div class="figures">{figures}</div>'


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _checks(checks: Sequence[Check]) -> str:
    head = ("number", "jaxfound", "reference", "", "difference", "allowed", "")
    return _table(head, map(_check_row, checks))


def _check_row(check: Check) -> str:
    gap = check.gap
    return _row(
        escape(check.name),
        number(gap.ours),
        number(gap.reference),
        f"<i>{check.reference_name}</i>",
        f"{gap.size:.1e}" if gap.size else "0",
        f"{check.tolerance:.0e}" if check.tolerance else "0",
        _badge(check.agrees, "agrees" if check.agrees else "disagrees"),
    )


def _times(race: Race) -> str:
    runs = {"jaxfound": race.ours, **race.theirs}
    return _table(("time", "first call", "later calls"), (_time_row(*run) for run in runs.items()))


def _time_row(name: str, timed: Timed) -> str:
    return _row(escape(name), duration(timed.cold), duration(timed.warm))


def _environment() -> str:
    facts = {**versions(), **settings()}
    return "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items()
    )


def _table(head: Sequence[str], rows: Iterator[str]) -> str:
    headings = "".join(f"<th>{name}</th>" for name in head)
    return (
        f'<div class="scroll"><table><thead><tr>{headings}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _badge(good: bool, text: str) -> str:
    return f'<span class="{"good" if good else "bad"}">{escape(text)}</span>'


PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>jaxfound: the lessons</title>
<style>
$style</style>
</head>
<body>
<main>
<header>
<h1>The lessons, number by number</h1>
<p class="lead">$lead</p>
</header>
<div class="scroll"><table class="contents">
<thead><tr><th>lesson</th><th>agree</th><th>number</th><th>jaxfound</th><th>time</th>\
<th>reference</th><th>theirs</th><th>time</th></tr></thead>
<tbody>
$contents
</tbody>
</table></div>
$lessons
<footer>
<p>A difference is absolute below 1 and relative above; for an array it is that of the farthest
entry, and its two numbers are shown. A first call includes tracing and compiling (or loading from
the compile cache); later calls are the median of three. A time ends when the result is there.</p>
<dl>$environment</dl>
</footer>
</main>
</body>
</html>
""")

# The figures are drawn on white. In the dark they are inverted, hues kept, and white turns black;
# blending then lets the page shine through what is the lightest (or the darkest) in them.
STYLE_SHEET = """\
:root {
  color-scheme: light dark;
  --paper: #fdfcfa; --ink: #1d2126; --soft: #6a717a; --rule: #e3dfd7;
  --link: #1f5fa8; --good: #2c7a4b; --bad: #b3261e; --blend: multiply; --invert: none;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171a; --ink: #e4e2dd; --soft: #979ca3; --rule: #33373c;
    --link: #8ab8ee; --good: #7cc79a; --bad: #f2938b; --blend: screen;
    --invert: invert(1) hue-rotate(180deg);
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1.06rem/1.6 Charter, "Bitstream Charter", "Iowan Old Style", Palatino, Georgia, serif;
}
main { max-width: 64rem; margin: 0 auto; padding: 3.5rem 1.25rem 4rem; }
h1 { font-size: 2.1rem; line-height: 1.2; font-weight: 600; margin: 0 0 .6rem; }
h2 { font-size: 1.45rem; line-height: 1.25; font-weight: 600; margin: 0 0 .8rem; }
p { max-width: 40rem; margin: 0 0 1rem; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: .18em; }
i { font-style: normal; color: var(--soft); }
.lead { font-size: 1.2rem; color: var(--soft); margin-bottom: 2rem; }
section { margin-top: 3.5rem; padding-top: 2.2rem; border-top: 1px solid var(--rule); }
.formula { font: italic 1.2rem/1.7 "STIX Two Math", "Cambria Math", Charter, Georgia, serif;
  white-space: pre-wrap; margin: 0 0 .8rem; }
.figures { display: grid; gap: 1.5rem 2rem; margin: 1.5rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
figure { margin: 0; max-width: 36rem; }
img { display: block; width: 100%; height: auto; mix-blend-mode: var(--blend);
  filter: var(--invert); }
figcaption { font-size: .92rem; color: var(--soft); margin-top: .4rem; }
.scroll { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse;
  font: .86rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th { font-weight: 500; color: var(--soft); text-align: left; }
th, td { padding: .38rem 1.4rem .38rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
.contents { width: 100%; }
.contents th, .contents td { padding-right: 1rem; }
.good { color: var(--good); }
.bad { color: var(--bad); font-weight: 600; white-space: normal; }
pre { overflow-x: auto; padding: 1rem; border: 1px solid var(--rule); font-size: .8rem; }
footer { margin-top: 4rem; padding-top: 1.5rem; border-top: 1px solid var(--rule);
  font-size: .9rem; color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 1rem 0 0;
  overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
dd { margin: 0; }
"""
