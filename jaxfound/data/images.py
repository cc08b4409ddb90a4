"""Small pictures in ten classes: Fashion-MNIST and MNIST, a part of the first in the package."""

import gzip
import hashlib
import os
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

__all__ = ["Images", "fashion_mnist", "fashion_mnist_full", "mnist", "read_idx"]

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
_DEBIAN = "/usr/share/datasets/fashion-mnist"  # where the package dataset-fashion-mnist puts it
_DIGESTS = {  # SHA-256 of the unpacked files, as in the package of Debian
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
_UNSIGNED_BYTES = 8  # the code of their type in an IDX file


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


def fashion_mnist_full(path: str | os.PathLike[str] | None = None) -> Images:
    """All 60,000 training and 10,000 test images of Fashion-MNIST, from your disk.

    Args:
      path: the folder of the four IDX files, gzipped or not. None looks in
        `$JAXFOUND_DATA/fashion-mnist`, then where Debian's `dataset-fashion-mnist` installs it.

    Raises:
      FileNotFoundError: if they are not there.
      ValueError: if a file is not the one that was published.
    """
    places = _places(path, "fashion-mnist", _DEBIAN)
    get = "install the package dataset-fashion-mnist of Debian or Ubuntu, or put them there"
    folder = _folder(places, "Fashion-MNIST", get)
    arrays = {name: read_idx(_file(folder, name), digest) for name, digest in _DIGESTS.items()}
    return Images(*arrays.values(), names=_NAMES)


def mnist(path: str | os.PathLike[str] | None = None) -> Images:
    """All 60,000 training and 10,000 test images of MNIST, handwritten digits, from your disk.

    Args:
      path: the folder of the four IDX files, gzipped or not. None looks in
        `$JAXFOUND_DATA/mnist`.

    Raises:
      FileNotFoundError: if they are not there.
      ValueError: if a file is not in the format.
    """
    folder = _folder(_places(path, "mnist"), "MNIST", "put them there")
    arrays = [read_idx(_file(folder, name)) for name in _DIGESTS]
    return Images(*arrays, names=tuple("0123456789"))


def read_idx(path: str | os.PathLike[str], digest: str | None = None) -> UInt8[np.ndarray, "..."]:
    """An array of bytes from a file in the IDX format, gzipped or not.

    Args:
      digest: SHA-256 of the unpacked contents, to be compared.

    Raises:
      ValueError: if the file is torn, in another format, or another one than `digest` says.

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits.
    """
    packed = Path(path).read_bytes()
    try:
        contents = gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed
    except (EOFError, OSError) as error:
        raise ValueError(f"{path} is torn ({error}): get it anew.") from error
    if digest is not None and hashlib.sha256(contents).hexdigest() != digest:
        raise ValueError(f"{path} is not the file that was published (its SHA-256): get it anew.")
    axes = contents[3] if len(contents) > 3 else 0
    shape = np.frombuffer(contents[4 : 4 + 4 * axes], ">u4").astype(int)
    body = np.frombuffer(contents[4 + 4 * axes :], np.uint8)
    if contents[:3] != bytes([0, 0, _UNSIGNED_BYTES]) or body.size != shape.prod():
        raise ValueError(f"{path} is no IDX file of bytes, or torn: get it anew.")
    return body.reshape(shape)


def _places(path, name, *others):
    if path is not None:
        return [Path(path)]
    chosen = os.environ.get("JAXFOUND_DATA")
    return [*([Path(chosen, name)] if chosen else []), *map(Path, others)]


def _folder(places, name, get):
    for folder in places:
        if all(_file(folder, file).exists() for file in _DIGESTS):
            return folder
    where = " or ".join(map(str, places)) or "$JAXFOUND_DATA, which is not set"
    raise FileNotFoundError(
        f"{name} is not in {where}, expected the four files {', '.join(_DIGESTS)}, with or without "
        f".gz: {get}, set JAXFOUND_DATA to the folder above theirs, or give the path."
    )


def _file(folder, name):
    packed = folder / f"{name}.gz"
    return packed if packed.exists() else folder / name
