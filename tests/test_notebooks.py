"""The notebooks run from top to bottom, and what is committed is what they give."""

import os
import re
import resource
from pathlib import Path

import jax
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_SECONDS, MOST_BYTES = 90, 300_000  # of both cores together, whatever else they do
HANGS = 600  # seconds
EXERCISES = 3
# A result written by hand would not change with the code: a number with a decimal point and a
# unit, or a percentage, belongs into an output.
RESULT = re.compile(r"\d\.\d+\s?(ms|s|MB|GB)\b|\d\s?%")

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# What a process prints about itself, before any cell runs.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def read(path):
    return nbformat.read(path, as_version=4)


def kinds(cell):
    """Of every output its kind, and of a display the formats that it has."""
    return [(out.output_type, sorted(out.get("data", {}))) for out in cell.get("outputs", [])]


def _cpu_seconds():
    """What the kernels that have ended used, all threads added up."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_they_are_numbered():
    numbers = [int(path.stem[:2]) for path in NOTEBOOKS]
    assert numbers == sorted(set(numbers))


@each
def test_a_notebook_has_its_parts(path):
    cells = read(path).cells
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert prose[0].startswith(f"# {path.stem[:2]} · ")
    assert prose[-1].startswith("## Exercises")
    assert prose[-1].count("<details>") == prose[-1].count("</details>") == EXERCISES
    assert "jax.grad" in "".join(cell.source for cell in cells)
    assert [text for text in prose if RESULT.search(text)] == []


@each
def test_committed_outputs_are_small_and_whole(path):
    assert path.stat().st_size < MOST_BYTES
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert {out.get("name", "stdout") for cell in cells for out in cell.outputs} <= {"stdout"}
    assert str(Path.home()) not in path.read_text("utf-8")


@pytest.mark.slow
@each
def test_a_notebook_runs_and_gives_what_is_committed(path):
    committed, notebook = read(path), read(path)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "",  # a reader's
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    where = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=MOST_SECONDS, resources=where, coalesce_streams=True)
    began = _cpu_seconds()
    client.execute(env=environment)
    assert _cpu_seconds() - began < MOST_SECONDS
    assert list(map(kinds, notebook.cells)) == list(map(kinds, committed.cells))
