"""How time grows with rows, what a mesh costs, and a file: `python -m benchmarks.scaling`.

Growth: the exponent of time against n, 1 where twice the rows take twice the time. Weak scaling:
every device of a mesh has the same number of rows, whatever the number of devices; on a CPU its
devices share the cores, so that time per row is what can stay.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from jaxfound import data, parallel, streaming
from jaxfound.models import logistic, pca, ridge, scaling

__all__ = ["main"]

D = 16
ROWS = (10_000, 100_000, 1_000_000, 10_000_000)
ROWS_PER_DEVICE = 250_000
DEVICES = (1, 2, 4, 8)
_BINARY = logistic.Config("newton")
FITS = {
    "ridge": lambda x, y, weight: ridge.fit(x, y, weight),
    "logistic": lambda x, y, weight: logistic.fit(x, (y > 0).astype(int), weight, config=_BINARY),
    "scaling": lambda x, y, weight: scaling.fit(x, weight),
}
FILE_ROWS = 4_000_000
STREAMED = {"ridge": ridge.fit, "pca": pca.fit, "scaling": scaling.fit}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time against rows, and against devices.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--most-rows", type=int, default=ROWS[-1])
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", DEVICES[-1])
    rows = [n for n in ROWS if n <= options.most_rows]
    _show("rows", rows, {name: _growth(fit, rows, options.repeats) for name, fit in FITS.items()})
    devices = [p for p in DEVICES if p <= jax.device_count()]
    _show("devices", devices, {n: _weak(fit, devices, options.repeats) for n, fit in FITS.items()})
    _show_streamed(min(FILE_ROWS, options.most_rows), options.repeats)


def _data(n):
    x = np.random.default_rng(0).standard_normal((n, D), np.float32)
    return x, x @ np.linspace(-1, 1, D, dtype=np.float32)


def _growth(fit, rows, repeats):
    times = [_seconds(fit, (*map(jnp.asarray, _data(n)), None), repeats) for n in rows]
    steps = zip(rows, rows[1:], times, times[1:], strict=False)
    slopes = [np.log(b / a) / np.log(m / n) for n, m, a, b in steps]
    return [f"{1e3 * t:.1f} ms" for t in times], [f"exponent {s:.2f}" for s in slopes]


def _weak(fit, devices, repeats):
    plain = (*map(jnp.asarray, _data(ROWS_PER_DEVICE)), None)
    cells = []
    for p in devices:
        mesh = parallel.make_mesh(jax.devices()[:p])
        *rows, _ = parallel.shard_rows(mesh, *_data(p * ROWS_PER_DEVICE))
        with jax.set_mesh(mesh):
            cells.append(_seconds(fit, (*rows, None), repeats) / p)
            if p == 1:
                ratio = _ratio(fit, (*rows, None), plain, 5 * repeats)
    return [f"{1e3 * t:.1f} ms" for t in cells], [f"1 device: {ratio:.2f} x plain"]


def _show_streamed(n, repeats):
    x, y = _data(n)
    table = Table("fit", f"{n} rows in memory", "from a file", "read", "share of the speed")
    with tempfile.TemporaryDirectory() as folder:
        for name, array in (("x.npy", x), ("y.npy", y)):
            np.save(Path(folder, name), array)
        sources = [
            data.open_rows(x, y),
            data.open_rows(Path(folder, "x.npy"), Path(folder, "y.npy")),
        ]
        for name, fit in STREAMED.items():
            pairs = [
                [_one(streaming.fit, (fit, rows)) for rows in sources] for _ in range(repeats + 1)
            ]
            memory, file = map(statistics.median, zip(*pairs[1:], strict=True))
            speed = f"{x.nbytes / file / 1e9:.1f} GB/s"
            table.add_row(
                name,
                f"{1e3 * memory:.1f} ms",
                f"{1e3 * file:.1f} ms",
                speed,
                f"{memory / file:.2f}",
            )
    Console(width=140).print(table)


def _ratio(fit, data, other, repeats):
    """Time on `data` over time on `other`, in turns, so that a slow moment hits both."""
    pairs = [(_one(fit, data), _one(fit, other)) for _ in range(repeats)]
    return statistics.median(a for a, _ in pairs) / statistics.median(b for _, b in pairs)


def _seconds(fit, data, repeats):
    _one(fit, data)
    return statistics.median(_one(fit, data) for _ in range(repeats))


def _one(fit, data):
    start = time.perf_counter()
    jax.block_until_ready(fit(*data))
    return time.perf_counter() - start


def _show(title, sizes, results):
    table = Table("fit", *(f"{size} {title}" for size in sizes), "reading")
    for name, (cells, readings) in results.items():
        table.add_row(name, *cells, ", ".join(readings))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
