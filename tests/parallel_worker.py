"""One process of several: `python parallel_worker.py ADDRESS PROCESSES ID OUT [die]`."""

import os
import sys

import jax
import numpy as np

from jaxfound import parallel
from jaxfound.models import logistic, ridge

N, D = 4099, 5  # an odd number of rows, so that shares and devices do not divide them


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)).astype(np.float32)
    y = x @ np.arange(1, D + 1, dtype=np.float32) + rng.normal(size=N).astype(np.float32)
    return x, y, (y > 0).astype(np.int32)


def fits(x, y, label, weight):
    line, _ = ridge.fit(x, y, weight)
    odds, _ = logistic.fit(x, label, weight, config=logistic.Config("newton"))
    return [*line, *odds]


def main(address, processes, process_id, out, *orders):
    parallel.initialize(address, processes, process_id, timeout=15)
    mesh = parallel.make_mesh()
    mine = np.array_split(np.arange(N), processes)[process_id]
    rows = parallel.shard_rows(mesh, *(a[mine] for a in data()))
    if orders and process_id == processes - 1:
        os._exit(1)  # as a machine that is lost
    with jax.set_mesh(mesh):
        found = fits(*rows)
    np.savez(out, *map(np.asarray, found))


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 2)
    address, processes, process_id, out, *orders = sys.argv[1:]
    main(address, int(processes), int(process_id), out, *orders)
