r"""Kernels: similarities $k(x, z)$ of pairs of rows, as blocks of a Gram matrix.

Every built-in kernel is an elementwise function of one matrix product, so a block costs what the
product costs. The squared distance under the Gaussian kernel is a difference of large numbers
where rows lie far from zero: callers shift the rows by `centre` first, which changes no distance.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float

__all__ = ["Kernel", "Scales", "diagonal", "is_translation_free", "matrix", "product", "rounding"]

_BLOCK_ELEMENTS = 2**22  # of a Gram matrix that exist at a time in `product`
_dot = partial(jnp.matmul, precision="highest")  # TF32 would lose the distances


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Kernel:
    """Which kernel: static, so a program has one. It may lie inside a tree of arrays."""

    # "linear", "rbf", "poly", "sigmoid", "precomputed" (rows are those of a Gram matrix), or a
    # JAX function of two rows `[d]`
    name: str | Callable[..., Any] = "rbf"
    degree: int | float = 3  # of `poly`


class Scales(NamedTuple):
    gamma: Float[Array, ""]
    coef0: Float[Array, ""]  # of `poly` and `sigmoid`


def is_translation_free(kernel: Kernel) -> bool:
    """Whether a common shift of all rows changes nothing that a machine with offset can see."""
    return kernel.name in ("rbf", "linear")


def matrix(
    kernel: Kernel, scales: Scales, x: Float[Array, "n d"], z: Float[Array, "m _"]
) -> Float[Array, "n m"]:
    r"""The block $k(x_i, z_j)$.

    `linear` is $x^\top z$, `rbf` $e^{-\gamma\|x - z\|^2}$, `poly` $(\gamma x^\top z + c_0)^p$ and
    `sigmoid` $\tanh(\gamma x^\top z + c_0)$.

    Reference: C.-C. Chang, C.-J. Lin, LIBSVM: a library for support vector machines, ACM Trans.
    Intell. Syst. Technol. 2 (2011), section 2.
    """
    if kernel.name == "precomputed":
        return x
    if callable(kernel.name):
        return jax.vmap(jax.vmap(kernel.name, (None, 0)), (0, None))(x, z)
    scales = jax.tree.map(lambda s: s.astype(x.dtype), scales)
    if kernel.name == "rbf":
        squares = _squares(x)[:, None] + _squares(z)[None, :]
        return jnp.exp(-scales.gamma * jnp.maximum(squares - 2 * _dot(x, z.T), 0))
    return _of_product(kernel, scales, _dot(x, z.T))


def diagonal(kernel: Kernel, scales: Scales, x: Float[Array, "n d"]) -> Float[Array, " n"]:
    """$k(x_i, x_i)$."""
    if kernel.name == "precomputed":
        return jnp.diagonal(x)
    if callable(kernel.name):
        return jax.vmap(kernel.name)(x, x)
    scales = jax.tree.map(lambda s: s.astype(x.dtype), scales)
    if kernel.name == "rbf":
        return jnp.ones(x.shape[0], x.dtype)
    return _of_product(kernel, scales, _squares(x))


def product(
    kernel: Kernel,
    scales: Scales,
    x: Float[Array, "n d"],
    z: Float[Array, "m _"],
    dual: Float[Array, "m *p"],
) -> Float[Array, "n *p"]:
    """`matrix(x, z) @ dual`, by blocks of rows: the whole matrix never exists."""
    n, size = x.shape[0], max(1, _BLOCK_ELEMENTS // max(1, z.shape[0]))

    def block(rows):
        return _dot(matrix(kernel, scales, rows, z), dual)

    if n <= size:
        return block(x)
    padded = jnp.pad(x, ((0, -n % size), (0, 0))).reshape(-1, size, x.shape[1])
    return jax.lax.map(block, padded).reshape(-1, *dual.shape[1:])[:n]


def rounding(kernel: Kernel, scales: Scales, x: Float[Array, "n d"]) -> Float[Array, ""]:
    """By what the relative rounding of a dtype grows in an entry of the Gram matrix."""
    if kernel.name == "rbf":
        return 1 + scales.gamma.astype(x.dtype) * _squares(x).max()
    if kernel.name == "precomputed":
        return jnp.abs(x).max()
    return 1 + jnp.abs(diagonal(kernel, scales, x)).max()


def _squares(x):
    return (x * x).sum(1)


def _of_product(kernel, scales, inner):
    if kernel.name == "linear":
        return inner
    inner = scales.gamma * inner + scales.coef0
    if kernel.name == "sigmoid":
        return jnp.tanh(inner)
    whole = int(kernel.degree) == kernel.degree
    return jax.lax.integer_pow(inner, int(kernel.degree)) if whole else inner**kernel.degree
