"""The page of every public name, from the signatures and docstrings in the source.

The source is read, not imported: that costs nothing, and shows names, defaults and the comments of
fields as they were written.
"""

import ast
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

import jaxfound
from jaxfound import model_selection
from jaxfound.experiments.pages import code, page, write_atomically

__all__ = ["API_PAGE", "write_reference"]

API_PAGE = "api.html"
# What a user imports, in the order of the README's doors.
_ROOMS = (
    "estimators",
    "models",
    "model_selection",
    "inspect",
    "metrics",
    "nn",
    "data",
    "streaming",
    "parallel",
    "_config",
)
_FACES = ("jaxfound.estimators.", "jaxfound._config")  # imported from elsewhere
_PACKAGE = Path(__file__).parents[1]


class _Entry(NamedTuple):
    module: str  # where a user imports it from
    name: str
    text: str

    @property
    def address(self) -> str:
        return f"{self.module}.{self.name}"


def write_reference(out: Path) -> Path:
    """Writes `api.html`.

    Returns:
      Its path.
    """
    entries = [entry for room in _ROOMS for path in _files(room) for entry in _entries(path)]
    modules = {entry.module: [e for e in entries if e.module == entry.module] for entry in entries}
    contents = "".join(f"<dt>{name}</dt><dd>{_links(of)}</dd>" for name, of in modules.items())
    sections = (f"<h2>{name}</h2>{''.join(e.text for e in of)}" for name, of in modules.items())
    lead = "Signatures and docstrings, read from the source."
    body = (
        f'<header><h1>Every public name</h1><p class="lead">{lead}</p></header>'
        f'<dl class="names">{contents}</dl>{"".join(sections)}'
    )
    path = out / API_PAGE
    links = (("index.html", "All lessons"),)
    write_atomically(path, page("jaxfound: every public name", body, *links).encode())
    return path


def _links(entries: list[_Entry]) -> str:
    return " ".join(f'<a href="#{entry.address}">{entry.name}</a>' for entry in entries)


def _files(room: str) -> list[Path]:
    """The public modules of a room."""
    one = _PACKAGE / f"{room}.py"
    return [one] if one.exists() else sorted((_PACKAGE / room).glob("[a-z]*.py"))


def _entries(path: Path) -> Iterator[_Entry]:
    """One for each public function and class that the module defines."""
    source = path.read_text("utf-8")
    own = ".".join(path.relative_to(_PACKAGE.parent).with_suffix("").parts)
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            module = _face(node.name) if own.startswith(_FACES) else own
            if module:
                text = _text(node, source.splitlines(), f"{module}.{node.name}")
                yield _Entry(module, node.name, text)


def _face(name: str) -> str:
    """Where an estimator or its kin is imported from; nowhere, if it is only built upon."""
    if name in jaxfound.__all__:
        return "jaxfound"
    return "jaxfound.model_selection" if name in model_selection.__all__ else ""


def _text(node, lines, address):
    known = "" if _has_fields(node) else ast.get_docstring(node)  # that of fields is shown already
    documented = f'<pre class="doc">{escape(known)}</pre>' if known else ""
    return f'<h3 id="{address}">{address}</h3>{code(_shown(node, lines))}{documented}'


def _shown(node, lines):
    """The head of a function; of a class its fields, or the heads of its methods."""
    if isinstance(node, ast.FunctionDef):
        return _head(node, lines)
    if _has_fields(node):
        return "\n".join(lines[node.lineno - 1 : node.end_lineno])
    methods = [
        _head(part, lines) + f"\n        {_first_line(part)}"
        for part in node.body
        if isinstance(part, ast.FunctionDef) and (part.name == "__init__" or part.name[0] != "_")
    ]
    return "\n\n".join([lines[node.lineno - 1], *methods])


def _has_fields(node):
    """Whether a class is a table of fields: a named tuple or a data class."""
    return isinstance(node, ast.ClassDef) and (
        bool(node.decorator_list) or "NamedTuple" in {getattr(b, "id", "") for b in node.bases}
    )


def _head(node, lines):
    """From `def` to the colon, as it was written."""
    return "\n".join(lines[node.lineno - 1 : max(node.body[0].lineno - 1, node.lineno)])


def _first_line(node):
    text = (ast.get_docstring(node) or "").partition("\n")[0]
    return f"# {text}" if text else "..."
