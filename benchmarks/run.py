"""Runs the rows of a suite: answers first, then times of those that are right."""

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.case import Case
from benchmarks.cases import CASES
from benchmarks.results import Journal, environment, key, ratio
from benchmarks.roof import measure_roof, share, work
from benchmarks.timing import device, once, peak_memory, quietly, race, start_cold

__all__ = ["BACKENDS", "SUITES", "run", "time_row"]

BACKENDS = ("jax", "numpy", "sklearn", "sklearnex", "torch", "keras", "xgboost")
SUITES = tuple(dict.fromkeys(case.suite for case in CASES))
SEED = 0


def run(
    out: Path | None,
    *,
    suites: Sequence[str],
    backends: Sequence[str],
    sizes: str,
    dtypes: Sequence[str],
    budget: float,
    cases: Sequence[Case] = CASES,
) -> Path:
    """Times every row that the file does not hold yet, and returns the file."""
    settings = {"sizes": sizes, "backends": list(backends), "budget": budget}
    head = environment(settings)
    path = out or Path("benchmarks/results", f"{_slug(head['device'])}-{head['date']}.jsonl")
    journal = Journal(path, head)
    roof = measure_roof()
    chosen = [case for case in cases if case.suite in suites]
    for case in chosen:
        # A case in one dtype only is timed in that one, whatever was asked.
        for dtype in [dtype for dtype in dtypes if dtype in case.dtypes] or case.dtypes:
            for size in case.sizes.get(sizes, ()):
                if key({"case": case.name, "size": size, "dtype": dtype}) not in journal.done:
                    row = time_row(case, size, dtype, backends, budget=budget, roof=roof)
                    journal.add(row)
                    print(_line(row), flush=True)
    return path


def time_row(
    case: Case,
    size: tuple[int, ...],
    dtype: str,
    backends: Iterable[str],
    *,
    budget: float,
    roof: dict[str, float],
) -> dict[str, Any]:
    """Everything that is known of one row."""
    data = _cast(case.data(np.random.default_rng(SEED), *size), dtype)
    wanted = {name: rival for name, rival in case.contenders.items() if name in backends}
    absent = {name: {"absent": r.needs} for name, r in wanted.items() if not _installed(r.needs)}
    present = {name: rival for name, rival in wanted.items() if name not in absent}
    with quietly():
        entries = {name: _start(name, rival, data) for name, rival in present.items()}
        exact = case.exact(*_cast(data, "float64"))
        calls, inputs = {}, {}
        for name, rival in present.items():
            calls[name], inputs[name] = rival.make(), data
            entries[name]["error"] = case.distance(rival.answer(calls[name](*data)), exact)
            entries[name]["right"] = bool(entries[name]["error"] <= case.tolerance)
        _add_resident(case, calls, inputs, entries, exact)
        right = {name: call for name, call in calls.items() if entries[name]["right"]}
        for name, timing in race(right, inputs, budget=budget, seed=SEED).items():
            entries[name] |= {"steady": timing.median, "iqr": timing.iqr, "n": len(timing.seconds)}
            if timing.median < budget:  # one more call of what is slow would outlast the row
                entries[name]["memory"] = peak_memory(calls[name], inputs[name])
    _drop_times(entries)
    row = {"case": case.name, "suite": case.suite, "size": list(size), "dtype": dtype}
    row |= {"seed": SEED, "tolerance": case.tolerance, "roof": roof, "backends": entries | absent}
    if case.program and "steady" in entries.get("jax", {}):
        with jax.enable_x64(dtype == "float64"):
            row["work"] = work(case.program, data)
        row["work"] |= share(row["work"], roof, entries["jax"]["steady"])
    return row


def _start(name, rival, data):
    if name == "jax":
        return start_cold(rival.make, data)
    cold, _ = once(rival.make(), data)
    return {"cold": cold}


def _add_resident(case, calls, inputs, entries, exact):
    """On an accelerator, ours once more with data that is there already."""
    if device().platform == "cpu" or not case.resident or "jax" not in calls:
        return
    rival = case.contenders["jax"]
    make = rival.make()
    inputs["jax-resident"] = jax.device_put(inputs["jax"], device())

    def call(*data):
        result = make(*data)
        jax.block_until_ready(vars(result) if hasattr(result, "__dict__") else result)
        return result

    calls["jax-resident"] = call
    error = case.distance(np.asarray(rival.answer(call(*inputs["jax-resident"]))), exact)
    entries["jax-resident"] = {"error": error, "right": bool(error <= case.tolerance)}


def _drop_times(entries):
    """A time without a right answer is not a result."""
    for entry in entries.values():
        if not entry["right"]:
            for name in ("cold", "first", "compile", "compiled"):
                entry.pop(name, None)


def _cast(data, dtype):
    return tuple(a.astype(dtype) if np.asarray(a).dtype.kind == "f" else a for a in data)


def _installed(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


def _line(row):
    against, fastest = ratio(row)
    times = " ".join(f"{name} {_shown(entry)}" for name, entry in row["backends"].items())
    verdict = "" if against is None else f" -> {against:.2f}x {fastest}"
    return f"{row['case']} {'x'.join(map(str, row['size']))} {row['dtype']}: {times}{verdict}"


def _shown(entry):
    if "absent" in entry:
        return "absent"
    return f"{1e3 * entry['steady']:.1f} ms" if "steady" in entry else "wrong"


def _slug(text):
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
