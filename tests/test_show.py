"""Named tuples as tables in a notebook."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_architecture import MODELS

from jaxfound._show import as_table
from jaxfound._types import Info
from jaxfound.models import forest, ridge


def cells(record):
    """The title and the rows of the table, as text."""
    html = record._repr_html_()
    (title,) = re.findall("<caption.*?>(.*?)</caption>", html)
    rows = re.findall("<tr>(.*?)</tr>", html)
    return title, [tuple(re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)) for row in rows]


@pytest.mark.parametrize(
    "kind",
    [getattr(m, name) for m in MODELS for name in ("Params", "Hyper") if hasattr(m, name)],
    ids=lambda kind: f"{kind.__module__}.{kind.__name__}",
)
def test_what_a_model_takes_and_gives_is_shown(kind):
    assert kind._repr_html_ is as_table


def test_a_fit_is_shown():
    x = jnp.arange(12.0).reshape(6, 2) ** 2
    params, info = ridge.fit(x, x[:, 0], config=ridge.Config("cholesky"))
    title, (head, coef, intercept) = cells(params)
    assert title == "ridge.Params"
    assert head == ("", "shape", "dtype", "values")
    assert coef[:3] == ("coef", "2", "float32")
    assert [float(number) for number in coef[3].split(", ")] == pytest.approx(
        params.coef.tolist(), 1e-4
    )
    assert intercept[:2] == ("intercept", "")
    title, rows = cells(info)
    assert title == "Info"
    assert ("converged", "", "bool", "True") in rows
    assert ("trajectory", "", "", "None") in rows


def test_many_entries_are_a_range_or_a_count():
    info = Info(np.arange(8), np.arange(8) > 1, np.linspace(-1, 2, 8), jnp.zeros(0), None)
    rows = {name: (shape, values) for name, shape, _, values in cells(info)[1]}
    assert rows["n_iter"] == ("8", "0 … 7")
    assert rows["converged"] == ("8", "6 of 8 true")
    assert rows["value"] == ("8", "-1 … 2")
    assert rows["residual"] == ("0", "")


def test_fields_of_fields_and_plain_numbers():
    title, rows = cells(forest.Hyper(max_samples=jnp.ones((1, 3), jnp.bfloat16)))
    assert title == "forest.Hyper"
    assert ("trees.min_samples_split", "", "float", "2.0") in rows
    assert ("max_samples", "1 × 3", "bfloat16", "1, 1, 1") in rows


def test_nothing_costly_or_impossible_is_looked_at():
    def traced(coef):
        assert cells(ridge.Params(coef, coef[0]))[1][1] == ("coef", "3", "float32", "traced")
        return coef

    jax.jit(traced)(jnp.ones(3))
    deleted = jnp.ones(2)
    deleted.delete()
    large, key = np.zeros((1000, 1000), np.float32), jax.random.key(0)
    for array in (deleted, large, key):
        assert cells(ridge.Params(array, array))[1][1][3] == ""


def test_a_table_is_escaped():
    assert "&lt;fry&gt;" in ridge.Params(jax.random.key(0), None)._repr_html_()
