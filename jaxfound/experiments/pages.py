"""What all pages of a report share: the frame, the style sheet, tables, and code in colours."""

import base64
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers.python import PythonLexer

__all__ = ["Link", "badge", "code", "page", "picture", "row", "table", "write_atomically"]

Link = tuple[str, str]  # an address and its text
_LEXER, _FORMATTER = PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)


def page(title: str, body: str, *links: Link) -> str:
    """A whole document with `links` at its top and its foot, and nothing from outside."""
    anchors = "".join(f'<a href="{escape(to)}">{escape(text)}</a>' for to, text in links)
    bar = f"<nav>{anchors}</nav>" if links else ""
    return _FRAME.substitute(title=escape(title), style=STYLE_SHEET, bar=bar, body=body)


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file that is complete or, should we be killed, as it was before."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(data)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def table(head: Sequence[str], rows: Iterable[str], kind: str = "") -> str:
    """A table that scrolls by itself where the screen is narrow."""
    headings = "".join(f"<th>{name}</th>" for name in head)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{headings}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def badge(good: bool, text: str) -> str:
    return f'<span class="{"good" if good else "bad"}">{escape(text)}</span>'


def picture(path: Path, caption: str) -> str:
    """An image with its bytes inside."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'


def code(source: str) -> str:
    """Python in colours; it scrolls by itself where the screen is narrow."""
    return f'<pre class="code">{highlight(source, _LEXER, _FORMATTER)}</pre>'


_FRAME = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<main>
$bar
$body
$bar
</main>
</body>
</html>
""")

# The figures are drawn on white. In the dark they are inverted, hues kept, and white turns black;
# blending then lets the page shine through what is the lightest (or the darkest) in them.
STYLE_SHEET = """\
:root {
  color-scheme: light dark;
  --paper: #fdfcfa; --ink: #1d2126; --soft: #626973; --rule: #e3dfd7; --card: #ffffff;
  --link: #1f5fa8; --good: #2c7a4b; --bad: #b3261e; --word: #8a4a12;
  --blend: multiply; --invert: none;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171a; --ink: #e4e2dd; --soft: #979ca3; --rule: #33373c; --card: #1b1e22;
    --link: #8ab8ee; --good: #7cc79a; --bad: #f2938b; --word: #e0a878;
    --blend: screen; --invert: invert(1) hue-rotate(180deg);
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1.06rem/1.6 Charter, "Bitstream Charter", "Iowan Old Style", Palatino, Georgia, serif;
}
main { max-width: 64rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2.1rem; line-height: 1.2; font-weight: 600; margin: 0 0 .6rem; }
h2 { font-size: 1.35rem; line-height: 1.25; font-weight: 600; margin: 2.6rem 0 .8rem; }
h3 { font: 600 1rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; margin: 1.8rem 0 .4rem;
  overflow-wrap: anywhere; }
p { max-width: 40rem; margin: 0 0 1rem; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: .18em; }
i { font-style: normal; color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.6rem; margin-bottom: 2.2rem;
  font: .9rem/1.6 system-ui, -apple-system, "Segoe UI", sans-serif; }
nav:last-child { margin: 3rem 0 0; padding-top: 1.2rem; border-top: 1px solid var(--rule); }
.lead { font-size: 1.2rem; color: var(--soft); margin-bottom: 2rem; }
.note { font-size: .9rem; color: var(--soft); }
.formula { font: italic 1.2rem/1.7 "STIX Two Math", "Cambria Math", Charter, Georgia, serif;
  white-space: pre-wrap; margin: 0 0 .8rem; }
.cards { display: grid; gap: 1.2rem; margin: 2rem 0 3rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); }
.card { display: block; padding: 1rem 1.1rem; border: 1px solid var(--rule); border-radius: 6px;
  background: var(--card); color: inherit; text-decoration: none; }
.card:hover, .card:focus { border-color: var(--link); }
.card img { aspect-ratio: 3 / 2; object-fit: contain; margin-bottom: .8rem; }
.card b { display: block; line-height: 1.3; color: var(--link); }
.card p { font-size: .95rem; line-height: 1.45; margin: .3rem 0 .5rem; }
.card span { font-size: .85rem; }
.headline { display: flex; flex-wrap: wrap; gap: .4rem 2.6rem; margin: 1.6rem 0 .2rem; }
.headline div { font: .9rem/1.4 system-ui, -apple-system, "Segoe UI", sans-serif;
  color: var(--soft); }
.headline b { display: block; font-size: 1.9rem; line-height: 1.2; font-weight: 600;
  color: var(--ink); font-variant-numeric: tabular-nums; }
.headline div:first-child b { color: var(--link); }
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
.contents td:first-child { white-space: normal; min-width: 9rem; }
.contents th, .contents td { padding-right: 1rem; }
.good { color: var(--good); }
.bad { color: var(--bad); font-weight: 600; white-space: normal; }
pre { overflow-x: auto; padding: 1rem; border: 1px solid var(--rule); border-radius: 6px;
  font: .8rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
.doc { white-space: pre-wrap; overflow-wrap: anywhere; max-width: 48rem; border: 0;
  padding: 0 0 0 1rem; border-left: 2px solid var(--rule); border-radius: 0; }
.code .k, .code .kn, .code .kc, .code .ow { color: var(--link); }
.code .s1, .code .s2, .code .sd, .code .sa, .code .si { color: var(--good); }
.code .mi, .code .mf { color: var(--word); }
.code .c1 { color: var(--soft); font-style: italic; }
footer { margin-top: 4rem; padding-top: 1.5rem; border-top: 1px solid var(--rule);
  font-size: .9rem; color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 1rem 0 0;
  overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
dd { margin: 0; }
.names { display: block; font: .86rem/1.6 system-ui, -apple-system, "Segoe UI", sans-serif; }
.names dt { color: var(--soft); margin-top: .6rem; }
.names a { margin-right: .5rem; }
"""
