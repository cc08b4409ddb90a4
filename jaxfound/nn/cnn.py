"""A small convolutional network for images: Flax NNX, the layers of the usual first lesson.

Convolutions and poolings are those of `lax`, except on a CPU: there XLA's convolution runs on one
thread inside a loop, and slices with one matrix product take a tenth of its time. The layer and
its weights are the same, so is the result to rounding.
"""

import itertools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfound._types import Array, Float, Shaped
from jaxfound.nn.layers import dense

__all__ = ["CNN", "Conv", "MaxPool", "convolve"]


class CNN(nnx.Module):
    """Convolutions with ReLU and pooling between them, a hidden layer, one logit a class.

    With the defaults and 28 x 28 grey images: 3x3 convolutions to 32, 64 and 64 channels, two
    poolings, 576 -> 64 -> 10, 93,322 parameters.

    Args:
      image_shape: height, width and channels of an image.
      n_classes: how many logits.
      channels: one convolution each, with a pooling by 2 between them. An entry may be a tuple,
        several convolutions without one: `((32, 32), (64, 64))` pools once.
      hidden: width of the dense layer.
      kernel: side of the convolutions' windows.
      padding: "valid", or "same" to put zeros around images, so that convolutions keep their size.
      dropout: share of the hidden units left out at random in training.
      batch_norm: whether convolutions are normalised over the batch before their ReLU.
      rngs: where the initial weights, and dropout, come from.

    Raises:
      ValueError: if the image is too small for so many layers.

    Example:
      >>> CNN(rngs=nnx.Rngs(0))(jnp.zeros((1, 28, 28, 1))).shape
      (1, 10)
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (28, 28, 1),
        n_classes: int = 10,
        *,
        channels: Sequence[int | Sequence[int]] = (32, 64, 64),
        hidden: int = 64,
        kernel: int = 3,
        padding: Literal["valid", "same"] = "valid",
        dropout: float = 0.0,
        batch_norm: bool = False,
        rngs: nnx.Rngs,
    ):
        groups = [(group,) if isinstance(group, int) else tuple(group) for group in channels]
        sides = _sides(image_shape, groups, kernel, padding)
        widths = (image_shape[2], *itertools.chain(*groups))
        self.convs = nnx.List(
            [
                Conv(*pair, kernel, padding=padding, batch_norm=batch_norm, rngs=rngs)
                for pair in itertools.pairwise(widths)
            ]
        )
        # How many convolutions come before each pooling.
        self.pooled_at = tuple(itertools.accumulate(len(group) for group in groups[:-1]))
        self.pool = MaxPool()
        self.hidden = dense(sides[0] * sides[1] * widths[-1], hidden, rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.out = dense(hidden, n_classes, rngs)

    def __call__(self, x: Shaped[Array, "n h w c"]) -> Float[Array, "n k"]:
        """Logits of images: floats in [0, 1], or integers in 0..255."""
        if jnp.issubdtype(x.dtype, jnp.integer):
            x = x.astype(self.out.kernel.dtype) / 255
        for count, conv in enumerate(self.convs, start=1):
            x = conv(x)
            x = self.pool(x) if count in self.pooled_at else x
        x = nnx.relu(self.hidden(x.reshape(x.shape[0], -1)))
        return self.out(self.dropout(x))


class Conv(nnx.Module):
    """A square window moved over images, and ReLU.

    Its weights are `[kernel kernel in out]`. With `batch_norm` each output has mean 0 and variance
    1 over a batch in training, and over what it has seen afterwards, times a scale, plus a shift
    (S. Ioffe, C. Szegedy, Batch normalization, arXiv:1502.03167, 2015).
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        *,
        padding: Literal["valid", "same"] = "valid",
        batch_norm: bool = False,
        rngs: nnx.Rngs,
    ):
        shape = (kernel, kernel, n_in, n_out)
        self.kernel = nnx.Param(nnx.initializers.glorot_uniform()(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros(n_out))
        self.frame = (0, 0) if padding == "valid" else ((kernel - 1) // 2, kernel // 2)
        self.norm = nnx.BatchNorm(n_out, momentum=0.9, rngs=rngs) if batch_norm else None

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 o"]:
        x = jnp.pad(x, ((0, 0), self.frame, self.frame, (0, 0)))
        x = convolve(x, self.kernel[...]) + self.bias[None, None, None]
        return nnx.relu(x if self.norm is None else self.norm(x))


class MaxPool(nnx.Module):
    """The largest of each 2 x 2 pixels; an odd last row or column is left out."""

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
        n, h, w, c = x.shape
        x = x[:, : h // 2 * 2, : w // 2 * 2]
        return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def convolve(x: Float[Array, "n h w c"], kernel: Float[Array, "a b c o"]) -> Float[Array, "..."]:
    """`lax.conv` with stride 1 and without padding, by the way that the platform is fast at."""
    return jax.lax.platform_dependent(x, kernel, cpu=_by_product, default=_by_convolution)


def _by_convolution(x, kernel):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "VALID", dimension_numbers=layout, precision="highest"
    )


def _by_product(x, kernel):
    a, b, c, o = kernel.shape
    n, h, w = x.shape[0], x.shape[1] - a + 1, x.shape[2] - b + 1
    windows = [x[:, i : i + h, j : j + w] for i in range(a) for j in range(b)]
    rows = jnp.concatenate(windows, -1).reshape(n * h * w, a * b * c)
    product = jnp.matmul(rows, kernel.reshape(a * b * c, o), precision="highest")
    return product.reshape(n, h, w, o)


def _sides(image_shape, groups, kernel, padding):
    """Height and width behind the last convolution."""
    if padding not in ("valid", "same"):
        raise ValueError(f"padding is {padding!r}, expected 'valid' or 'same'.")
    lost = kernel - 1 if padding == "valid" else 0
    sides = image_shape[:2]
    for place, group in enumerate(groups):
        sides = [side // 2 if place else side for side in sides]
        sides = [side - lost * len(group) for side in sides]
        if min(sides) < 1:
            raise ValueError(
                f"image_shape is {image_shape}, too small for {sum(map(len, groups))} convolutions "
                f"of {kernel} x {kernel} with {len(groups) - 1} poolings between them: take fewer "
                "channels or larger images."
            )
    return sides
