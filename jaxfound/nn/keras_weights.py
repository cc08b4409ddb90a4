"""Weights to and from Keras 3, for the two networks here that have a twin there.

A `.weights.h5` file, or the one inside a `.keras` archive, holds a group of arrays for each layer,
named by its kind and number. Layers of a kind are matched in order; the layouts are the same.
"""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from jaxfound.nn.cnn import CNN
from jaxfound.nn.lstm import LSTM, Bidirectional

__all__ = ["load", "save"]

_INSIDE = "model.weights.h5"  # of a `.keras` archive


def load(path: str | Path, module: CNN | LSTM) -> None:
    """Puts the weights of a Keras model into a network of the same sizes.

    Args:
      path: a `.weights.h5` or `.keras` file of Keras 3.
      module: changed in place.

    Raises:
      ImportError: without h5py.
      FileNotFoundError, ValueError: for a file that is missing, or of another network; the module
        is then as it was.
    """
    file = _opened(path)
    with file:
        found = {_kind_and_number(name): _arrays(group) for name, group in file["layers"].items()}
    found = {key: arrays for key, arrays in found.items() if arrays}
    expected = _layers(module)
    keys = dict(zip(sorted(found), sorted(expected), strict=False))
    pairs = [(expected[keys[key]], arrays) for key, arrays in sorted(found.items()) if key in keys]
    shapes = [[p.shape for p in parameters] for parameters, _ in pairs]
    given = [[a.shape for a in arrays] for _, arrays in pairs]
    kinds = [key[0] for key in sorted(found)], [key[0] for key in sorted(expected)]
    if kinds[0] != kinds[1] or shapes != given:
        raise ValueError(
            f"{path} has layers {_described(found)}, expected {_described(expected)}: build the "
            "network with the sizes of the Keras model."
        )
    for parameters, arrays in pairs:
        for parameter, array in zip(parameters, arrays, strict=True):
            parameter[...] = np.asarray(array, parameter.dtype)


def save(path: str | Path, module: CNN | LSTM) -> None:
    """Writes a `.weights.h5` file that `load_weights` of the same Keras model reads.

    Raises:
      ImportError: without h5py.
      ValueError: for a name that does not end in `.weights.h5`, which Keras would refuse.
    """
    if not str(path).endswith(".weights.h5"):
        raise ValueError(f"path is {path}, expected a name that ends in .weights.h5.")
    with _h5py().File(path, "w") as file:
        for (kind, number), parameters in _layers(module).items():
            name = f"{kind}_{number}" if number else kind
            places = _places(kind)
            size = len(parameters) // len(places)
            for i, place in enumerate(places):
                group = file.create_group(f"layers/{name}/{place}vars")
                for j, parameter in enumerate(parameters[i * size : (i + 1) * size]):
                    group[str(j)] = np.asarray(parameter[...])


def _opened(path):
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is not there, expected a .weights.h5 or .keras file.")
    h5py = _h5py()
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return h5py.File(io.BytesIO(archive.read(_INSIDE)), "r")
        return h5py.File(path, "r")
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} is no weights file of Keras 3, or torn: {error}.") from error


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("Weights of Keras need h5py: pip install 'jaxfound[keras]'.") from error
    return h5py


def _kind_and_number(name):
    kind, number = re.sub(r"_(\d+)$", r" \1", name).partition(" ")[::2]
    return kind, int(number or 0)


def _arrays(group):
    """Of a layer, in the order in which it made them, those of its parts behind each other."""
    kind = "bidirectional" if "forward_layer" in group else "lstm" if "cell" in group else ""
    known = [group[f"{place}vars"] for place in _places(kind) if f"{place}vars" in group]
    return [variables[str(i)][...] for variables in known for i in range(len(variables))]


def _places(kind):
    """Where in its group a layer has its arrays."""
    if kind == "bidirectional":
        return ("forward_layer/cell/", "backward_layer/cell/")
    return ("cell/",) if kind == "lstm" else ("",)


def _layers(module: CNN | LSTM) -> dict[tuple[str, int], list[nnx.Param]]:
    """The parameters of each layer, by Keras's name of its kind and its number."""
    dense = {("dense", i): [d.kernel, d.bias] for i, d in enumerate((module.hidden, module.out))}
    if isinstance(module, CNN):
        convs: Any = module.convs
        if any(c.norm is not None for c in convs):
            raise ValueError(
                "the network has batch_norm=True, expected False: the twin in Keras has no such "
                "layers. Keep its weights with nn.checkpoint."
            )
        return {("conv2d", i): [c.kernel, c.bias] for i, c in enumerate(convs)} | dense
    layers: Any = module.layers
    found: Any = {("embedding", 0): [module.embedding.table]}
    for i, layer in enumerate(layers):
        both = isinstance(layer, Bidirectional)
        parts = (layer.forward, layer.backward) if both else (layer,)
        arrays = [p for part in parts for p in (part.kernel, part.recurrent, part.bias)]
        found["bidirectional" if both else "lstm", i] = arrays
    return found | dense


def _described(layers):
    return ", ".join(
        f"{kind} {[tuple(a.shape) for a in arrays]}" for (kind, _), arrays in sorted(layers.items())
    )
