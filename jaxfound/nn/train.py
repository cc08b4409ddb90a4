"""Training as pure functions: an epoch is one program over data that lies on the device.

    config = Config(loss="softmax", batch_size=128)  # static
    graph, state = start(CNN(rngs=nnx.Rngs(0)), key, config=config)  # nnx.split, once
    for epoch in range(10):
        stop = (epoch + 1) * steps
        state = run(graph, state, data, stop, hyper, span=steps, total=10 * steps, config=config)
    scores = evaluate(graph, state.params, state.rest, data, config=config)
    logits = predict(graph, state.params, state.rest, data.x, config=config)

`data` is a `Data(x, y, weight)`; `x` may be any pytree of arrays whose first axis is the rows, and
is handed to the module as it is. `y` are class indices (0 or 1 for the sigmoid). Batches are drawn
by weight: a row of weight 0 never, one of weight 2 twice as often as one of weight 1; with equal
weights a pass is a permutation. So the loss is a plain mean, and padding is a weight of 0.

Everything that is random comes from the key and the step, so a run continues from its `State` with
the bits that it would have had. `nn.loop.fit` drives this: epochs, validation, early stopping,
checkpoints and a progress bar. Inside `jax.set_mesh(mesh)` every batch is divided over the devices.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import PartitionSpec

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Int, Key, Shaped
from jaxfound.numerics.mesh import AXIS, shards

__all__ = [
    "Config",
    "Data",
    "Hyper",
    "Scores",
    "State",
    "constant",
    "cosine",
    "evaluate",
    "one_cycle",
    "predict",
    "run",
    "start",
    "step",
]


class Data(NamedTuple):
    x: Any  # a pytree of arrays [n ...]
    y: Int[Array, " n"]
    weight: Shaped[Array, " n"] | None = None  # None is all ones


class Scores(NamedTuple):
    """Means over the weight."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]

    _repr_html_ = as_table


class State(NamedTuple):
    """All that changes, and all that a checkpoint holds."""

    params: nnx.State  # what the optimiser moves
    rest: nnx.State  # what a module keeps besides: counters of random numbers, running means
    optimizer: Any
    key: Key
    step: Int[Array, ""]  # since the beginning
    sums: Scores  # of this epoch so far, over its batches


class Hyper(NamedTuple):
    learning_rate: Float[Array, ""] | float = 1e-3
    weight_decay: Float[Array, ""] | float = 0.0  # decoupled (AdamW), on kernels, not on biases
    clip: Float[Array, ""] | float = jnp.inf  # the largest norm of a gradient
    label_smoothing: Float[Array, ""] | float = 0.0  # share of a label given to all classes

    _repr_html_ = as_table


def constant(progress: Float[Array, ""]) -> Float[Array, ""]:
    """The same rate throughout."""
    return jnp.ones_like(progress)


def cosine(progress: Float[Array, ""]) -> Float[Array, ""]:
    """From the whole rate to none."""
    return (1 + jnp.cos(jnp.pi * progress)) / 2


def one_cycle(progress: Float[Array, ""]) -> Float[Array, ""]:
    """Up for three tenths of the run, then down to none.

    Reference: L. Smith, N. Topin, Super-convergence, arXiv:1708.07120 (2017).
    """
    return jnp.where(progress < 0.3, progress / 0.3, cosine((progress - 0.3) / 0.7))


@dataclasses.dataclass(frozen=True)
class Config:
    """What is compiled.

    Attributes:
      loss: "softmax" for logits `[n k]`, "sigmoid" for logits `[n]` or `[n 1]`.
      batch_size: rows a step.
      optimizer: a function from a learning rate to any optax optimiser, `optax.adam` itself.
      schedule: a function from progress in [0, 1] to a factor of the learning rate.
      augment: a function `(key, x) -> x` of a batch in training, see `nn.augment`.
      mixed_precision: forward and backward in bfloat16, weights and sums in float32.
    """

    loss: Literal["softmax", "sigmoid"] = "softmax"
    batch_size: int = 128
    optimizer: Callable[..., optax.GradientTransformation] = optax.adam
    schedule: Callable[[Any], Any] = constant
    augment: Callable[[Key, Any], Any] | None = None
    mixed_precision: bool = False


def start(module: nnx.Module, key: Key, *, config: Config = Config()) -> tuple[Any, State]:
    """Splits a module into what is static and a `State` of its own; the module stays usable."""
    graph, params, rest = nnx.split(module, nnx.Param, ...)
    optimizer, none = config.optimizer(0.0).init(params), jnp.zeros((), _FLOAT)
    state = State(params, rest, optimizer, key, jnp.asarray(0), Scores(none, none))
    return graph, jax.tree.map(jnp.copy, state)  # `run` gives its memory away


@partial(jax.jit, static_argnames=("graph", "config"), donate_argnames="state")
def run(
    graph: Any,
    state: State,
    data: Data,
    stop: Int[Array, ""] | int,
    hyper: Hyper = Hyper(),
    *,
    span: Int[Array, ""] | int,
    total: Int[Array, ""] | int,
    config: Config = Config(),
) -> State:
    """Trains from `state.step` to step `stop`, in one pass over the data.

    Args:
      graph, state: from `start`. The state's memory is used for the result.
      data: on the device.
      stop: at most the end of the pass that `state.step` is in.
      hyper: traced; sweeps do not recompile.
      span: steps in a pass, most simply as many as it takes to see every row that is present.
      total: steps of the whole run, for the schedule.

    Returns:
      The new state, at `stop`, or at the step whose loss was not finite.
      `state.sums` over the steps of this pass are its mean loss and accuracy.
    """
    span, total, stop = (jnp.asarray(a, state.step.dtype) for a in (span, total, stop))
    rows = _draw(_key(state, "draw", state.step // span), data, span, config.batch_size)
    fresh = state.step % span == 0
    state = state._replace(sums=jax.tree.map(lambda s: jnp.where(fresh, 0.0, s), state.sums))

    def going(carry):
        state, finite = carry
        return (state.step < stop) & finite

    def one(carry):
        state, _ = carry
        first = state.step % span * config.batch_size
        chosen = jax.lax.dynamic_slice(rows, [first], [config.batch_size])
        batch = jax.tree.map(lambda a: a[chosen], data._replace(weight=None))
        after = step(graph, state, batch, hyper, total=total, config=config)
        finite = jnp.isfinite(after.sums.loss)
        # A step whose loss is not finite has not happened.
        return after._replace(step=jnp.where(finite, after.step, state.step)), finite

    return jax.lax.while_loop(going, one, (state, jnp.asarray(True)))[0]


def step(
    graph: Any,
    state: State,
    batch: Data,
    hyper: Hyper = Hyper(),
    *,
    total: Int[Array, ""] | int,
    config: Config = Config(),
) -> State:
    """One step of the optimiser on one batch; a pure function, for loops of your own."""
    batch = jax.tree.map(_over_devices, batch)
    if config.augment is not None:
        batch = batch._replace(x=config.augment(_key(state, "augment", state.step), batch.x))

    def loss_of(params):
        logits, rest = _forward(graph, params, state.rest, batch.x, config)
        losses = _LOSSES[config.loss](logits, batch.y, hyper.label_smoothing)
        return losses.mean(), (logits, rest)

    (loss, (logits, rest)), slopes = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    scale = jnp.minimum(1, hyper.clip / jnp.maximum(optax.tree.norm(slopes), 1e-30))
    slopes = jax.tree.map(lambda g: g * scale, slopes)
    rate = hyper.learning_rate * config.schedule(_FLOAT(state.step) / _FLOAT(total))
    with jax.numpy_dtype_promotion("standard"):  # optax leaves casts to JAX
        moves, optimizer = config.optimizer(rate).update(slopes, state.optimizer, state.params)
    params: Any = optax.apply_updates(_decayed(state.params, rate * hyper.weight_decay), moves)
    accuracy = (_classes(logits) == batch.y).mean(dtype=_FLOAT)
    sums = jax.tree.map(jnp.add, state.sums, Scores(loss, accuracy))
    return State(params, rest, optimizer, state.key, state.step + 1, sums)


@partial(jax.jit, static_argnames=("graph", "config"))
def evaluate(
    graph: Any, params: nnx.State, rest: nnx.State, data: Data, *, config: Config = Config()
) -> Scores:
    """Mean loss and accuracy, without dropout, augmentation and smoothing."""
    logits = predict(graph, params, rest, data.x, config=config)
    weight = jnp.ones_like(logits[:, 0]) if data.weight is None else _FLOAT(data.weight)
    losses = _LOSSES[config.loss](logits, data.y, 0.0)
    right = _FLOAT(_classes(logits) == data.y)

    def mean(a):
        return jnp.where(weight > 0, weight * a, 0).sum() / weight.sum()

    return Scores(mean(losses), mean(right))


@partial(jax.jit, static_argnames=("graph", "config"))
def predict(
    graph: Any, params: nnx.State, rest: nnx.State, x: Any, *, config: Config = Config()
) -> Float[Array, "n k"]:
    """Logits, batch by batch: memory grows with a batch, not with `n`."""
    n, size = len(jax.tree.leaves(x)[0]), config.batch_size
    blocks = -(-n // size)

    def block(x):
        logits, _ = _forward(graph, params, rest, x, config, training=False)
        return logits

    def cut(a):
        padded = jnp.pad(a, [(0, blocks * size - n)] + [(0, 0)] * (a.ndim - 1))
        return padded.reshape(blocks, size, *a.shape[1:])

    logits = jax.lax.map(block, jax.tree.map(cut, x))
    return logits.reshape(blocks * size, -1)[:n]


def _forward(graph, params, rest, x, config, *, training=True):
    """Logits `[n k]` in float32, and what the module keeps."""
    if config.mixed_precision:
        params, x = jax.tree.map(_halved, (params, x))
    module = nnx.merge(graph, params, rest, copy=True)  # the variables of this trace
    module.train() if training else module.eval()
    logits = module(x)
    _, _, rest = nnx.split(module, nnx.Param, ...)
    return _FLOAT(logits).reshape(len(logits), -1), rest


def _halved(a):
    return a.astype(jnp.bfloat16) if jnp.issubdtype(a.dtype, jnp.floating) else a


def _draw(key, data, span, batch_size):
    """The rows of a pass's batches, in order.

    Systematic sampling: evenly spaced marks on the line of cumulated weights, from a random
    offset. With equal weights and as many marks as rows every row is drawn once.
    """
    n = len(data.y)
    size = -(-n // batch_size) * batch_size
    line = jnp.cumsum(jnp.ones(n, _FLOAT) if data.weight is None else _FLOAT(data.weight))
    offset, order = jax.random.split(key)
    marks, place = span * batch_size, jnp.arange(size)
    spots = (_FLOAT(place) + jax.random.uniform(offset, dtype=_FLOAT)) * (line[-1] / _FLOAT(marks))
    spots = jnp.minimum(spots, jnp.nextafter(line[-1], _FLOAT(0)))
    rows = jnp.searchsorted(line, spots, side="right")
    shuffled = jax.random.uniform(order, (size,), _FLOAT)
    # Rows of weight 0 make the pass shorter: the marks behind its end come last.
    return rows[jnp.argsort(jnp.where(place < marks, shuffled, _FLOAT(2)))]


def _key(state, purpose, count):
    return jax.random.fold_in(jax.random.fold_in(state.key, _PURPOSES.index(purpose)), count)


def _over_devices(rows):
    if shards() == 1:
        return rows
    return jax.lax.with_sharding_constraint(rows, PartitionSpec(AXIS))


def _decayed(params, amount):
    return jax.tree.map(lambda p: p * (1 - amount) if p.ndim > 1 else p, params)


def _classes(logits):
    return jnp.int32(logits[:, 0] > 0) if logits.shape[1] == 1 else logits.argmax(1)


def _softmax(logits, y, smoothing):
    shares = jax.nn.log_softmax(logits)
    own = jnp.take_along_axis(shares, y[:, None], axis=1)[:, 0]
    return -(1 - smoothing) * own - smoothing * shares.mean(1)


def _sigmoid(logits, y, smoothing):
    target = _FLOAT(y) * (1 - smoothing) + smoothing / 2
    return optax.sigmoid_binary_cross_entropy(logits[:, 0], target)


_LOSSES = {"softmax": _softmax, "sigmoid": _sigmoid}
_PURPOSES = ("draw", "augment")  # each has random numbers of its own
_FLOAT = jnp.float32  # of losses, sums and weights, whatever the global flag says
