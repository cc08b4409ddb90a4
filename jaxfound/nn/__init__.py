"""Neural networks in Flax NNX, and their training as pure functions. Start with `train`."""

from jaxfound.nn import augment, checkpoint, cnn, keras_weights, loop, lstm, stream, train
from jaxfound.nn.summary import summary

__all__ = [
    "augment",
    "checkpoint",
    "cnn",
    "keras_weights",
    "loop",
    "lstm",
    "stream",
    "summary",
    "train",
]
