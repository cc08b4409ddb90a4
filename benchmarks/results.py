"""Results on disk: JSON lines, a head and then one line a row, so that a killed run goes on.

The head says what numbers depend on: machine, versions, threads, revision, settings.
"""

import dataclasses
import datetime
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.timing import device

__all__ = ["SCHEMA", "Journal", "Results", "environment", "key", "load", "ratio"]

SCHEMA = 1
_PACKAGES = ("jax", "numpy", "scikit-learn", "scikit-learn-intelex", "torch", "keras", "xgboost")
_MUST_AGREE = ("schema", "device", "machine", "cores", "revision", "settings")

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Results:
    head: dict[str, Any]
    rows: list[Row]


def environment(settings: dict[str, Any]) -> dict[str, Any]:
    """What the numbers of a run depend on."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS")
    return {
        "schema": SCHEMA,
        "date": datetime.date.today().isoformat(),
        "device": device().device_kind,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": {name: os.environ[name] for name in threads if name in os.environ},
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "revision": _revision(),
        "settings": settings,
    }


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _revision():
    """The commit, with a + where files have changed since."""
    try:
        commit, changed = (
            subprocess.run(["git", *command], capture_output=True, text=True, check=True).stdout
            for command in (
                ("rev-parse", "--short", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no"),
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.strip() + ("+" if changed else "")


def key(row: Row) -> tuple[Any, ...]:
    """What makes two rows the same measurement."""
    return row["case"], *row["size"], row["dtype"]


class Journal:
    """A results file that is written row by row.

    Raises:
      ValueError: if the file is of other settings, another machine or another revision.
    """

    def __init__(self, path: Path, head: dict[str, Any]):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.done: set[tuple[Any, ...]] = set()
        if path.exists() and path.stat().st_size:
            found = load(path)
            _require_same(found.head, head, path)
            self.done = {key(row) for row in found.rows}
            head = found.head
            self._rewrite(head, found.rows)  # without a line that was cut off
        else:
            self._rewrite(head, [])

    def add(self, row: Row) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.done.add(key(row))

    def _rewrite(self, head, rows):
        unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        unfinished.write_text("".join(json.dumps(line) + "\n" for line in (head, *rows)))
        unfinished.replace(self.path)


def _require_same(found, wanted, path):
    differ = [name for name in _MUST_AGREE if found.get(name) != wanted.get(name)]
    if differ:
        raise ValueError(
            f"{path} holds rows with other {', '.join(differ)}, expected the same to go on with "
            "it: choose another --out, or remove the file."
        )


def load(path: Path) -> Results:
    """Reads a results file; a last line that was cut off is left out.

    Raises:
      ValueError: if it is no results file of this schema.
    """
    lines = list(_whole(path.read_text().splitlines()))
    if not lines or not isinstance(lines[0], dict) or lines[0].get("schema") != SCHEMA:
        raise ValueError(f"{path} is no results file, expected a head with schema {SCHEMA}.")
    return Results(lines[0], lines[1:])


def _whole(lines: Iterable[str]):
    for line in lines:
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


def ratio(row: Row) -> tuple[float | None, str]:
    """How many times our steady time the fastest right rival takes, and who that is."""
    times = {name: entry["steady"] for name, entry in row["backends"].items() if "steady" in entry}
    ours = times.pop("jax", None)
    if ours is None or not times:
        return None, "-"
    fastest = min(times, key=times.__getitem__)
    return times[fastest] / ours, fastest
