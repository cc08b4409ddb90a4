"""Bad sources and interrupted fits: a sentence, and nothing half-fitted."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from streams import CASES, Case, data, in_blocks, labelled

import jaxfound as jf
from jaxfound import streaming
from jaxfound.data import batches, open_rows
from jaxfound.models import logistic, pca, ridge, svm


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """So that a few rows are several batches."""
    monkeypatch.setattr(batches, "_LEAST_ROWS", 256)
    monkeypatch.setattr(batches, "_MOST_ROWS", 1024)


# --- bad input --------------------------------------------------------------------------------


class Changing:
    """Blocks that are others in the second pass: `change` makes them."""

    def __init__(self, blocks, change):
        self.blocks, self.change, self.passes = blocks, change, 0

    def __iter__(self):
        self.passes += 1
        return iter(self.blocks if self.passes < 7 else self.change(list(self.blocks)))


def good():
    x, y, weight = data(CASES[0])
    return in_blocks(x, y, weight)


def with_block(change):
    """`good()` with the third block changed."""
    blocks = good()
    blocks[2] = change(*blocks[2])
    return blocks


def with_value(part, value):
    def change(*parts):
        parts = [p.copy() for p in parts]
        parts[part][11] = value
        return tuple(parts)

    return with_block(change)


BLOCKS = (
    ("columns", lambda: with_block(lambda x, y, w: (x[:, 1:], y, w)), "block 2 has columns 3, exp"),
    ("dtype", lambda: with_block(lambda x, y, w: (x.astype("f4"), y, w)), "block 2 has dtype floa"),
    ("kind", lambda: with_block(lambda x, y, w: (x.astype(str), y, w)), "block 2 .*expected num"),
    ("rank", lambda: with_block(lambda x, y, w: (x[:, 0], y, w)), r"block 2 has shape \(700,\)"),
    ("no-y", lambda: with_block(lambda x, y, w: (x, None, w)), "block 2 has targets of shape None"),
    ("no-weight", lambda: with_block(lambda x, y, w: (x, y)), "block 2 has weights False"),
    ("short-y", lambda: with_block(lambda x, y, w: (x, y[1:], w)), "y of block 2 has 699 rows, ex"),
    ("nan", lambda: with_value(0, np.nan), "block 2 has NaN or infinity in row 11 of x"),
    ("nan-y", lambda: with_value(1, np.nan), "block 2 has NaN or infinity in row 11 of y"),
    ("negative", lambda: with_value(2, -3.0), "block 2 has the weight -3, expected none below 0"),
    ("zero", lambda: [(x, y, 0 * w) for x, y, w in good()], "All weights of the source are 0"),
    ("four", lambda: [(*b, 1) for b in good()], "block 0 has 4 parts, expected x,"),
    ("empty", list, "The source has no blocks, expected at least one row"),
    ("no-rows", lambda: [tuple(p[:0] for p in good()[0])], "The source has no rows"),
    ("once", lambda: iter(good()), "can be read only once, expected one that starts anew"),
)


@pytest.mark.parametrize(("blocks", "said"), [b[1:] for b in BLOCKS], ids=[b[0] for b in BLOCKS])
def test_a_bad_block_is_named_and_leaves_the_estimator_alone(blocks, said):
    model = jf.Ridge()
    with pytest.raises(ValueError, match=said):
        model.fit(open_rows(blocks()))
    assert vars(model) == vars(jf.Ridge())


CHANGES = (
    ("other-rows", lambda blocks: [blocks[1], blocks[0], *blocks[2:]], r"Rows 0 to \d+ .*unlike"),
    ("fewer", lambda blocks: blocks[:-1], "unlike those of the first pass|gave 2800 rows"),
    ("more", lambda blocks: [*blocks, blocks[0]], "unlike those of the first pass"),
    ("none", lambda blocks: [], "The source has no rows"),
    ("unknown", lambda blocks: [(x, y + "er") for x, y in blocks], "the label [a-z]+er, expected"),
)


@pytest.mark.parametrize(("change", "said"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_another_second_pass_is_noticed(change, said):
    x, y, _ = labelled("names")
    model = jf.LogisticRegression().fit(x, y)
    before = dict(vars(model))
    blocks = Changing(in_blocks(x, np.where(y == "low", "down", y)), change)
    with pytest.raises(ValueError, match=said):
        model.fit(open_rows(blocks))
    assert vars(model) == before


def short(path):
    path.write_bytes(path.read_bytes()[:-1000])


def noise(path):
    path.write_bytes(b"noise" * 1000)


FILES = (
    ("missing", "x.npy", lambda path: path.unlink(), FileNotFoundError, "x.npy is not there"),
    ("short", "x.npy", short, ValueError, r"x.npy has \d+ bytes, expected 96128"),
    ("noise", "x.npy", noise, ValueError, "x.npy has no header of a .npy file"),
    ("suffix", "x.txt", noise, ValueError, "x.txt ends in '.txt', expected"),
    ("columns", "x.npy", lambda p: np.save(p, np.ones((9, 2)).T), ValueError, "stored by columns"),
    ("short", "x.parquet", short, ValueError, "x.parquet is not a whole Parquet file"),
)


@pytest.mark.parametrize(
    ("name", "change", "error", "said"),
    [f[1:] for f in FILES],
    ids=[f"{f[0]}-{f[1]}" for f in FILES],
)
def test_a_bad_file_is_named(tmp_path, name, change, error, said):
    x, y, _ = data(CASES[0])
    np.save(tmp_path / "x.npy", x)
    pa.parquet.write_table(pa.table({"a": x[:, 0], "y": y}), tmp_path / "x.parquet")
    change(tmp_path / name)
    with pytest.raises(error, match=said):
        open_rows(tmp_path / name, y="y" if "parquet" in name else y)


def test_a_file_that_shrinks_or_goes_later_is_named(tmp_path):
    x, y, _ = data(CASES[0])
    np.save(tmp_path / "x.npy", x)
    rows = open_rows(tmp_path / "x.npy", y)
    short(tmp_path / "x.npy")
    with pytest.raises(ValueError, match=r"x.npy ends at byte .* it was cut short"):
        streaming.fit(ridge.fit, rows)
    (tmp_path / "x.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"x.npy is no longer there"):
        streaming.fit(ridge.fit, rows)


def test_parts_that_do_not_fit_together_are_named(tmp_path):
    x, y, weight = data(CASES[0])
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
    for i, cut in enumerate((1000, 1500)):
        np.save(tmp_path / "x" / f"{i}.npy", np.split(x, [1000])[i])
        np.save(tmp_path / "y" / f"{i}.npy", np.split(y, [cut])[i] if i else y[:cut])
    with pytest.raises(ValueError, match="y has 2500 rows, expected 3000 as in X"):
        open_rows(tmp_path / "x", tmp_path / "y")
    np.save(tmp_path / "y" / "0.npy", y[:1500])
    with pytest.raises(ValueError, match=r"0.npy has 1500 rows, expected 1000 as in .*0.npy"):
        open_rows(tmp_path / "x", tmp_path / "y")
    with pytest.raises(ValueError, match="weight has 2999 rows, expected 3000"):
        open_rows(x, y, weight[1:])
    with pytest.raises(ValueError, match="given beside blocks, expected them inside"):
        open_rows(good(), y)
    with pytest.raises(TypeError, match="rows is a int, expected an array, a path"):
        open_rows(3)
    pa.parquet.write_table(pa.table({"a": x[:, 0]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"x.parquet has no column 'price', expected one of"):
        open_rows(tmp_path / "x.parquet", y="price")


REFUSED = (
    (svm.fit, {}, "model is fit of jaxfound.models.svm, expected fit of linear"),
    (ridge.fit, {"config": ridge.Config("gd")}, "is 'gd', expected one of 'auto'"),
    (logistic.fit, {"config": logistic.Config("lbfgs")}, "is 'lbfgs', expected one of 'auto'"),
    (logistic.fit, {"hyper": logistic.Hyper(l1_ratio=1.0)}, "l1_ratio is 1.0, expected 0"),
    (logistic.fit, {"config": logistic.Config(n_classes=2000)}, "10000 coefficients, expected at"),
    (logistic.fit, {}, "y has dtype float64, expected class indices"),
    (pca.fit, {"config": pca.Config(9)}, r"n_components is 9, expected 0 to min\(n, d\) = 4"),
)


@pytest.mark.parametrize(("model", "options", "said"), REFUSED)
def test_what_cannot_be_fitted_batch_by_batch_is_refused(model, options, said):
    with pytest.raises(ValueError, match=said):
        streaming.fit(model, open_rows(good()), **options)


def test_class_indices_are_in_range():
    x, y, _ = data(Case("", None, "three"))
    with pytest.raises(ValueError, match=r"y has class indices from 0 to 2, expected 0 to .* = 1"):
        streaming.fit(logistic.fit, open_rows(in_blocks(x, y)))


def test_an_estimator_says_what_it_cannot_do_with_a_source():
    x, y, _ = labelled("numbers")
    rows = open_rows(in_blocks(x, y))
    with pytest.raises(TypeError, match="expected an array: SVC needs all rows at once"):
        jf.SVC().fit(rows, y)
    with pytest.raises(ValueError, match="given beside a source, expected them inside"):
        jf.Ridge().fit(rows, y)
    with pytest.raises(ValueError, match=r"requires y to be passed.* open_rows\(..., y=y\)"):
        jf.Ridge().fit(open_rows(x))
    with pytest.raises(ValueError, match="alpha has 2 numbers, expected one for a source"):
        jf.Ridge(alpha=[1, 2]).fit(rows)
    with pytest.raises(ValueError, match="solver is 'liblinear', expected another"):
        jf.LogisticRegression(solver="liblinear").fit(open_rows(in_blocks(x, y[:, 0] > 0)))
