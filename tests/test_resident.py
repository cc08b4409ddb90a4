"""Large arrays in memory: chunks added up by all cores give what one program gives."""

import jax
import numpy as np
import pytest

import jaxfound as jf
from jaxfound.data.windows import copied, room, window
from jaxfound.estimators import _base
from jaxfound.streaming import resident

N, D = 5000, 7


@pytest.fixture
def small_chunks(monkeypatch):
    """Everything is large, and a chunk holds 512 rows."""
    monkeypatch.setattr(_base, "_PADDED_SIZE", 1000)
    monkeypatch.setattr(resident, "_CHUNK_BYTES", 512 * D * 4)


def rows(rng, dtype):
    x = (rng.normal(size=(N, D)) * np.linspace(0.5, 2, D) + 10).astype(dtype)
    return x, (x @ np.arange(D) + rng.normal(size=N)).astype(dtype)


MODELS = {
    "ols": (jf.LinearRegression, ("coef_", "intercept_")),
    "ridge": (jf.Ridge, ("coef_", "intercept_")),
    "pca": (lambda: jf.PCA(3), ("components_", "explained_variance_", "mean_")),
    "pca-share": (lambda: jf.PCA(0.8), ("components_", "explained_variance_", "mean_")),
    "scaler": (jf.StandardScaler, ("mean_", "var_", "scale_", "n_samples_seen_")),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_chunks_give_what_one_program_gives(name, kind, weighted, small_chunks, rng, monkeypatch):
    x, y = rows(rng, kind)
    weight = rng.integers(0, 3, N).astype(float) if weighted else None
    make, attributes = MODELS[name]
    used = []
    run = resident.Resident.__init__
    monkeypatch.setattr(
        resident.Resident, "__init__", lambda self, *a, **k: (used.append(1), run(self, *a, **k))[1]
    )
    chunked = make().fit(x, y, sample_weight=weight)
    assert used
    monkeypatch.setattr(_base, "_PADDED_SIZE", 10**9)
    whole = make().fit(x, y, sample_weight=weight)
    rtol = 1e-4 if kind == "float32" else 1e-9
    for attribute in attributes:
        ours, theirs = getattr(chunked, attribute), getattr(whole, attribute)
        # An intercept is off by what the coefficients are off, times the means of the columns.
        atol = rtol * np.abs(x.mean(0)).max() if attribute == "intercept_" else rtol
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype


def test_missing_values_are_left_out(small_chunks, rng):
    x, _ = rows(rng, "float64")
    x[::7, 2] = np.nan
    scaler = jf.StandardScaler().fit(x)
    np.testing.assert_allclose(scaler.mean_, np.nanmean(x, 0), rtol=1e-12)
    np.testing.assert_allclose(scaler.var_, np.nanvar(x, 0), rtol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_value_is_found_and_nothing_is_left_behind(bad, small_chunks, rng):
    x, y = rows(rng, "float32")
    x[4321, 3] = bad
    model = jf.Ridge()
    with pytest.raises(ValueError, match="NaN or infinity in row 4321 of x"):
        model.fit(x, y)
    assert not [name for name in vars(model) if name.endswith("_")]


def test_transforms_go_chunk_by_chunk(small_chunks, rng, monkeypatch):
    x, _ = rows(rng, "float32")
    from jaxfound.estimators import _chunks

    pca = jf.PCA(2).fit(x)
    whole = pca.transform(x)
    monkeypatch.setattr(_chunks, "_COMPUTED", 300 * D * 4)
    np.testing.assert_allclose(pca.transform(x), whole, rtol=1e-5, atol=1e-3)
    x[-1, -1] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        pca.transform(x)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_rows_are_read_where_they_lie(kind, rng):
    """Wherever in memory an array begins; only around its ends there is nothing to read."""
    flat = rng.normal(size=40 * D + 16).astype(kind)
    with jax.enable_x64(kind == "float64"):
        for offset in range(16):
            x = flat[offset : offset + 40 * D].reshape(40, D)
            x.setflags(write=False)
            for begin in range(10, 20):
                rows = window(x, begin, 7, x.dtype)
                np.testing.assert_array_equal(rows.part(0, 7), x[begin : begin + 7])
                np.testing.assert_array_equal(rows.part(2, 3), x[begin + 2 : begin + 5])
            assert window(x, 35, 5, x.dtype) is None


def test_rows_that_xla_cannot_read_are_copied(rng):
    x = rng.normal(size=(40, D))
    for other in (np.asfortranarray(x), x[::2], x[:, 1:], x.astype(np.float32)):
        assert window(other, 10, 5, np.dtype(float)) is None
    rows, copy = copied(x[30:], room(16, D, np.float32), 16)
    np.testing.assert_array_equal(rows.part(0, 16)[:10], x[30:].astype(np.float32))
    assert not rows.part(10, 6).any()
    assert copy.shape == (10, D)


@pytest.mark.parametrize("order", ["fortran", "cut", "shifted"])
def test_the_layout_changes_nothing(order, small_chunks, rng):
    x, y = rows(rng, "float64")
    layouts = {
        "fortran": np.asfortranarray(x),
        "cut": np.hstack([x, x])[:, :D],
        "shifted": np.frombuffer(b"12345678" + x.tobytes(), offset=8).reshape(x.shape),
    }
    model, same = jf.Ridge().fit(x, y), jf.Ridge().fit(layouts[order], y)
    np.testing.assert_allclose(same.coef_, model.coef_, rtol=1e-12)
