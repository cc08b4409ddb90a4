"""Fits out of core: equal to those in memory, whatever the source."""

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from streams import CASES, D, N, assert_close, data, in_blocks, labelled

import jaxfound as jf
from jaxfound import parallel, streaming
from jaxfound.data import batches, open_rows
from jaxfound.models import linear, logistic, ridge
from jaxfound.streaming import stream

each = pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """So that a few rows are several batches."""
    monkeypatch.setattr(batches, "_LEAST_ROWS", 256)
    monkeypatch.setattr(batches, "_MOST_ROWS", 1024)


# --- the answer in memory ---------------------------------------------------------------------


@each
@pytest.mark.parametrize("weighted", [False, True])
def test_a_source_gives_the_answer_in_memory(case, dtype, weighted):
    x, y, weight = data(case, dtype)
    weight = weight if weighted else None
    want = case.in_memory(*(None if a is None else jnp.asarray(a) for a in (x, y, weight)))
    got = case.streamed(open_rows(in_blocks(x, y, weight)))
    assert all(a.dtype == b.dtype for a, b in zip(got, want, strict=True))
    assert_close(got, want, case.rtol(dtype))


@pytest.mark.parametrize("case", [CASES[0], CASES[-4], CASES[-1]], ids=lambda c: c.id)
def test_float32_keeps_its_digits_far_from_zero(case, x64):
    """Means of 1e4, and blocks that drift away from the first."""
    x, y, _ = data(case, "float64", mean=1e4)
    x = (x + np.linspace(0, 3, N)[:, None]).astype(np.float32)
    y = None if y is None else y.astype(np.float32)
    wide = (None if a is None else jnp.asarray(a, jnp.float64) for a in (x, y))
    want = case.in_memory(*wide)
    got = case.streamed(open_rows(in_blocks(x, y)))
    assert all(a.dtype == np.float32 for a in got)
    assert_close(got[:1], want[:1], 2e-5)


@pytest.mark.parametrize("condition", [1e4, 1e7, 1e12])
def test_bad_conditioning_costs_passes_and_no_digits(condition, x64):
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(D, D)))[0]
    x = rng.normal(size=(N, D)) @ np.diag(np.geomspace(1, 1 / condition, D)) @ turn
    y = x @ np.ones(D) + 1
    want, _ = linear.fit(jnp.asarray(x), jnp.asarray(y))
    got, info = streaming.fit(linear.fit, open_rows(in_blocks(x, y)))
    assert info.condition > condition / 100
    np.testing.assert_allclose(got.coef, want.coef, rtol=1e-8)


def test_a_singular_design_gives_the_least_norm(x64):
    x, y, _ = data(CASES[0])
    x = np.hstack([x, x[:, :2]])
    want, _ = linear.fit(jnp.asarray(x), jnp.asarray(y))
    got, info = streaming.fit(linear.fit, open_rows(in_blocks(x, y)))
    assert info.rank == D
    np.testing.assert_allclose(got.coef, want.coef, rtol=1e-8)


def test_a_missing_value_is_left_out_of_the_scaler(x64):
    x, _, _ = data(CASES[-1])
    x[::7, 1] = np.nan
    case = CASES[-1]
    assert_close(
        case.streamed(open_rows(in_blocks(x))), case.in_memory(jnp.asarray(x), None), 1e-12
    )


def test_separable_classes_without_a_penalty_have_no_minimum(x64):
    x, _, _ = data(CASES[0])
    rows = open_rows(in_blocks(x, (x[:, 0] > 1).astype(int)))
    _, info = streaming.fit(logistic.fit, rows, logistic.Hyper(C=np.inf, tol=1e-9))
    assert not info.converged


@pytest.mark.parametrize("case", [c for c in CASES if "-" not in c.id], ids=lambda c: c.id)
def test_batches_spread_over_a_mesh(case, x64):
    x, y, weight = data(case)
    want = case.in_memory(*(None if a is None else jnp.asarray(a) for a in (x, y, weight)))
    with jax.set_mesh(parallel.make_mesh()):
        got = case.streamed(open_rows(in_blocks(x, y, weight)))
    assert_close(got, want, case.rtol("float64"))


# --- kinds of sources -------------------------------------------------------------------------


def as_memmap(folder, x, y, weight):
    np.save(folder / "x.npy", x)
    mapped = np.load(folder / "x.npy", mmap_mode="r")
    return open_rows(mapped, y, weight)


def as_raw_memmap(folder, x, y, weight):
    """A part of a map that begins in the middle of its file."""
    with open(folder / "x.raw", "wb") as file:
        file.write(b"header" + x.tobytes() + x.tobytes())
    mapped = np.memmap(folder / "x.raw", x.dtype, "r", 6, (2 * len(x), D))
    return open_rows(mapped[len(x) :], y, weight)


def as_file(folder, x, y, weight):
    for name, part in (("x", x), ("y", y), ("w", weight)):
        np.save(folder / f"{name}.npy", part)
    return open_rows(folder / "x.npy", str(folder / "y.npy"), folder / "w.npy")


def as_directories(folder, x, y, weight):
    for i, (a, b, _) in enumerate(in_blocks(x, y, weight)):
        for name, part in (("x", a), ("y", b)):
            (folder / name).mkdir(exist_ok=True)
            np.save(folder / name / f"{i}.npy", part)
    return open_rows(folder / "x", folder / "y", weight)


def as_parquet(folder, x, y, weight):
    columns = {f"x{j}": x[:, j] for j in range(D)} | {"price": y, "how often": weight}
    pa.parquet.write_table(pa.table(columns), folder / "rows.parquet", row_group_size=1000)
    return open_rows(folder / "rows.parquet", "price", "how often")


def as_parquet_files(folder, x, y, weight):
    for i, (a, b, w) in enumerate(in_blocks(x, y, weight)):
        columns = {"price": b, "how often": w} | {f"x{j}": a[:, j] for j in range(D)}
        pa.parquet.write_table(pa.table(columns), folder / f"{i}.parquet")
    return open_rows(folder, "price", "how often")


def as_function(folder, x, y, weight):
    del folder
    return open_rows(lambda: iter(in_blocks(x, y, weight, size=100)))


def as_array(folder, x, y, weight):
    del folder
    return open_rows(x, list(y), weight)


KINDS = (
    as_memmap,
    as_raw_memmap,
    as_file,
    as_directories,
    as_parquet,
    as_parquet_files,
    as_function,
    as_array,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_source_has_the_same_rows(kind, tmp_path, dtype):
    x, y, weight = data(CASES[0], dtype)
    rows = kind(tmp_path, x, y, weight)
    assert rows.shape[1] == D
    assert rows.dtype == dtype
    assert rows.weighted
    read = [np.concatenate(parts) for parts in zip(*(p[:3] for p in rows.pieces()), strict=True)]
    for got, want in zip(read, (x, y, weight), strict=True):
        np.testing.assert_array_equal(got, want)
    want, _ = ridge.fit(*map(jnp.asarray, (x, y, weight)))
    got, _ = streaming.fit(ridge.fit, rows)
    # What they predict: an intercept near zero is a difference of means.
    predicted = (ridge.predict(params, jnp.asarray(x[:100])) for params in (got, want))
    assert_close(*([p] for p in predicted), CASES[0].rtol(dtype))


def test_files_are_read_and_not_mapped(tmp_path):
    rows = as_memmap(tmp_path, *data(CASES[0]))
    (block,) = rows
    assert type(block.x).__name__ == "FileRows"


def test_a_program_compiles_once_whatever_the_number_of_rows():
    sizes = []
    for n in (2900, 3000):
        x, y, _ = data(CASES[0], np.float32, n=n)
        streaming.fit(linear.fit, open_rows(in_blocks(x, y)))
        sizes.append(stream.add_to._cache_size())
    assert sizes[0] == sizes[1]


# --- estimators -------------------------------------------------------------------------------

FITTED = (
    (jf.LinearRegression(), "number", "coef_"),
    (jf.LinearRegression(positive=True), "number", "coef_"),
    (jf.Ridge(alpha=2.0), "number", "coef_"),
    (jf.Ridge(solver="lsqr"), "numbers", "intercept_"),
    (jf.LogisticRegression(tol=1e-6), "names", "coef_"),
    (jf.LogisticRegression(class_weight="balanced", tol=1e-6), "names", "intercept_"),
    (jf.PCA(2, whiten=True), "none", "components_"),
    (jf.PCA(0.9), "none", "explained_variance_"),
    (jf.PCA(svd_solver="full"), "none", "noise_variance_"),
    (jf.StandardScaler(), "none", "scale_"),
)
each_estimator = pytest.mark.parametrize(
    ("model", "y", "attribute"), FITTED, ids=[type(model).__name__ for model, *_ in FITTED]
)


@each_estimator
@pytest.mark.parametrize("weighted", [False, True])
def test_an_estimator_takes_a_source(model, y, attribute, weighted, dtype):
    x, y, weight = labelled(y, dtype)
    weight = weight if weighted else None
    rows = open_rows(in_blocks(x, y, weight))
    want = clone(model).fit(x, y, weight)
    got = clone(model).fit(rows)
    rtol = 1e-4 if dtype == "float32" else 1e-8
    a, b = np.asarray(getattr(got, attribute)), np.asarray(getattr(want, attribute))
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())
    assert got.n_features_in_ == D
    assert type(got.__dict__[attribute]) is type(want.__dict__[attribute])


@each_estimator
def test_an_estimator_is_applied_to_a_source(model, y, attribute):
    del attribute
    x, y, _ = labelled(y)
    rows = open_rows(in_blocks(x, y))
    model = clone(model).fit(x, y)
    if hasattr(model, "transform"):
        mapped = model.transform(rows)
        got = np.concatenate([piece.x for piece in mapped.pieces()])
        np.testing.assert_allclose(got, model.transform(x), atol=1e-12)
    else:
        got, want = model.predict(rows), model.predict(x)
        assert got.dtype == want.dtype
        assert (got == want).mean() > 0.999 if got.dtype.kind == "U" else np.allclose(got, want)


def test_a_pipeline_takes_a_source():
    x, y, _ = labelled("names")
    pipeline = make_pipeline(jf.StandardScaler(), jf.PCA(3), jf.LogisticRegression(tol=1e-9))
    want = clone(pipeline).fit(x, y).predict_proba(x)
    got = pipeline.fit(open_rows(in_blocks(x, y))).predict_proba(x)
    np.testing.assert_allclose(got, want, atol=1e-9)


def test_a_large_memory_map_is_read_batch_by_batch(tmp_path, monkeypatch):
    x, y, weight = labelled("number")
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    want = jf.Ridge().fit(x, y, weight)
    monkeypatch.setattr("jaxfound.estimators._base._MAPPED_BYTES", x.nbytes - 1)
    calls = []
    fit = streaming.fit
    monkeypatch.setattr(streaming, "fit", lambda *a, **k: calls.append(a) or fit(*a, **k))
    got = jf.Ridge().fit(mapped, y, weight)
    assert len(calls) == 1
    np.testing.assert_allclose(got.coef_, want.coef_, rtol=1e-9)


def test_the_dtype_of_a_fit_can_be_chosen():
    x, y, _ = labelled("number")
    with jf.config_context(dtype="float32"):
        assert jf.Ridge().fit(open_rows(in_blocks(x, y))).coef_.dtype == np.float32
    whole = open_rows(in_blocks((10 * x).astype(np.int8), y))
    assert jf.Ridge().fit(whole).coef_.dtype == np.float64
