"""Sets of images: from the package, and from files in the IDX format."""

import gzip
import hashlib

import numpy as np
import pytest

from jaxfound.data import images

FILES = tuple(images._DIGESTS)


def idx(array):
    head = bytes([0, 0, 8, array.ndim])
    return head + np.asarray(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def write_set(folder, *, packed=False):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = [rng.integers(0, 9, shape) for shape in ((6, 28, 28), (6,), (4, 28, 28), (4,))]
    for name, array in zip(FILES, arrays, strict=True):
        contents = idx(array)
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(contents))
        else:
            (folder / name).write_bytes(contents)
    return arrays


def test_the_built_in_set_is_balanced():
    data = images.fashion_mnist()
    assert data.x_train.shape == (2000, 28, 28)
    assert (np.bincount(data.y_train) == 200).all()
    assert (np.bincount(data.y_test) == 50).all()
    assert len(data.names) == 10


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_from_a_path_and_from_the_environment(tmp_path, monkeypatch, packed):
    arrays = write_set(tmp_path / "mnist", packed=packed)
    monkeypatch.setenv("JAXFOUND_DATA", str(tmp_path))
    for data in (images.mnist(), images.mnist(tmp_path / "mnist")):
        assert data.names == tuple("0123456789")
        for found, written in zip(data[:4], arrays, strict=True):
            np.testing.assert_array_equal(found, written)


def test_a_missing_set_says_what_to_install_or_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.delenv("JAXFOUND_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"MNIST is not in .*not set.*four files"):
        images.mnist()
    monkeypatch.setenv("JAXFOUND_DATA", str(tmp_path))
    monkeypatch.setattr(images, "_DEBIAN", str(tmp_path / "debian"))
    with pytest.raises(FileNotFoundError, match=r"dataset-fashion-mnist.*JAXFOUND_DATA"):
        images.fashion_mnist_full()


def test_files_are_compared_with_what_was_published(tmp_path):
    write_set(tmp_path)
    with pytest.raises(ValueError, match="not the file that was published"):
        images.fashion_mnist_full(tmp_path)


def test_the_published_set_is_found_where_debian_puts_it(tmp_path, monkeypatch):
    """With digests of its own: the real files are not a part of the tests."""
    arrays = write_set(tmp_path, packed=True)
    known = {
        name: hashlib.sha256(idx(a)).hexdigest() for name, a in zip(FILES, arrays, strict=True)
    }
    monkeypatch.setattr(images, "_DIGESTS", known)
    monkeypatch.setattr(images, "_DEBIAN", str(tmp_path))
    monkeypatch.delenv("JAXFOUND_DATA", raising=False)
    assert images.fashion_mnist_full().x_test.shape == (4, 28, 28)


@pytest.mark.parametrize(
    "harm",
    [lambda b: b[:-1], lambda b: b[:2], lambda b: b"P5" + b[2:], lambda b: gzip.compress(b)[:-9]],
    ids=["cut", "head", "format", "gzip"],
)
def test_a_torn_file_is_named(tmp_path, harm):
    path = tmp_path / "images"
    path.write_bytes(harm(idx(np.zeros((2, 3, 3)))))
    with pytest.raises(ValueError, match=r"images is .*get it anew"):
        images.read_idx(path)
