"""What only a process of its own can show of a fit to a source: its memory, and Ctrl-C."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from jaxfound.models import ridge

ROWS, COPIES, D = 2**18, 64, 64  # 4.3 GB of float32

FIT = """
import resource, sys
import numpy as np
import jaxfound as jf

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

x = np.load(sys.argv[1], mmap_mode="r")
y = np.load(sys.argv[2], mmap_mode="r")
jf.Ridge().fit(np.ones((8, 2), np.float32), np.ones(8, np.float32))  # what JAX itself takes
before = peak()
model = jf.Ridge().fit(x, y)
print(x.nbytes, peak() - before)
np.save(sys.argv[3], np.append(model.coef_, model.intercept_))
"""

ENDLESS = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
import itertools, sys, threading
import numpy as np
import jaxfound as jf
from jaxfound.data import open_rows

def blocks():
    for i in itertools.count():
        if i == 3000:  # beyond what is read ahead for the first look
            print("going", flush=True)
        yield np.ones((1000, 3)) * i, np.arange(1000.0)

model = jf.Ridge()
try:
    model.fit(open_rows(blocks))
except KeyboardInterrupt as error:
    print(*error.__notes__)
    print("left:", [name for name in vars(model) if name.endswith("_")])
    print("threads:", [t.name for t in threading.enumerate() if "_produce" in t.name])
"""


@pytest.mark.slow
def test_four_gigabytes_are_fitted_in_a_quarter_of_them(tmp_path, rng):
    base = rng.normal(size=(ROWS, D)).astype(np.float32) + np.float32(3)
    targets = (base @ np.linspace(-1, 1, D) + rng.normal(size=ROWS)).astype(np.float32)
    names = [str(tmp_path / name) for name in ("x.npy", "y.npy", "coef.npy")]
    x = np.lib.format.open_memmap(names[0], "w+", np.float32, (ROWS * COPIES, D))
    for i in range(COPIES):
        x[i * ROWS : (i + 1) * ROWS] = base
    x.flush()
    np.save(names[1], np.tile(targets, COPIES))
    del x
    try:
        command = [sys.executable, "-c", FIT, *names]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
    finally:
        (tmp_path / "x.npy").unlink()
    size, extra = map(int, ran.stdout.split())
    assert size > 4e9
    assert extra < 1e9
    # A row that is there 64 times is a row of weight 64.
    params, _ = ridge.fit(base, targets, np.full(ROWS, COPIES, np.float32))
    np.testing.assert_allclose(
        np.load(names[2]), np.append(params.coef, params.intercept), rtol=1e-4, atol=1e-4
    )


def test_ctrl_c_says_how_far_it_got_and_leaves_nothing():
    process = subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "going\n"
    while process.poll() is None:  # one that comes inside a callback of JAX is lost
        process.send_signal(signal.SIGINT)
        time.sleep(1)
    said = process.stdout.read()
    process.stdout.close()
    assert "Stopped in pass 1, after" in said
    assert "left: []" in said
    assert "threads: []" in said
