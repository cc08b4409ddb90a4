"""A convolutional network learns to tell clothes apart, and NumPy follows what it computes."""

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

import jaxfound as jf
from jaxfound import metrics
from jaxfound.data import images
from jaxfound.experiments.figures import BLUE, INK, panel, picture_grid
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["run"]

PARAMETERS = 93_322  # 320 + 18,496 + 36,928 in the convolutions, 36,928 + 650 behind them
FOLLOWED = 500  # images whose way through the network NumPy computes as well
SHADE = LinearSegmentedColormap.from_list("shade", ["white", BLUE])


@lesson(
    name="cnn-images",
    title="A convolutional network sorts clothes",
    question="Can a small network tell clothes apart, and can its answer be followed by hand?",
    meaning=(
        "NumPy, given the trained weights, computes the same answers step by step. Most mistakes "
        "are among garments of one shape: coats, pullovers and shirts."
    ),
    order=170,
    tags=("classification", "networks", "images", "real"),
)
def run(quick: bool) -> Result:
    data, epochs = _data(quick)
    model = jf.CNNClassifier(
        epochs=epochs, learning_rate=2e-3, schedule="cosine", augment="flip", random_state=0
    ).fit(data.x_train, data.y_train)
    probabilities = model.predict_proba(data.x_test)
    guess = probabilities.argmax(1)
    followed = _by_numpy(model.weights(), data.x_test[:FOLLOWED] / 255)
    counts = metrics.confusion_matrix(data.y_test.astype(int), guess, n_classes=10)
    return Result(
        checks=(
            Check(
                f"accuracy on {FOLLOWED} images",
                (guess == data.y_test)[:FOLLOWED].mean(),
                (followed.argmax(1) == data.y_test[:FOLLOWED]).mean(),
                "NumPy",
                2 / FOLLOWED,  # images on the border between two classes
            ),
            Check("probabilities", probabilities[:FOLLOWED], followed, "NumPy", 1e-3),
            Check("parameters", _count(model.weights()), PARAMETERS, "exact", 0),
            Check(
                "confusion matrix", counts, confusion_matrix(data.y_test, guess), "scikit-learn", 0
            ),
        ),
        figures={
            "Loss and accuracy in training": _draw_history(model.history_),
            f"Which of the {len(guess):,} test images are taken for which": _draw_confusion(
                data, guess
            ),
            "Images taken for others: what they are → what they seem": _draw_wrong(
                data, probabilities
            ),
            "The 32 windows of the first convolution; white is zero": _draw_windows(
                model.weights()["convs.0.kernel"]
            ),
        },
        formula="ŷ = softmax(W₂ relu(W₁ features + b₁) + b₂)",
        notes=(
            f"Trained for {epochs} epochs on {len(data.y_train):,} images, the network is right "
            f"on {(guess == data.y_test).mean():.1%} of {len(guess):,} others. A convolution moves "
            "one small window over the whole image, so that an edge is found wherever it is; "
            "pooling keeps the strongest answer of each four. What is learnt in three such layers "
            "goes into two dense ones."
        ),
    )


def _data(quick):
    """All images if they are on this machine, else those of the package; and how many epochs."""
    if quick:
        return images.fashion_mnist(), 3
    try:
        return images.fashion_mnist_full(), 5
    except FileNotFoundError:
        return images.fashion_mnist(), 20


def _by_numpy(weights, x):
    """The probabilities of a trained network, each layer as its formula says."""
    x = x[..., None]
    for layer in range(3):
        kernel, bias = weights[f"convs.{layer}.kernel"], weights[f"convs.{layer}.bias"]
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], (1, 2))
        x = np.maximum(np.einsum("nhwcab,abco->nhwo", windows, kernel, optimize=True) + bias, 0)
        x = x if layer == 2 else _pooled(x)
    x = x.reshape(len(x), -1)
    x = np.maximum(x @ weights["hidden.kernel"] + weights["hidden.bias"], 0)
    x = x @ weights["out.kernel"] + weights["out.bias"]
    x = np.exp(x - x.max(1, keepdims=True))
    return x / x.sum(1, keepdims=True)


def _pooled(x):
    n, h, w, c = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2]
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def _count(weights):
    return sum(array.size for array in weights.values())


def _draw_history(history):
    figure, axes = panel(xlabel="epoch", ylabel="accuracy in training")
    epochs = np.arange(1, len(history["loss"]) + 1)
    axes.plot(epochs, history["accuracy"], color=BLUE, marker="o")
    for epoch, accuracy, loss in zip(epochs, history["accuracy"], history["loss"], strict=True):
        if epoch in (1, len(epochs)):
            axes.annotate(
                f"loss {loss:.2f}", (epoch, accuracy), (0, -16), textcoords="offset points"
            )
    axes.set(xticks=epochs if len(epochs) < 12 else epochs[4::5])
    axes.margins(0.12)
    return figure


def _draw_confusion(data, guess):
    figure, axes = panel(xlabel="", ylabel="", width=6.4)
    figure.set_figheight(5.6)
    look: dict[str, Any] = {"cmap": SHADE, "colorbar": False, "ax": axes, "values_format": "d"}
    ConfusionMatrixDisplay.from_predictions(data.y_test, guess, **look)
    short = [name.split("/")[0] for name in data.names]
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_xticks(range(10), short, rotation=45, ha="right")
    axes.set_yticks(range(10), short)
    axes.grid(visible=False)
    return figure


def _draw_wrong(data, probabilities):
    guess = probabilities.argmax(1)
    wrong = np.flatnonzero(guess != data.y_test)
    surest = wrong[np.argsort(-probabilities[wrong, guess[wrong]], kind="stable")]
    figure, panels = picture_grid(3, 4)
    for axes, i in zip(panels.flat, surest, strict=False):
        axes.imshow(data.x_test[i], cmap="gray_r")
        true, seen = (data.names[label].split("/")[0] for label in (data.y_test[i], guess[i]))
        axes.set_title(f"{true} → {seen}", fontsize=7, color=INK, loc="center")
    return figure


def _draw_windows(kernel):
    figure, panels = picture_grid(4, 8)
    size = np.abs(kernel).max()
    for axes, window in zip(panels.flat, np.moveaxis(kernel[:, :, 0], -1, 0), strict=True):
        axes.imshow(window, cmap="RdBu_r", vmin=-size, vmax=size)
    return figure
