"""Training on the host's side: epochs, validation, early stopping, checkpoints, a progress bar."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxfound._types import Key
from jaxfound.nn import checkpoint
from jaxfound.nn.progress import progress_bar
from jaxfound.nn.stream import Stream, epoch_steps, part_steps, parts
from jaxfound.nn.train import Config, Data, Hyper, Scores, State, evaluate, run, start

__all__ = ["History", "Trained", "fit", "one_epoch"]

History = dict[str, list[float]]  # "loss", "accuracy", "val_loss", "val_accuracy", one an epoch


class Trained(NamedTuple):
    graph: Any
    state: State  # to go on from
    params: nnx.State  # of the best epoch where `patience` is given, else of the last
    rest: nnx.State
    history: History


def fit(
    module: nnx.Module,
    data: Data | Stream,
    key: Key,
    *,
    epochs: int,
    hyper: Hyper = Hyper(),
    config: Config = Config(),
    validation: Data | None = None,
    patience: int | None = None,
    directory: str | Path | None = None,
) -> Trained:
    """Trains `module` for `epochs` epochs, or until it gets no better.

    Args:
      module: any Flax NNX module from `data.x` to logits; it is left as it was.
      data: on the device, or a `Stream` of what does not fit there.
      key: of all that is random.
      validation: scored after every epoch.
      patience: epochs without a smaller loss on `validation` after which to stop; the parameters
        of the best one are kept.
      directory: of checkpoints, one an epoch. A run that finds some goes on from the last, to the
        same bits as if it had not stopped.

    Returns:
      `Trained`; its history has one number an epoch.

    Raises:
      FloatingPointError: as soon as the loss is not finite; the last checkpoint is good.
      OSError: if a checkpoint cannot be written.
      ValueError: for `patience` without `validation`, or checkpoints of another run.

    Example:
      >>> x, y = jnp.asarray(images.x_train[..., None]), jnp.asarray(images.y_train, jnp.int32)
      >>> trained = fit(CNN(rngs=nnx.Rngs(0)), Data(x, y), jax.random.key(0), epochs=10)
    """
    if patience is not None and validation is None:
        raise ValueError(
            f"patience is {patience}, but validation is None: give the data to be patient with."
        )
    graph, state = start(module, key, config=config)
    best = None if patience is None else _copied(state)
    (state, best), history = _found(directory, (state, best))
    plan = _Plan(data, hyper, config, epochs)
    with progress_bar(epochs) as bar:
        while len(history["loss"]) < epochs and not _in_vain(history, patience):
            state = _epoch(graph, state, plan, history, bar)
            if validation is not None:
                scores = evaluate(graph, state.params, state.rest, validation, config=config)
                _note(history, scores, "val_")
            if patience is not None and _waited(history) == 0:
                best = _copied(state)
            if directory is not None:
                checkpoint.save(directory, len(history["loss"]), (state, best), history)
            bar.epoch(history)
    params, rest = best or (state.params, state.rest)
    return Trained(graph, state, params, rest, history)


def one_epoch(
    graph: Any, state: State, data: Data, hyper: Hyper = Hyper(), config: Config = Config()
) -> tuple[State, History]:
    """One more epoch from where a run ended, on other data perhaps.

    Args:
      graph, state: from `start` or `Trained`; the state stays usable.

    Returns:
      The new state, and the history of this epoch.

    Raises:
      FloatingPointError: as soon as the loss is not finite.
    """
    history: History = {"loss": [], "accuracy": []}
    draws = jax.random.fold_in(state.key, 1)  # other ones than in the last epoch
    state = jax.tree.map(jnp.copy, state._replace(step=jnp.zeros_like(state.step), key=draws))
    with progress_bar(1) as bar:
        return _epoch(graph, state, _Plan(data, hyper, config, 1), history, bar), history


class _Plan(NamedTuple):
    data: Data | Stream
    hyper: Hyper
    config: Config
    epochs: int


def _epoch(graph, state, plan, history, bar):
    """One epoch; its scores are added to the history."""
    epoch, config = len(history["loss"]), plan.config
    steps = epoch_steps(plan.data, config)
    sums = []
    for part in parts(plan.data, state.key, epoch, config):
        span = part_steps(plan.data, config)
        end = int(state.step) + span
        for stop in bar.stops(int(state.step), end):
            state = run(
                *(graph, state, part, stop, plan.hyper),
                span=span,
                total=plan.epochs * steps,
                config=config,
            )
            _check_finite(state, stop, epoch, plan.hyper)
            bar.steps(epoch, int(state.step) / steps, config.batch_size * steps)
        sums.append(np.array(state.sums))  # now: the next part takes over their memory
    loss, accuracy = np.sum(sums, axis=0) / steps
    _note(history, Scores(loss, accuracy))
    return state


def _note(history, scores, prefix=""):
    for name, value in scores._asdict().items():
        history.setdefault(prefix + name, []).append(float(value))


def _check_finite(state, stop, epoch, hyper):
    if int(state.step) < stop:
        raise FloatingPointError(
            f"The loss is not finite at step {int(state.step) + 1}, in epoch {epoch + 1}, with a "
            f"learning rate of {float(hyper.learning_rate):g}: lower it, or clip the gradients. "
            "Training has stopped; a checkpoint of the epoch before is good."
        )


def _found(directory, like):
    found = None if directory is None else checkpoint.load(directory, like)
    return (like, {"loss": [], "accuracy": []}) if found is None else found


def _copied(state):
    """Apart from the state, whose memory the next epoch takes over."""
    return jax.tree.map(jnp.copy, (state.params, state.rest))


def _waited(history):
    """Epochs since the smallest loss on the validation data."""
    return len(history["val_loss"]) - 1 - int(np.argmin(history["val_loss"]))


def _in_vain(history, patience):
    return patience is not None and bool(history["loss"]) and _waited(history) >= patience
