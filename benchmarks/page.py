"""One self-contained HTML page of a results file: three figures and the table."""

import base64
from collections.abc import Iterator
from html import escape
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from benchmarks.report import markdown, summary, title, worst_first
from benchmarks.results import Results, Row, ratio
from jaxfound.experiments.figures import BLUE, GREY, ORANGE, STYLE, panel, png
from jaxfound.experiments.pages import STYLE_SHEET, write_atomically

__all__ = ["write_report"]


def write_report(results: Results, out: Path) -> Path:
    """Writes `report.md`, a PNG a figure, and `index.html` with all of it inside."""
    out.mkdir(parents=True, exist_ok=True)
    text = markdown(results)
    write_atomically(out / "report.md", text.encode())
    pictures = []
    with matplotlib.rc_context(STYLE):
        for name, caption, figure in _figures(results.rows):
            data = png(figure)
            write_atomically(out / f"{name}.png", data)
            pictures.append(_picture(caption, data))
    path = out / "index.html"
    write_atomically(path, _page(text, results, "".join(pictures)).encode())
    return path


def _figures(rows: list[Row]) -> Iterator[tuple[str, str, Figure]]:
    if any(ratio(row)[0] is not None for row in rows):
        yield (
            "ratios",
            "Time of the fastest rival over ours: right of the line we are ahead.",
            (_ratios(rows)),
        )
    if grown := _growing(rows):
        yield "growth", "Our steady time against the number of rows.", _growth(grown)
    if counted := [row for row in rows if row.get("work", {}).get("flops")]:
        yield (
            "roof",
            "FLOP/s reached, and what the machine can do at that intensity.",
            (_roof(counted)),
        )


def _ratios(rows):
    rows = [row for row in reversed(worst_first(rows)) if ratio(row)[0] is not None]
    figure, axes = panel(xlabel="ratio (log scale)", ylabel="", width=8)
    figure.set_figheight(1.2 + 0.27 * len(rows))
    values = [ratio(row)[0] for row in rows]
    colors = [BLUE if value >= 1 else ORANGE for value in values]
    labels = [f"{title(row)} {row['dtype']}" for row in rows]
    bars = axes.barh(range(len(rows)), [v - 1 for v in values], left=1, color=colors)
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    names = [f" {value:.2f}x {ratio(row)[1]} " for value, row in zip(values, rows, strict=True)]
    axes.bar_label(bars, names, fontsize=7)
    axes.axvline(1, color=GREY)
    axes.set_xlim(min(0.5, *values) / 2.5, max(2, *values) * 2.5)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    return figure


def _growing(rows):
    """Cases with several numbers of rows, by case and dtype."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if "steady" in (ours := row["backends"].get("jax", {})):
            name = f"{row['case']} {row['dtype']}"
            found.setdefault(name, []).append((row["size"][0], ours["steady"]))
    return {name: sorted(points) for name, points in found.items() if len(points) > 1}


def _growth(grown):
    figure, axes = panel(xlabel="rows", ylabel="seconds", width=8)
    for name, points in grown.items():
        axes.loglog(*zip(*points, strict=True), marker="o", label=name)
    axes.legend(fontsize=7)
    return figure


def _roof(rows):
    figure, axes = panel(xlabel="FLOPs a byte", ylabel="TFLOP/s", width=8)
    works = [row["work"] for row in rows]
    intensity = [work["flops"] / work["bytes"] for work in works]
    reached = [work["teraflops"] for work in works]
    roof = rows[0]["roof"]
    ridge = roof["flops"] / roof["bytes"]
    line = sorted([min([*intensity, 1]) / 2, ridge, max(*intensity, ridge) * 4])
    axes.loglog(line, [min(i * roof["bytes"], roof["flops"]) / 1e12 for i in line], color=GREY)
    axes.loglog(intensity, reached, "o", color=BLUE)
    for row, i, rate in zip(rows, intensity, reached, strict=True):
        axes.annotate(f" {title(row)}", (i, rate), fontsize=6)
    return figure


def _picture(caption, data):
    source = base64.b64encode(data).decode()
    return (
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{source}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _page(text, results, pictures):
    lead = escape(summary(results))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>jaxfound: the benchmarks</title><style>{STYLE_SHEET}</style></head><body><main>"
        f'<header><h1>Beside every rival</h1><p class="lead">{lead}</p></header>'
        f'<div class="figures">{pictures}</div>{_table(text)}'
        f"<footer><p>{escape(text.splitlines()[2])}</p><p>Cold: nothing compiled yet. First: a new "
        "process that finds its programs in the compile cache. A wrong answer gets no time. FLOPs "
        "count a scan by its length and the body of a while loop once (≥).</p></footer>"
        "</main></body></html>\n"
    )


def _table(text):
    """The Markdown table as HTML."""
    lines = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("|")]
    head, _, *rows = lines
    cells = [_row("th", head), *(_row("td", row) for row in rows)]
    return f'<div class="scroll"><table>{"".join(cells)}</table></div>'


def _row(kind, cells):
    return f"<tr>{''.join(f'<{kind}>{escape(cell)}</{kind}>' for cell in cells)}</tr>"
