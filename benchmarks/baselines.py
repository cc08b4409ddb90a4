"""Honest NumPy: what a good NumPy user would write for every model, vectorised.

They are rivals in the benchmarks and, since every gradient is written out, the counterpart of
`jax.grad` for whoever learns; the tests check each against ours or against `jax.grad`.
"""

from collections.abc import Callable

import numpy as np

__all__ = [
    "cnn_gradient",
    "gradient_descent",
    "logistic",
    "lstm_gradient",
    "moments",
    "pca",
    "predict_tree",
    "rbf",
    "ridge",
    "svm",
    "tree",
]

Array = np.ndarray
Gradients = dict[str, Array]


# --- linear models ----------------------------------------------------------------------------


def ridge(x: Array, y: Array, penalty: float = 0.0) -> Array:
    """Coefficients `[d]` and the intercept, by the normal equations of centred data."""
    x_mean, y_mean = x.mean(0), y.mean()
    x, y = x - x_mean, y - y_mean
    gram = x.T @ x + np.asarray(penalty, x.dtype) * np.eye(x.shape[1], dtype=x.dtype)
    coef = np.linalg.solve(gram, x.T @ y)
    return np.append(coef, y_mean - x_mean @ coef)


def gradient_descent(x: Array, y: Array, rate: float = 0.1, steps: int = 500) -> Array:
    """Least squares by steps down the gradient of half the mean squared error."""
    x = np.column_stack([x, np.ones(len(x), x.dtype)])
    theta = np.zeros(x.shape[1], x.dtype)
    for _ in range(steps):
        theta -= np.asarray(rate / len(x), x.dtype) * (x.T @ (x @ theta - y))
    return theta


def logistic(x: Array, y: Array, penalty: float = 1.0, steps: int = 8) -> Array:
    """Coefficients and intercept by Newton: weighted least squares, again and again (ESL 4.26)."""
    x = np.column_stack([x, np.ones(len(x), x.dtype)])
    ridge = np.append(np.full(x.shape[1] - 1, penalty), 0).astype(x.dtype)
    theta = np.zeros(x.shape[1], x.dtype)
    for _ in range(steps):  # `steps` bounds the loop; the gradient ends it
        p = 1 / (1 + np.exp(-x @ theta))
        gradient = x.T @ (p - y) + ridge * theta
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge)
        theta = theta - np.linalg.solve(hessian, gradient)
        if np.abs(gradient).max() < 1e-4 * len(x):
            break
    return theta


def moments(x: Array) -> Array:
    return np.append(x.mean(0), x.std(0))


def pca(x: Array, k: int | None = None) -> tuple[Array, Array]:
    """Variances `[k]` and components `[k d]`: eigenvectors of the covariance."""
    x = x - x.mean(0)
    values, vectors = np.linalg.eigh(x.T @ x / np.asarray(len(x) - 1, x.dtype))
    return values[::-1][:k], vectors[:, ::-1][:, :k].T


# --- support vector machine -------------------------------------------------------------------


def rbf(a: Array, b: Array, gamma: float) -> Array:
    square = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    return np.exp(-gamma * np.maximum(square, 0))


def svm(kernel: Array, y: Array, C: float = 1.0, tol: float = 1e-3) -> tuple[Array, float]:
    """Signed duals `[n]` and the intercept, `y` in {-1, 1}: SMO with the most violating pair.

    The whole kernel matrix is in memory, so for small n. Reference: Keerthi et al., Improvements to
    Platt's SMO, Neural Computation 13 (2001); here `beta = alpha y`.
    """
    beta, slope = np.zeros(len(y)), y.astype(float)  # of the dual: y - K beta
    low, high = np.minimum(0, C * y), np.maximum(0, C * y)
    while True:
        i = np.argmax(np.where(beta < high, slope, -np.inf))
        j = np.argmin(np.where(beta > low, slope, np.inf))
        gap = slope[i] - slope[j]
        if gap < tol:
            return beta, (slope[i] + slope[j]) / 2
        curvature = max(kernel[i, i] + kernel[j, j] - 2 * kernel[i, j], 1e-12)
        step = min(gap / curvature, high[i] - beta[i], beta[j] - low[j])
        beta[i] += step
        beta[j] -= step
        slope -= step * (kernel[i] - kernel[j])


# --- tree -------------------------------------------------------------------------------------


def tree(x: Array, y: Array, depth: int) -> tuple:
    """A classification tree, grown greedily by Gini impurity (CART): `(counts,)` or a split.

    A split is `(feature, threshold, left, right)`, and rows up to the threshold go left.
    """
    return _grow(x, np.eye(int(y.max()) + 1)[y], depth)


def _grow(x, onehot, depth):
    counts = onehot.sum(0)
    if depth == 0 or (counts > 0).sum() == 1:
        return (counts,)
    gain, feature, threshold = max(
        (_best_split(x[:, j], onehot, j) for j in range(x.shape[1])), key=lambda split: split[0]
    )
    if gain == -np.inf:
        return (counts,)
    left = x[:, feature] <= threshold
    children = (_grow(x[side], onehot[side], depth - 1) for side in (left, ~left))
    return (feature, threshold, *children)


def _best_split(column, onehot, feature):
    """Sum over both sides of squared counts over the size: the larger, the purer."""
    order = np.argsort(column, kind="stable")
    column = column[order]
    left = onehot[order].cumsum(0)
    left, right = left[:-1], left[-1] - left[:-1]
    purity = (left**2).sum(1) / left.sum(1) + (right**2).sum(1) / right.sum(1)
    purity = np.where(column[1:] > column[:-1], purity, -np.inf)
    i = int(np.argmax(purity)) if len(purity) else 0
    if not len(purity):
        return -np.inf, feature, 0.0
    return purity[i], feature, (column[i] + column[i + 1]) / 2


def predict_tree(tree: tuple, x: Array) -> Array:
    if len(tree) == 1:
        return np.full(len(x), tree[0].argmax())
    feature, threshold, left, right = tree
    goes_left = x[:, feature] <= threshold
    guesses = np.empty(len(x), int)
    guesses[goes_left] = predict_tree(left, x[goes_left])
    guesses[~goes_left] = predict_tree(right, x[~goes_left])
    return guesses


# --- networks: forward, then backward, line by line ------------------------------------------


def _softmax_loss(logits, y):
    """Mean cross-entropy, and its gradient in the logits: probability minus truth over n."""
    shifted = logits - logits.max(1, keepdims=True)
    p = np.exp(shifted)
    p /= p.sum(1, keepdims=True)
    rows = np.arange(len(y))
    loss = -np.log(p[rows, y]).mean()
    p[rows, y] -= 1
    return loss, p / len(y)


def cnn_gradient(weights: Gradients, x: Array, y: Array) -> tuple[float, Gradients]:
    """Loss and gradients of a network like ours, of any number of convolutions.

    `weights` has `conv0`, `conv0_bias`, `conv1` ... `[a b in out]`, `hidden`, `hidden_bias`, `out`,
    `out_bias`; ReLU behind all but the last, pooling by 2 behind all convolutions but the last.
    """
    layers = sum(name.startswith("conv") for name in weights) // 2
    backs: list[tuple[str, Callable]] = []
    for i in range(layers):
        name = f"conv{i}"
        x, back = _convolve(x, weights[name], weights[name + "_bias"])
        backs.append((name, back))
        if i < layers - 1:
            x, back = _pool(x)
            backs.append(("", back))
    shape = x.shape
    flat = x.reshape(len(x), -1)
    hidden = np.maximum(flat @ weights["hidden"] + weights["hidden_bias"], 0)
    loss, slope = _softmax_loss(hidden @ weights["out"] + weights["out_bias"], y)
    found = {"out": hidden.T @ slope, "out_bias": slope.sum(0)}
    slope = slope @ weights["out"].T * (hidden > 0)
    found |= {"hidden": flat.T @ slope, "hidden_bias": slope.sum(0)}
    slope = (slope @ weights["hidden"].T).reshape(shape)
    for name, back in reversed(backs):
        slope, *of_weights = back(slope)
        if name:
            found[name], found[name + "_bias"] = of_weights
    return loss, found


def _convolve(x, kernel, bias):
    """Windows as rows, then one matrix product; backward is the transpose of both."""
    a, b, _, o = kernel.shape
    windows = np.lib.stride_tricks.sliding_window_view(x, (a, b), (1, 2))  # n h w c a b
    n, h, w = windows.shape[:3]
    rows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * h * w, -1)
    out = np.maximum((rows @ kernel.reshape(-1, o) + bias).reshape(n, h, w, o), 0)

    def back(slope):
        slope = (slope * (out > 0)).reshape(-1, o)
        of_rows = (slope @ kernel.reshape(-1, o).T).reshape(n, h, w, a, b, -1)
        of_x = np.zeros_like(x)
        for i in range(a):
            for j in range(b):
                of_x[:, i : i + h, j : j + w] += of_rows[:, :, :, i, j]
        return of_x, (rows.T @ slope).reshape(kernel.shape), slope.sum(0)

    return out, back


def _pool(x):
    """The largest of each 2 x 2 pixels; its slope goes to the largest, shared if tied."""
    n, h, w, c = x.shape
    blocks = x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)
    out = blocks.max((2, 4), keepdims=True)

    def back(slope):
        largest = blocks == out
        shares = largest / largest.sum((2, 4), keepdims=True)
        of_x = np.zeros_like(x)
        of_x[:, : h // 2 * 2, : w // 2 * 2] = (shares * slope[:, :, None, :, None]).reshape(
            n, h // 2 * 2, w // 2 * 2, c
        )
        return (of_x,)

    return out[:, :, 0, :, 0], back


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_gradient(weights: Gradients, x: Array, y: Array) -> tuple[float, Gradients]:
    """Loss and gradients of a classifier on an LSTM's last state; `x` is `[n time d]`.

    `weights` has `input [d 4h]`, `state [h 4h]`, `bias [4h]`, `out [h k]`; the gates are input,
    forget, cell, output. Backward through time, step by step (Hochreiter, Schmidhuber 1997).
    """
    n, steps, _ = x.shape
    h = c = np.zeros((n, len(weights["state"])), x.dtype)
    tape = []
    for t in range(steps):
        gates = x[:, t] @ weights["input"] + h @ weights["state"] + weights["bias"]
        i, f, g, o = np.split(gates, 4, axis=1)
        i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        before, c = (h, c), f * c + i * g
        h = o * np.tanh(c)
        tape.append((before, i, f, g, o, c))
    loss, slope = _softmax_loss(h @ weights["out"], y)
    found = {name: np.zeros_like(w) for name, w in weights.items()} | {"out": h.T @ slope}
    dh, dc = slope @ weights["out"].T, np.zeros_like(c)
    for t, ((h, before), i, f, g, o, c) in reversed(list(enumerate(tape))):
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        slopes = (
            dc * g * i * (1 - i),
            dc * before * f * (1 - f),
            dc * i * (1 - g * g),
            dh * np.tanh(c) * o * (1 - o),
        )
        gates = np.concatenate(slopes, axis=1)
        found["input"] += x[:, t].T @ gates
        found["state"] += h.T @ gates
        found["bias"] += gates.sum(0)
        dh, dc = gates @ weights["state"].T, dc * f
    return loss, found
