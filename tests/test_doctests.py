"""Every example in a docstring runs, and gives what it says."""

import ast
import doctest
import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

import jaxfound as jf
from jaxfound import data, parallel, streaming
from jaxfound.data import images, reviews
from jaxfound.metrics import accuracy
from jaxfound.model_selection import folds, search
from jaxfound.models import linear, logistic, pca, ridge, scaling
from jaxfound.nn.cnn import CNN

PACKAGE = Path(jf.__file__).parent
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
N, D = 1000, 10
FLOAT_TARGETS = {"bootstrap", "hypergrad", "influence", "linear", "parallel", "ridge", "search"}


def documented(path):
    """The docstrings of a file that have examples, by the line that they begin in."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text and ">>> " in text:
                yield text, getattr(node, "lineno", 1), getattr(node, "name", path.stem)


EXAMPLES = [
    pytest.param(path, text, line, id=f"{path.relative_to(PACKAGE).as_posix()}-{name}")
    for path in sorted(PACKAGE.rglob("*.py"))
    for text, line, name in documented(path)
]


@pytest.fixture
def names(tmp_path, monkeypatch, rng):
    """What the examples take for granted: rows `x`, `y`, and files of them where they run."""
    monkeypatch.chdir(tmp_path)
    x = rng.normal(size=(N, D)).astype(np.float32)
    y = (x @ np.arange(D, dtype=np.float32) > 0).astype(np.int32)
    np.save("x.npy", x)
    np.save("y.npy", y.astype(np.float32))
    Path("folder_of_parquet").mkdir()
    pd.DataFrame({"size": x[:, 0], "price": x[:, 1]}).to_parquet("folder_of_parquet/0.parquet")
    sentences = reviews.movie_sentences()
    given = {
        "x": jnp.asarray(x),
        "y": jnp.asarray(y),
        "X": x,
        "targets": y,
        "split": folds.k_fold(N, 5),
        "make_block": lambda seed: (x + seed, y),
        "params": logistic.fit(jnp.asarray(x), jnp.asarray(y))[0],
        "score": lambda params, x, y, weight: accuracy(y, logistic.predict(params, x), weight),
        "images": data.images.Images(*(part[:64] for part in images.fashion_mnist())),
        "texts": sentences.texts[:200],
        "labels": sentences.labels[:200],
    }
    rooms = {"data": data, "folds": folds, "search": search}
    rooms |= {"parallel": parallel, "streaming": streaming, "numpy": np, "nnx": nnx}
    models = {"ridge": ridge, "linear": linear, "logistic": logistic}
    models |= {"pca": pca, "scaling": scaling, "CNN": CNN, "Ridge": jf.Ridge}
    return {"jax": jax, "jnp": jnp, "jf": jf, **rooms, **models, **given}


@pytest.mark.parametrize(("path", "text", "line"), EXAMPLES)
def test_an_example_gives_what_it_says(path, text, line, names):
    module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).parts)[:-3])
    known = names | vars(module)
    if path.stem in FLOAT_TARGETS:
        known["y"] = names["y"].astype(jnp.float32)
    test = doctest.DocTestParser().get_doctest(text, known, path.stem, str(path), line)
    said = []
    found = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=said.append)
    assert found.attempted > 0
    assert found.failed == 0, "".join(said)
