"""Factorisations that stay apart under `vmap`: on a CPU one matrix after the other.

JAX 0.10 factors a stack of matrices on threads that wait for each other. Where a program, or two
at once, factor two stacks on a CPU of few cores, each waits for the other's threads for good.
Not for derivatives: solvers only, which have theirs from the objective (see `implicit`).
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxfound.numerics.branch import lane_by_lane

__all__ = ["cho_solve", "cholesky", "eigh", "qr", "qr_triangle", "solve_lower", "svd"]

cholesky = lane_by_lane(jnp.linalg.cholesky)
eigh = lane_by_lane(jnp.linalg.eigh)
qr = lane_by_lane(jnp.linalg.qr)
qr_triangle = lane_by_lane(partial(jnp.linalg.qr, mode="r"))
svd = lane_by_lane(partial(jnp.linalg.svd, full_matrices=False))


@lane_by_lane
def cho_solve(lower, right):
    """Solves $L L^\\top z =$ `right`."""
    return jax.scipy.linalg.cho_solve((lower, True), right)


@lane_by_lane
def solve_lower(lower, right):
    """Solves $L z =$ `right`."""
    return jax.scipy.linalg.solve_triangular(lower, right, lower=True)
