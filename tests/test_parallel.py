"""Rows over a mesh of 8 devices, and over several processes."""

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import parallel_worker
import pytest
from cases import CASES

from jaxfound import metrics, parallel
from jaxfound.numerics import reduce
from jaxfound.numerics.least_squares import solve

N = 8 * 40  # rows, enough for every device to have some
ROOT = Path(__file__).parents[1]
COLLECTIVE = re.compile(r"= (.*?) (?:all-gather|all-to-all|collective-permute)(?:-start)?\(")
SIZES = re.compile(r"\[([\d,]+)\]")


@pytest.fixture
def mesh():
    return parallel.make_mesh()


def gathered_sizes(compiled):
    """The number of elements of everything that devices send each other whole."""
    for shapes in COLLECTIVE.findall(compiled.as_text()):
        yield from (np.prod([int(s) for s in sizes.split(",")]) for sizes in SIZES.findall(shapes))


each = pytest.mark.parametrize(
    "case",
    [c for c in CASES if c.over_mesh and not c.twin and "wide" not in c.id],
    ids=lambda c: c.id,
)


@each
def test_a_mesh_gives_the_answer_of_one_device(case, mesh):
    rng = np.random.default_rng(0)
    x, y = case.data(rng, n=N - 3)  # which eight devices do not divide
    x, y = x.astype(np.float32), y.astype(np.int32 if case.classification else np.float32)
    weight = rng.integers(0, 3, len(x)).astype(np.float32)
    hyper = case.hyper_as("float32")
    want, _ = case.fit(*map(jnp.asarray, (x, y, weight)), hyper)
    rows = parallel.shard_rows(mesh, x, y, weight=weight)
    with jax.set_mesh(mesh):
        got, _ = case.fit(*rows, hyper)
    flat, rtol = case.flat(want), 5 * case.rtol("float32")
    np.testing.assert_allclose(case.flat(got), flat, rtol=rtol, atol=rtol * np.abs(flat).max())


@each
def test_no_rows_are_gathered(case, mesh):
    n = 2**18
    shape = jax.ShapeDtypeStruct
    rng = np.random.default_rng(0)
    d = case.data(rng)[0].shape[1]
    over = jax.NamedSharding(mesh, jax.P(parallel.AXIS))
    kind = jnp.int32 if case.classification else jnp.float32
    y_shape = (n, *case.data(rng)[1].shape[1:])
    rows = shape((n, d), jnp.float32, sharding=over), shape(y_shape, kind, sharding=over)
    weight = shape((n,), jnp.float32, sharding=over)

    def fit(x, y, weight):
        return case.fit(x, y, weight, case.hyper_as("float32"))

    with jax.set_mesh(mesh):
        compiled = jax.jit(fit).lower(*rows, weight).compile()
    assert max(gathered_sizes(compiled), default=0) < n / 8


@pytest.mark.parametrize(
    "metric", ["accuracy", "confusion_matrix", "mean_squared_error", "r2_score"]
)
def test_metrics_of_sharded_rows(metric, mesh, rng):
    y, guess = rng.integers(0, 3, (2, 1003))
    score = getattr(metrics, metric)
    options = {"n_classes": 3} if metric == "confusion_matrix" else {}
    kind = np.int32 if options or metric == "accuracy" else np.float32
    want = score(jnp.asarray(y, kind), jnp.asarray(guess, kind), jnp.ones(1003), **options)
    *rows, weight = parallel.shard_rows(mesh, y.astype(kind), guess.astype(kind))
    with jax.set_mesh(mesh):
        got = score(*rows, weight, **options)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_triangle_of_triangles_sees_bad_conditioning(x64, mesh, rng):
    """TSQR: the small singular value is there to the digits that the data has."""
    x = rng.normal(size=(800, 3)) @ np.diag([1, 1, 1e-9]) @ rng.normal(size=(3, 3))
    y = x @ np.ones(3)
    x, y, weight = parallel.shard_rows(mesh, x, y)
    with jax.set_mesh(mesh):
        found = solve(x, y[:, None], weight, jnp.zeros(()), fit_intercept=False, solver="svd")
    np.testing.assert_allclose(found.coef[:, 0], 1, rtol=1e-6)


def test_rows_must_divide_or_be_padded(mesh):
    x = jnp.ones((20, 2))
    with jax.set_mesh(mesh), pytest.raises(ValueError, match=r"20 rows, expected a multiple of"):
        reduce.row_sum(lambda w, x: w @ x, None, x)
    padded, weight = parallel.shard_rows(mesh, x)
    assert padded.shape == (24, 2)
    assert weight.sum() == 20


def test_a_mesh_without_rows_and_rows_of_two_lengths_are_refused(mesh):
    other = jax.sharding.Mesh(np.array(jax.devices()), ("columns",))
    with pytest.raises(ValueError, match=r"axes \('columns',\), expected 'rows'"):
        parallel.shard_rows(other, np.ones((8, 2)))
    with pytest.raises(ValueError, match=r"lengths \[8, 7\]"):
        parallel.shard_rows(mesh, np.ones((8, 2)), np.ones(7))


# --- several processes ------------------------------------------------------------------------


def start(processes, folder, *orders):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, parallel_worker.__file__, address, str(processes)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT}
    return [
        subprocess.Popen([*command, str(i), str(folder / f"{i}.npz"), *orders], **quiet)
        for i in range(processes)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_agree_with_one(tmp_path, processes):
    workers = start(processes, tmp_path)
    for worker in workers:
        said = worker.communicate(timeout=240)[0]
        assert worker.returncode == 0, said
    *rows, label = map(jnp.asarray, parallel_worker.data())
    want = parallel_worker.fits(*rows, label, None)
    for i in range(processes):
        for got, one in zip(np.load(tmp_path / f"{i}.npz").values(), want, strict=True):
            np.testing.assert_allclose(got, one, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_lost_process_ends_the_others(tmp_path):
    first, lost = start(2, tmp_path, "die")
    begin = time.monotonic()
    said = first.communicate(timeout=120)[0]
    lost.communicate(timeout=120)
    assert first.returncode != 0, said
    assert time.monotonic() - begin < 120
