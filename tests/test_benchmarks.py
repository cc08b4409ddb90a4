"""The harness: known sleeps, wrong rivals, interruptions, reports, honest baselines."""

import json
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

import jaxfound as jf
from benchmarks import baselines, report, results, roof, timing
from benchmarks.case import Case, Contender
from benchmarks.cases import CASES
from benchmarks.page import write_report
from benchmarks.run import SUITES, run, time_row
from jaxfound import cli
from jaxfound.nn import cnn

ROOT = Path(__file__).parents[1]
ROOF = {"bytes": 1e10, "flops": 1e11}


def waits(seconds, answer=1.0):
    def call(x):
        time.sleep(seconds)
        return np.asarray(answer * x.sum())

    return Contender("numpy", lambda: call)


def case(name="sum", **contenders):
    return Case(
        name,
        "toy",
        lambda rng, n, d: (np.ones((n, d)),),
        {"jax": Contender("jax", lambda: lambda x: jnp.sum(x)), **contenders},
        lambda x: x.sum(),
        1e-3,
        {"small": ((4, 2), (8, 2))},
    )


def row_of(toy, budget=0.5):
    names = list(toy.contenders)
    return time_row(toy, (4, 2), "float32", names, budget=budget, roof=ROOF)


# --- timing -----------------------------------------------------------------------------------


def test_a_known_sleep_is_measured_within_5_percent():
    plain, slowed = (lambda: time.sleep(0.05)), (lambda: time.sleep(0.2))
    found = timing.race({"a": plain, "b": slowed}, {"a": (), "b": ()}, budget=2)
    np.testing.assert_allclose(found["b"].median, 0.2, rtol=0.05)
    np.testing.assert_allclose(found["b"].median - found["a"].median, 0.15, rtol=0.05)


def test_compilations_are_counted_and_a_second_process_is_imitated():
    found = timing.start_cold(lambda: jax.jit(lambda x: jnp.sin(x) @ x), (np.ones((3, 3), "f"),))
    assert found["compiled"] >= 1
    assert 0 < found["compile"] < found["cold"]


def test_a_wrong_rival_gets_no_time():
    row = row_of(case(numpy=waits(0.0), sklearn=waits(0.0, answer=2.0)))
    wrong, right = row["backends"]["sklearn"], row["backends"]["numpy"]
    assert set(wrong) == {"error", "right"}
    assert wrong["error"] == 1.0
    assert {"cold", "steady", "iqr", "memory"} <= set(right)
    assert {"cold", "first", "compile", "compiled", "steady"} <= set(row["backends"]["jax"])
    text = report.markdown(results.Results(results.environment({}), [row]))
    assert "wrong (1e+00)" in text


@pytest.mark.parametrize("module", ["no_such_library", "no_such_library.inside", "numpy.no_such"])
def test_an_absent_rival_is_listed(module):
    row = row_of(case(torch=Contender(module, lambda: lambda x: x)))
    assert row["backends"]["torch"] == {"absent": module}


# --- the roof ---------------------------------------------------------------------------------


def test_a_scan_is_counted_by_its_length():
    def steps(x, n):
        return jax.lax.scan(lambda a, _: (jnp.matmul(a, x), None), x, length=n)[0]

    one, ten = (roof.work(partial(steps, n=n), (np.ones((8, 8), "f"),)) for n in (1, 10))
    assert one["flops"] == 2 * 8**3
    assert ten["flops"] == 10 * one["flops"]
    assert not ten["at_least"]
    assert ten["bytes"] == 2 * 8 * 8 * 4


def test_the_share_of_the_roof_is_of_what_binds():
    work = {"flops": 1e9, "bytes": 1e6}
    found = roof.share(work, ROOF, 0.02)
    np.testing.assert_allclose(found["share_of_roof"], 0.5)
    np.testing.assert_allclose(found["teraflops"], 0.05)


# --- results ----------------------------------------------------------------------------------


def quick(path, toys, **changes):
    options = {"suites": ["toy"], "backends": ["jax"], "sizes": "small", "dtypes": ["float32"]}
    return run(path, budget=0.0, cases=toys, **options | changes)


def test_an_interrupted_run_keeps_its_rows_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.run.measure_roof", lambda: ROOF)
    path, calls = tmp_path / "r.jsonl", []

    def data(rng, n, d):
        calls.append(n)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return (np.ones((n, d)),)

    toy = Case(**vars(case()) | {"data": data})
    with pytest.raises(KeyboardInterrupt):
        quick(path, [toy])
    kept = results.load(path).rows
    assert [row["size"] for row in kept] == [[4, 2]]
    with path.open("a") as file:
        file.write('{"case": "sum", "si')  # cut off by a kill
    quick(path, [toy])
    assert calls == [4, 8, 8]
    assert results.load(path).rows[0] == kept[0]
    assert len(results.load(path).rows) == 2
    with pytest.raises(ValueError, match="rows with other settings"):
        quick(path, [toy], sizes="large")


def test_a_file_of_another_schema_is_refused(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"schema": 0}))
    with pytest.raises(ValueError, match="schema 1"):
        results.load(path)


# --- report and compare -----------------------------------------------------------------------


def fake(name, ours, theirs, right=True):
    steady = {"steady": ours, "iqr": 0.0, "first": 1.0, "cold": 2.0, "compile": 1.0, "compiled": 3}
    work = {"flops": 1e6, "bytes": 1e6, "teraflops": 1.0, "gigabytes_per_second": 1.0}
    return {
        "case": name,
        "size": [len(name), 2],
        "dtype": "float32",
        "roof": ROOF,
        "work": work | {"at_least": True, "share_of_roof": 0.5},
        "backends": {
            "jax": {"error": 0.0, "right": right} | (steady if right else {}),
            "numpy": {"error": 0.0, "right": True, "steady": theirs, "iqr": 0.0},
            "torch": {"absent": "torch"},
        },
    }


def pretend(*rows):
    return results.Results(results.environment({}), list(rows))


def test_rows_where_we_lose_come_first(tmp_path):
    found = pretend(fake("wins", 1.0, 3.0), fake("loses", 2.0, 1.0), fake("wrong", 0, 1.0, False))
    text = report.markdown(found)
    assert text.index("wrong 5") < text.index("loses 5") < text.index("wins 4")
    assert "ahead of the fastest rival in 1 of 2 rows" in text
    assert "absent" in text
    page = write_report(found, tmp_path).read_text()
    assert page.count("<img") == 2
    assert "loses 5 x 2" in page
    assert "http" not in page.replace("http-equiv", "")


def test_compare_flags_what_became_slower_beside_its_rivals():
    before = pretend(fake("a", 1.0, 1.0), fake("bb", 1.0, 1.0), fake("ccc", 1.0, 1.0))
    slower, same, wrong = fake("a", 1.5, 1.0), fake("bb", 2.0, 2.0), fake("ccc", 0, 1.0, False)
    complaints = report.compare(before, pretend(slower, same, wrong))
    assert len(complaints) == 2
    assert "1.50x slower" in complaints[0]
    assert complaints[1].startswith("ccc 3 x 2 float32: right before")
    assert report.compare(before, before) == []


def test_the_readme_holds_the_table_of_its_results_file():
    text = (ROOT / "README.md").read_text()
    begin = report.BEGIN.search(text)
    assert begin is not None
    table = report.readme_table(results.load(ROOT / begin[1]))
    assert text[begin.end() : text.index(report.END)] == table


def test_the_command_compares_and_says_where_it_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path, ours in zip(files, (1.0, 2.0), strict=True):
        journal = results.Journal(path, results.environment({}))
        journal.add(fake("a", ours, 1.0))
    assert cli.main(["bench", "compare", *map(str, files)]) == cli.DISAGREE
    assert "2.00x slower" in capsys.readouterr().out
    assert cli.main(["bench", "--suite", "forests"]) == cli.BAD_REQUEST
    assert "--suite has 'forests', expected of linear" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert cli.main(["bench"]) == cli.BAD_REQUEST
    assert "Run it from the root" in capsys.readouterr().err


def test_cases_have_names_of_their_own_and_rivals():
    sizes = [(c.name, kind, size) for c in CASES for kind in c.sizes for size in c.sizes[kind]]
    assert len(set(sizes)) == len(sizes)
    assert all("jax" in c.contenders and len(c.contenders) > 1 for c in CASES)
    assert {"linear", "pca", "svm", "nets", "search"} <= set(SUITES)


# --- baselines --------------------------------------------------------------------------------


@pytest.fixture
def regression(rng):
    x = rng.normal(size=(200, 4))
    return x, x @ np.array([1.0, -2, 0, 3]) + 0.5 + rng.normal(size=200)


def coefficients(model):
    return np.append(np.ravel(model.coef_), model.intercept_)


@pytest.mark.parametrize("penalty", [1e-8, 2.0])
def test_ridge(regression, penalty):
    want = coefficients(jf.Ridge(alpha=penalty).fit(*regression))
    np.testing.assert_allclose(baselines.ridge(*regression, penalty=penalty), want, rtol=1e-6)


def test_gradient_descent(regression):
    want = coefficients(jf.LinearRegression().fit(*regression))
    np.testing.assert_allclose(baselines.gradient_descent(*regression), want, rtol=1e-6)


def test_logistic(regression):
    x, y = regression[0], (regression[1] > 0).astype(int)
    want = coefficients(jf.LogisticRegression(tol=1e-8).fit(x, y))
    np.testing.assert_allclose(baselines.logistic(x, y, steps=20), want, rtol=1e-3)


def test_moments_and_pca(regression):
    x = regression[0]
    scaler, model = jf.StandardScaler().fit(x), jf.PCA(2).fit(x)
    want = np.append(scaler.mean_, scaler.scale_)
    np.testing.assert_allclose(baselines.moments(x), want, rtol=1e-10)
    variances, components = baselines.pca(x, 2)
    np.testing.assert_allclose(variances, model.explained_variance_, rtol=1e-8)
    np.testing.assert_allclose(np.abs(components), np.abs(model.components_), rtol=1e-6)


def test_svm(regression):
    x, y = regression[0], np.where(regression[1] > 0, 1, -1)
    kernel = baselines.rbf(x, x, 0.5)
    beta, intercept = baselines.svm(kernel, y, tol=1e-6)
    model = jf.SVC(gamma=0.5, tol=1e-6).fit(x, y)
    np.testing.assert_allclose(kernel @ beta + intercept, model.decision_function(x), atol=1e-4)


def test_tree():
    x, y = load_iris(return_X_y=True)
    grown = baselines.tree(x, y, depth=3)
    want = DecisionTreeClassifier(max_depth=3, random_state=0).fit(x, y).score(x, y)
    np.testing.assert_allclose(np.mean(baselines.predict_tree(grown, x) == y), want)


def cross_entropy(logits, y):
    return -jax.nn.log_softmax(logits)[jnp.arange(len(y)), y].mean()


def test_cnn_backward_equals_grad_of_ours(x64, rng):
    network = cnn.CNN((14, 14, 1), 3, channels=(3, 4), hidden=5, rngs=nnx.Rngs(0))
    graph, state, rest = nnx.split(network, nnx.Param, ...)
    state = jax.tree.map(lambda a: a.astype("float64"), state)
    x, y = rng.normal(size=(6, 14, 14, 1)), rng.integers(0, 3, 6)

    def loss_of(state):
        return cross_entropy(nnx.merge(graph, state, rest)(jnp.asarray(x)), y)

    loss, slopes = jax.value_and_grad(loss_of)(state)

    def named(state):
        convs = {f"conv{i}": state["convs"][i] for i in range(2)}
        layers = convs | {"hidden": state["hidden"], "out": state["out"]}
        kernels = {name: np.asarray(layer["kernel"][...]) for name, layer in layers.items()}
        biases = {name + "_bias": np.asarray(layers[name]["bias"][...]) for name in layers}
        return kernels | biases

    found, gradients = baselines.cnn_gradient(named(state), x, y)
    np.testing.assert_allclose(found, loss, rtol=1e-10)
    for name, want in named(slopes).items():
        np.testing.assert_allclose(gradients[name], want, rtol=1e-7, atol=1e-12, err_msg=name)


def lstm_loss(weights, x, y):
    """The forward pass alone: JAX derives the rest."""

    def step(carry, x):
        h, c = carry
        gates = x @ weights["input"] + h @ weights["state"] + weights["bias"][None]
        i, f, g, o = jnp.split(gates, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), None

    start = jnp.zeros((len(x), len(weights["state"])))
    (h, _), _ = jax.lax.scan(step, (start, start), x.swapaxes(0, 1))
    return cross_entropy(h @ weights["out"], y)


def test_lstm_backward_equals_grad(x64, rng):
    shapes = {"input": (3, 16), "state": (4, 16), "bias": (16,), "out": (4, 2)}
    weights = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    x, y = rng.normal(size=(5, 7, 3)), rng.integers(0, 2, 5)
    loss, want = jax.value_and_grad(lstm_loss)(weights, jnp.asarray(x), y)
    found, gradients = baselines.lstm_gradient(weights, x, y)
    np.testing.assert_allclose(found, loss, rtol=1e-10)
    for name in weights:
        np.testing.assert_allclose(gradients[name], want[name], rtol=1e-8, err_msg=name)
