"""Compiles the table of models for a platform that is not here; prints a line of JSON a program.

    python tests/compile_worker.py tpu

A compiler for a described topology accepts or refuses a program, and says what memory it takes:
that it runs, how fast, and what the numbers are, only the device can say.
"""

import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from cases import CASES
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

CUDA = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132
  fpus_per_core: 128 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
  block_dim_limit_z: 65535 memory_bandwidth: 3352320000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 84942979072
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 minor: 0 } registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
device_description_str: "sm_90"
"""
TOPOLOGIES = {
    "tpu": {"topology_name": "v5e:2x2"},
    "cuda": {"topology": "1x1x1", "target_config": CUDA},
}


def main(platform):
    described = topologies.get_topology_desc(platform=platform, **TOPOLOGIES[platform])
    mesh = Mesh(np.array(described.devices[:1]), ("one",))
    everywhere = NamedSharding(mesh, PartitionSpec())
    for name, function, arrays in programs():
        shapes = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(np.shape(a), jnp.asarray(a).dtype, sharding=everywhere),
            arrays,
        )
        print(json.dumps({"name": name} | compiled(function, shapes)), flush=True)


def programs():
    """The controls, one that compiles and one that cannot, and every case."""
    square = jnp.ones((64, 64))
    yield "can", lambda x: jnp.matmul(x.T, x, precision="highest"), (square,)
    yield "cannot", lambda x: jnp.linalg.eig(x)[0], (square,)
    for case in (case for case in CASES if not case.twin):

        def fit_and_predict(x, y, weight, hyper, case=case):
            params, info = case.fit(x, y, weight, hyper)
            return case.predict(params, x), info

        yield case.id, fit_and_predict, (*case.arrays("float32"), case.hyper_as("float32"))


def compiled(function, shapes):
    start = time.perf_counter()
    try:
        program = jax.jit(function).lower(*shapes).compile()
    except Exception as error:  # whatever the compiler says is the result
        return {"error": str(error)[:500]}
    memory = program.memory_analysis()
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "operations": program.as_text().count(" = "),
        "temporary_bytes": getattr(memory, "temp_size_in_bytes", None),
    }


if __name__ == "__main__":
    main(sys.argv[1])
