"""Times `fit` beside every rival in one process: `python -m benchmarks.run --help`.

Steady state, NumPy in and out. The rivals take turns, so that a slow moment of the machine hits
all of them, each after a pause and a warm-up of its own; a row holds medians and the ratio of each
rival's to ours. First calls, compilation included, are kept apart. No time is printed for an
answer that is wrong.
"""

import argparse
import dataclasses
import datetime
import itertools
import json
import os
import platform
import statistics
import time
import warnings
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.cases import CASES, rivals

__all__ = ["main"]

_PAUSE = 0.3  # seconds: threads of whoever ran before spin for a while, and would hold a core
_WARM_UP = 0.1  # seconds of untimed calls then, in which an idle core wakes up
RIVALS = ("jaxfound", "scikit-learn", "sklearnex", "NumPy")


def main() -> None:
    options = _options()
    rows = []
    chosen = [case for case in CASES if not options.only or case.name in options.only.split(",")]
    for case, dtype in itertools.product(chosen, options.dtype.split(",")):
        for n, d in case.sizes:
            rows.append(_row(case, max(n // options.shrink, 200), d, np.dtype(dtype), options))
            print(_line(rows[-1]), flush=True)
    _print(rows)
    if options.out:
        _save(rows, options.out)


def _options():
    parser = argparse.ArgumentParser(description="Time every fit beside its rivals.")
    parser.add_argument("--only", default="", help="names of cases, with commas")
    parser.add_argument("--dtype", default="float32,float64")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--shrink", type=int, default=1, help="divide the numbers of rows by this")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    return parser.parse_args()


def _row(case, n, d, dtype, options):
    rng = np.random.default_rng(0)
    data = [a if a.dtype == np.int64 else a.astype(dtype) for a in case.data(rng, n, d)]
    functions = rivals(case)
    first, answers, times = {}, {}, {name: [] for name in functions}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rivals that stop early are judged by their answers
        for name, function in functions.items():
            first[name], answers[name] = _time(function, data)
        for repeat in range(options.repeats):
            names = list(functions)
            for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
                times[name].append(_steady(functions[name], data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exact = _reference(case, data)
    errors = {name: _error(answer, exact) for name, answer in answers.items()}
    return {
        "case": case.name,
        "n": n,
        "d": d,
        "dtype": dtype.name,
        "milliseconds": {name: 1e3 * statistics.median(t) for name, t in times.items()},
        "first": {name: 1e3 * t for name, t in first.items()},
        "error": errors,
        "right": {name: bool(error <= case.tolerance) for name, error in errors.items()},
    }


def _steady(function, data):
    time.sleep(_PAUSE)
    end = time.perf_counter() + _WARM_UP
    function(*data)
    while time.perf_counter() < end:
        function(*data)
    return _time(function, data)[0]


def _time(function, data):
    start = time.perf_counter()
    answer = function(*data)  # NumPy out: nothing is left running
    return time.perf_counter() - start, answer


def _reference(case, data):
    """The answer in float64, by scikit-learn at a tight tolerance (or NumPy, if there is one)."""
    wide = [a if a.dtype == np.int64 else a.astype(np.float64) for a in data]
    if case.numpy is not None:
        return case.numpy(*wide)
    tight = dataclasses.replace(case, options=(*case.options, ("tol", 1e-6)))
    return rivals(tight)["scikit-learn"](*wide)


def _error(answer, exact):
    return float(np.abs(answer - exact).max() / np.abs(exact).max())


def _ratio(row):
    """How many times our time the fastest right rival takes, and who that is."""
    times = {name: t for name, t in row["milliseconds"].items() if row["right"][name]}
    ours = times.pop("jaxfound", None)
    if ours is None or not times:
        return None, "-"
    fastest = min(times, key=times.__getitem__)
    return times[fastest] / ours, fastest


def _line(row):
    ratio, fastest = _ratio(row)
    times = " ".join(f"{name} {t:.1f}" for name, t in row["milliseconds"].items())
    shown = "wrong" if ratio is None else f"{ratio:.2f}x {fastest}"
    return f"{row['case']} {row['n']}x{row['d']} {row['dtype']}: {times} ms -> {shown}"


def _print(rows):
    table = Table("case", "rows x columns", "dtype", *RIVALS, "first", "ratio", "to")
    for row in sorted(rows, key=lambda row: _ratio(row)[0] or 0):  # where we lose comes first
        ratio, fastest = _ratio(row)
        shape = f"{row['n']} x {row['d']}"
        times = [_cell(row, name) for name in RIVALS]
        shown = "-" if ratio is None else f"{ratio:.2f}"
        first = f"{row['first']['jaxfound']:.0f}"
        table.add_row(row["case"], shape, row["dtype"], *times, first, shown, fastest)
    Console(width=120).print(table)


def _cell(row, name):
    if name not in row["milliseconds"]:
        return "absent"
    return f"{row['milliseconds'][name]:.1f} ms" if row["right"][name] else "wrong"


def _save(rows, path):
    environment = {
        "date": datetime.date.today().isoformat(),
        "jax": jax.__version__,
        "device": str(jax.devices()[0].device_kind),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"environment": environment, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
