"""The models through the real compilers for TPU and CUDA, where the user has installed those."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cases import CASES

WORKER = Path(__file__).with_name("compile_worker.py")
NEEDS = {  # of each platform, the packages that hold its compiler: one of each group
    "tpu": (("libtpu",),),
    "cuda": (
        ("jax_plugins.xla_cuda12", "jax_plugins.xla_cuda13"),
        ("nvidia.cuda_nvcc", "nvidia.cu13"),
    ),
}


def is_there(package):
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


HERE = [name for name, groups in NEEDS.items() if all(any(map(is_there, g)) for g in groups)]


@pytest.mark.parametrize("platform", HERE)
def test_every_model_compiles(platform, capsys):
    """Optional: `pip install libtpu`, or JAX's CUDA plugin and compiler, brings it in."""
    # No device is looked for, and another process may hold the library.
    quiet = {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    quiet["XLA_FLAGS"] = ""  # those of the other tests are of the CPU
    ran = subprocess.run(
        [sys.executable, str(WORKER), platform],
        env=os.environ | quiet,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    found = {row.pop("name"): row for row in map(json.loads, lines)}
    with capsys.disabled():
        print(f"\ncompiled for {platform}:", json.dumps(found, indent=1))
    assert "error" not in found.pop("can")
    assert "error" in found.pop("cannot")
    assert set(found) == {case.id for case in CASES if not case.twin}
    assert {name: row["error"] for name, row in found.items() if "error" in row} == {}
