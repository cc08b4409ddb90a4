"""What the machine can do at most, timed in the same run, and how much work a program is."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import device, once

__all__ = ["measure_roof", "share", "work"]


@jax.jit
def _copy(x):
    return x + 1


@jax.jit
def _matmul(x):
    return jnp.matmul(x, x, precision="highest")


def measure_roof() -> dict[str, float]:
    """Bytes a second of a copy, read and written, and FLOP/s of a float32 matrix product."""
    on_host = device().platform == "cpu"
    n, side = (2**25, 2048) if on_host else (2**29, 8192)
    vector, square = jnp.ones(n, jnp.float32), jnp.ones((side, side), jnp.float32)
    return {
        "bytes": 2 * vector.nbytes / _best(_copy, vector),
        "flops": 2 * side**3 / _best(_matmul, square),
    }


def _best(call, x):
    return min(once(call, (x,))[0] for _ in range(8))


def work(program: Any, arrays: tuple[Any, ...]) -> dict[str, Any]:
    """FLOPs and bytes that a jitted function needs at least.

    XLA's cost analysis counts the body of a loop once, however often it runs, and every branch of a
    condition. So `flops` is counted from the traced program: a scan by its length, of branches the
    cheapest, and the body of a `while` once, where `at_least` says that there is one. `bytes` are
    those of the arguments and the results. What XLA counts, before it optimises, stands beside.
    """
    shapes = [jax.ShapeDtypeStruct(np.shape(a), a.dtype) for a in arrays]
    traced = jax.make_jaxpr(program)(*shapes)
    flops, open_ended = _flops(traced.jaxpr)
    cost: Any = jax.jit(program).lower(*shapes).cost_analysis() or {}
    ends = (*traced.in_avals, *traced.out_avals)
    return {
        "flops": flops,
        "at_least": open_ended,
        "bytes": sum(math.prod(aval.shape) * aval.dtype.itemsize for aval in ends),
        "xla_flops": cost.get("flops"),
        "xla_bytes": cost.get("bytes accessed"),
    }


def _flops(jaxpr) -> tuple[float, bool]:
    found = [_flops_of(equation) for equation in jaxpr.eqns]
    return sum((flops for flops, _ in found), 0.0), any(open_ended for _, open_ended in found)


def _flops_of(equation) -> tuple[float, bool]:
    name, parameters = equation.primitive.name, equation.params
    if name == "cond":
        branches = [_flops(branch.jaxpr) for branch in parameters["branches"]]
        return min(flops for flops, _ in branches), True
    inner = [_flops(body) for value in parameters.values() for body in _bodies(value)]
    if inner:
        times = parameters["length"] if name == "scan" else 1
        open_ended = name == "while" or any(open_ended for _, open_ended in inner)
        return times * sum(flops for flops, _ in inner), open_ended
    size = sum(math.prod(getattr(v.aval, "shape", ())) for v in equation.outvars)
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        return 2.0 * size * math.prod(equation.invars[0].aval.shape[i] for i in contracted), False
    return (float(size) if name in _ARITHMETIC else 0.0), False


_ELEMENTWISE = "add sub mul div exp log log1p expm1 logistic tanh sqrt rsqrt max min pow"
_ARITHMETIC = {*_ELEMENTWISE.split(" "), "integer_pow", "reduce_sum", "reduce_max", "erf"}


def _bodies(value):
    """Programs inside a parameter: one, or several in a tuple, closed over constants or not."""
    if isinstance(value, tuple | list):
        return [body for item in value for body in _bodies(item)]
    value = getattr(value, "jaxpr", value)
    return [value] if hasattr(value, "eqns") else []


def share(work: dict[str, Any], roof: dict[str, float], seconds: float) -> dict[str, float]:
    """Rates reached, and the share of the roof that binds: 1 is as fast as the machine can be."""
    least = {kind: work[kind] / roof[kind] for kind in ("flops", "bytes")}
    return {
        "gigabytes_per_second": work["bytes"] / seconds / 1e9,
        "teraflops": work["flops"] / seconds / 1e12,
        "share_of_roof": max(least.values()) / seconds,
    }
