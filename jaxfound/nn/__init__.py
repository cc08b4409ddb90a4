"""Neural networks in Flax NNX, and their training as pure functions. Start with `train`."""

from jaxfound.nn import cnn, train
from jaxfound.nn.summary import summary

__all__ = ["cnn", "summary", "train"]
