"""The same seed gives the same bits, however a forest is grown: a stored digest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DIGEST = "b316598c1134dad12f33dd79588a7d4ade36f6ddfa56dd4b31df6058ff7eff99"
SCRIPT = Path(__file__).with_name("tree_digest.py")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "way"),
    [(1, "jit"), (8, "jit"), (1, "vmap"), (8, "last device"), (1, "python")],
)
def test_the_bits_are_those_that_are_stored(devices, way):
    """In a process of its own, in JAX's default settings, as users run it."""
    command = [sys.executable, str(SCRIPT), str(devices), way]
    environ = os.environ | {"XLA_FLAGS": ""}
    ran = subprocess.run(
        command, cwd=SCRIPT.parents[1], env=environ, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == [DIGEST]
