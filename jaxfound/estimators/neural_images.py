"""Classifies images by a convolutional network, with scikit-learn's face."""

import numbers
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import numpy as np
import optax

from jaxfound._checks import check_choice, check_number, check_whole
from jaxfound.estimators.neural import NetworkClassifier
from jaxfound.nn import augment
from jaxfound.nn.cnn import CNN

__all__ = ["CNNClassifier"]

AUGMENTATIONS = {
    "flip": augment.flip,
    "shift": augment.shift,
    "flip_and_shift": augment.flip_and_shift,
}


class CNNClassifier(NetworkClassifier):
    """Classifies images by a small convolutional network, the one of the usual first lesson.

    `X` are images `[n h w]` or `[n h w c]`: integers in 0..255, or floats in [0, 1].

    Args:
      channels: one convolution each, with a pooling by 2 between them; a tuple among them is
        several convolutions without one.
      kernel_size: side of their windows.
      hidden: width of the dense layer.
      dropout: share of its units left out at random in training.
      batch_norm: whether convolutions are normalised over the batch.
      padding: "valid", or "same": convolutions keep the size of images, with zeros around them.
      epochs: passes over the data.
      batch_size: images a step.
      optimizer: a function from a learning rate to an optax optimiser.
      learning_rate: the largest of the schedule.
      schedule: "constant", "cosine" (down to none) or "one_cycle" (up, then down to none).
      weight_decay: decoupled, on kernels.
      clip_norm: the largest norm of a gradient, or None.
      label_smoothing: share of every label given to all classes alike.
      augment: None, "flip" (left to right), "shift" (by up to 2 pixels) or "flip_and_shift".
      mixed_precision: compute in bfloat16, for accelerators.
      class_weight: a dictionary from class to weight, or "balanced".
      patience: epochs without a smaller loss on the rows held out after which to stop and go back
        to the best; None trains to the end on all rows.
      validation_fraction: the share held out, with `patience`.
      checkpoint_dir: where a checkpoint goes after every epoch; a fit that finds some goes on from
        the last. One directory a fit.
      random_state: seeds initial weights, batches, dropout and augmentation.

    Attributes:
      classes_: `[k]`.
      history_: lists "loss" and "accuracy", with `patience` also "val_loss" and "val_accuracy",
        one number an epoch.
      input_shape_: height, width and channels of the images.

    Example:
      >>> model = CNNClassifier(epochs=5, random_state=0).fit(images.x_train, images.y_train)
      >>> accuracy = model.score(images.x_test, images.y_test)
    """

    padding: Literal["valid", "same"]

    def __init__(
        self,
        channels: Sequence[int | Sequence[int]] = (32, 64, 64),
        kernel_size: int = 3,
        hidden: int = 64,
        dropout: float = 0.0,
        batch_norm: bool = False,
        *,
        padding: Literal["valid", "same"] = "valid",
        epochs: int = 10,
        batch_size: int = 128,
        optimizer: Callable[..., optax.GradientTransformation] = optax.adam,
        learning_rate: float = 1e-3,
        schedule: str = "constant",
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        label_smoothing: float = 0.0,
        augment: str | None = None,
        mixed_precision: bool = False,
        class_weight: Any = None,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        checkpoint_dir: Any = None,
        random_state: Any = None,
    ):
        self.channels = channels
        self.kernel_size = kernel_size
        self.hidden = hidden
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.padding = padding
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.label_smoothing = label_smoothing
        self.augment = augment
        self.mixed_precision = mixed_precision
        self.class_weight = class_weight
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state

    def _network(self, shape, n_classes, rngs):
        return CNN(
            shape,
            n_classes,
            channels=[_widths(group) for group in self.channels],
            hidden=check_whole("hidden", self.hidden, least=1),
            kernel=check_whole("kernel_size", self.kernel_size, least=1),
            dropout=check_number("dropout", self.dropout, least=0, most=0.99),
            padding=self.padding,
            batch_norm=bool(self.batch_norm),
            rngs=rngs,
        )

    def _augmentation(self):
        if self.augment is None:
            return None
        return AUGMENTATIONS[check_choice("augment", self.augment, AUGMENTATIONS)]

    def _inputs(self, X):
        return _images(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags


def _widths(group):
    """The channels of the convolutions before a pooling."""
    group = (group,) if isinstance(group, numbers.Integral) else group
    return tuple(check_whole("channels", width, least=1) for width in group)


def _images(X):
    """Images `[n h w c]`, uint8 or float32, on the host or where JAX has them."""
    x = X if isinstance(X, jax.Array) else np.asarray(X)
    if x.ndim not in (3, 4) or 0 in x.shape:
        raise ValueError(
            f"X has shape {x.shape}, expected images [n h w] or [n h w c], at least one: reshape "
            "rows of pixels with X.reshape(-1, height, width)."
        )
    if x.dtype.kind not in "buif":
        raise ValueError(f"X has dtype {x.dtype}, expected numbers: decode the images first.")
    most, remedy = (1, "divide by the largest value") if x.dtype.kind == "f" else (255, "scale")
    low, high = float(x.min()), float(x.max())
    if not (low >= 0 and high <= most):  # NaN is neither
        raise ValueError(
            f"X has values from {low:g} to {high:g} of dtype {x.dtype}, expected integers in "
            f"0..255 or floats in [0, 1], without NaN: {remedy} first."
        )
    x = x.astype(np.float32 if x.dtype.kind == "f" else np.uint8)
    return x[..., None] if x.ndim == 3 else x
