"""Built-in images: a part of Fashion-MNIST, small pictures of clothes in ten classes."""

from importlib import resources
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

__all__ = ["Images", "fashion_mnist"]

_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class Images(NamedTuple):
    x_train: UInt8[np.ndarray, "n 28 28"]  # grey values, 0 is the background
    y_train: UInt8[np.ndarray, " n"]  # an index into `names`
    x_test: UInt8[np.ndarray, "m 28 28"]
    y_test: UInt8[np.ndarray, " m"]
    names: tuple[str, ...]


def fashion_mnist() -> Images:
    """2000 training and 500 test images of Fashion-MNIST, every class as often.

    Returns:
      `Images`, read from the package: nothing is downloaded.

    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking
    machine learning algorithms, arXiv:1708.07747 (2017); MIT licence, beside this file.
    """
    path = resources.files("jaxfound.data") / "fashion_mnist_2000_500.npz"
    with path.open("rb") as file, np.load(file) as arrays:
        return Images(
            *(arrays[name] for name in ("x_train", "y_train", "x_test", "y_test")), names=_NAMES
        )
