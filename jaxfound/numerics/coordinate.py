r"""Coordinate steps for the dual of a linear machine with the hinge and without intercept.

$$\min_\alpha\; \tfrac12 \|Z^\top\alpha\|^2 - \textstyle\sum_i\alpha_i \quad\text{with}\quad
  0 \le \alpha_i \le c_i$$

Reference: C.-J. Hsieh, K.-W. Chang, C.-J. Lin, S. Keerthi, S. Sundararajan, A dual coordinate
descent method for large-scale linear SVM, ICML 2008, algorithm 1 and eq. 9.
"""

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float
from jaxfound.numerics.branch import one_kernel
from jaxfound.numerics.lbfgs import Minimum

__all__ = ["hinge"]


def hinge(
    rows: Float[Array, "n d"], box: Float[Array, " n"], *, tol: Float[Array, ""], max_iter: int
) -> Minimum:
    """The primal weights `[d]`.

    Args:
      rows: every row times its label, $Z$.
      box: $c$; 0 for an absent row.
      tol: stops when no projected derivative was larger in a pass over the rows.
      max_iter: a bound on the passes.
    """
    squares = jnp.maximum((rows * rows).sum(1), jnp.finfo(rows.dtype).tiny)
    found = _sweeps(rows, box, squares, tol, jnp.asarray(max_iter, jnp.int32))
    alpha, theta, worst, n_iter = found
    short = jnp.maximum(1 - jnp.matmul(rows, theta, precision="highest"), 0)
    value = (theta * theta).sum() / 2 + (box * short).sum()
    return Minimum(theta, value, worst, n_iter, (worst <= tol) & jnp.isfinite(alpha).all())


@one_kernel
@jax.jit
def _sweeps(rows, box, squares, tol, max_iter):
    def step(carry, of_row):
        (theta, worst), (row, bound, square, old) = carry, of_row
        slope = (row * theta).sum() - 1
        new = jnp.clip(old - slope / square, 0, bound)
        moves = jnp.where(new == old, 0, jnp.abs(slope))
        return (theta + (new - old) * row, jnp.maximum(worst, moves)), new

    def sweep(carry):
        alpha, theta, _, n_iter = carry
        start = (theta, jnp.zeros_like(tol))
        (theta, worst), alpha = jax.lax.scan(step, start, (rows, box, squares, alpha))
        return alpha, theta, worst, n_iter + 1

    def go_on(carry):
        return (carry[2] > tol) & (carry[3] < max_iter)

    start = (jnp.zeros_like(box), jnp.zeros_like(rows[0]), jnp.full_like(tol, jnp.inf))
    return jax.lax.while_loop(go_on, sweep, (*start, jnp.asarray(0, jnp.int32)))
