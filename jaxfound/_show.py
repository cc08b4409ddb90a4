"""Named tuples as tables: how params, settings and results look in a notebook."""

from html import escape
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

__all__ = ["as_table"]

_MOST_LISTED, _MOST_READ = 6, 100_000  # entries; a larger array stays where it is


def as_table(record: Any) -> str:
    """The fields of a named tuple with shape, dtype and values, as HTML.

    A class has it by the line `_repr_html_ = as_table` in its body. Fields of fields are named
    with a dot between.
    """
    module = type(record).__module__.rpartition(".")[2]
    title = ".".join((module, type(record).__name__)).removeprefix("_types.")
    leaves = jax.tree_util.tree_leaves_with_path(record, is_leaf=lambda leaf: leaf is None)
    rows = [(_name(path), *_described(leaf)) for path, leaf in leaves]
    return (
        f'<table><caption style="text-align: left">{escape(title)}</caption>'
        f"{_row('th', ('', 'shape', 'dtype', 'values'))}"
        f"{''.join(_row('td', cells) for cells in rows)}</table>"
    )


def _row(kind, cells):
    inner = (f'<{kind} style="text-align: left">{escape(cell)}</{kind}>' for cell in cells)
    return f"<tr>{''.join(inner)}</tr>"


def _name(path):
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _described(leaf):
    if leaf is None:
        return "", "", "None"
    if not hasattr(leaf, "dtype"):
        return "", type(leaf).__name__, str(leaf)
    return " × ".join(map(str, leaf.shape)), str(leaf.dtype), _values(leaf)


def _values(array):
    """A few entries in full, of more the range; nothing that would be costly to look at."""
    if isinstance(array, Tracer):
        return "traced"
    if not _is_at_hand(array):
        return ""
    array = np.asarray(array)
    if array.size <= _MOST_LISTED:
        return ", ".join(map(_short, array.flat))
    if array.dtype == bool:
        return f"{array.sum()} of {array.size} true"
    return f"{_short(array.min())} … {_short(array.max())}"


def _is_at_hand(array):
    here = not isinstance(array, jax.Array) or (
        array.is_fully_addressable and not array.is_deleted()
    )
    numeric = array.dtype == bool or jnp.issubdtype(array.dtype, jnp.number)
    return here and numeric and 0 < array.size <= _MOST_READ


def _short(entry):
    return f"{float(entry):.5g}" if jnp.issubdtype(entry.dtype, jnp.floating) else str(entry)
