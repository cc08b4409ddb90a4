"""What a results file says: Markdown, the README's table, and which rows became slower."""

import re
from collections.abc import Iterable
from pathlib import Path

from benchmarks.results import Results, Row, key, load, ratio

__all__ = [
    "compare",
    "markdown",
    "readme_table",
    "summary",
    "title",
    "update_readme",
    "worst_first",
]

BEGIN = re.compile(r"<!-- benchmarks: (\S+) -->\n")
END = "<!-- end of benchmarks -->"


def worst_first(rows: Iterable[Row]) -> list[Row]:
    """Rows without a right answer of ours, then those where we lose, the worst first."""
    return sorted(rows, key=lambda row: _order(row, ratio(row)[0]))


def _order(row, against):
    right = row["backends"].get("jax", {}).get("right", False)
    return (0, 0.0) if not right else (1, against) if against is not None else (2, 0.0)


def summary(results: Results) -> str:
    """How often we are ahead, in a sentence."""
    ratios = [found for row in results.rows if (found := ratio(row)[0]) is not None]
    if not ratios:
        return "No row has a right answer of ours and of a rival."
    ahead = sum(found >= 1 for found in ratios)
    return (
        f"jaxfound is ahead of the fastest rival in {ahead} of {len(ratios)} rows; "
        f"the lowest ratio is {min(ratios):.2f}, the median {sorted(ratios)[len(ratios) // 2]:.2f}."
    )


def title(row: Row) -> str:
    return f"{row['case']} {' x '.join(map(str, row['size']))}"


def markdown(results: Results) -> str:
    """Every row with every backend, first those where we lose."""
    names = list(dict.fromkeys(name for row in results.rows for name in row["backends"]))
    head = ["row", "dtype", *names, "ratio", "to", "cold", "first", "compile", "memory"]
    head += ["GB/s", "TFLOP/s", "of the roof"]
    rows = [_cells(row, names) for row in worst_first(results.rows)]
    return f"{summary(results)}\n\n{_environment(results)}\n\n{_table(head, rows)}\n"


def _cells(row, names):
    against, fastest = ratio(row)
    ours = row["backends"].get("jax", {})
    times = [_time(row["backends"].get(name)) for name in names]
    cells = [title(row), row["dtype"], *times, _number(against), fastest]
    cells += [_seconds(ours.get("cold")), _seconds(ours.get("first"))]
    compiled = f"{ours['compiled']} in {ours['compile']:.2f} s" if "compiled" in ours else "-"
    host = ours.get("memory", {}).get("host")
    work = row.get("work", {})
    share = work.get("share_of_roof")
    sign = "≥ " if work.get("at_least") else ""
    return [
        *cells,
        compiled,
        "-" if host is None else f"{host / 2**20:.0f} MB",
        _number(work.get("gigabytes_per_second")),
        _number(work.get("teraflops")),
        "-" if share is None else f"{sign}{share:.0%}",
    ]


def _time(entry):
    if entry is None:
        return "-"
    if "absent" in entry:
        return "absent"
    if "steady" not in entry:
        return f"wrong ({entry['error']:.0e})"
    return f"{_seconds(entry['steady'])} ± {_seconds(entry['iqr'] / 2)}"


def _seconds(seconds):
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _number(value):
    return "-" if value is None else f"{value:.2f}"


def _environment(results):
    head = results.head
    versions = ", ".join(f"{name} {version}" for name, version in head["versions"].items())
    return (
        f"Measured on {head['date']}: {head['device']}, {head['machine']}, {head['cores']} cores; "
        f"{versions}; revision {head['revision']}. NumPy in and out, steady state, medians."
    )


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def readme_table(results: Results) -> str:
    """The short table: our time, the fastest rival's, the ratio."""
    head = ["row", "dtype", "jaxfound", "fastest rival", "its time", "ratio", "first call"]
    rows = []
    for row in worst_first(results.rows):
        against, fastest = ratio(row)
        ours, theirs = row["backends"].get("jax", {}), row["backends"].get(fastest, {})
        times = [_short(ours), fastest, _short(theirs), _number(against)]
        rows.append([title(row), row["dtype"], *times, _seconds(ours.get("first"))])
    return f"{summary(results)}\n\n{_environment(results)}\n\n{_table(head, rows)}\n"


def _short(entry):
    return _seconds(entry["steady"]) if "steady" in entry else "wrong" if entry else "-"


def update_readme(readme: Path, path: Path) -> None:
    """Writes the table of a results file between the markers.

    Raises:
      ValueError: if the README has no markers.
    """
    text = readme.read_text()
    begin, end = BEGIN.search(text), text.find(END)
    if begin is None or end < 0:
        raise ValueError(f"{readme} has no table to fill, expected the markers of benchmarks.")
    table = readme_table(load(path))
    head = f"<!-- benchmarks: {path.as_posix()} -->\n"
    readme.write_text(text[: begin.start()] + head + table + text[end:])


def compare(before: Results, after: Results, threshold: float = 1.2) -> list[str]:
    """Rows whose steady time grew `threshold`-fold relative to the fastest rival, and new errors.

    Rivals are the clock: on a machine that is slower today they are slower too. A row without a
    rival is compared by seconds.
    """
    old = {key(row): row for row in before.rows}
    complaints = []
    for row in after.rows:
        if key(row) in old:
            complaints += _regression(old[key(row)], row, threshold)
    return complaints


def _regression(old, new, threshold):
    name = f"{title(new)} {new['dtype']}"
    was, now = (row["backends"].get("jax", {}) for row in (old, new))
    if "steady" not in was:
        return []
    if "steady" not in now:
        return [f"{name}: right before, now wrong or missing"]
    grown = now["steady"] / was["steady"]
    clock = _rivals_grown(old, new)
    if grown / clock <= threshold:
        return []
    times = f"{_seconds(was['steady'])} -> {_seconds(now['steady'])}"
    return [f"{name}: {times}, {grown / clock:.2f}x slower beside its rivals"]


def _rivals_grown(old, new):
    """How the times of rivals in both files grew, in the median; 1 without any."""
    pairs = [
        (old["backends"].get(name, {}), entry)
        for name, entry in new["backends"].items()
        if name not in ("jax", "jax-resident")
    ]
    grown = sorted(b["steady"] / a["steady"] for a, b in pairs if "steady" in a and "steady" in b)
    return grown[len(grown) // 2] if grown else 1.0
