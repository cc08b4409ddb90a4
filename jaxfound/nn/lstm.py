r"""A small recurrent network for texts: Flax NNX, the layers of the usual first lesson.

$$a_t = x_t W + h_{t-1} U + b, \quad i, f, o = \sigma(a), \quad g = \tanh(a), \qquad
  c_t = f c_{t-1} + i g, \quad h_t = o \tanh(c_t)$$

Inside, time is the first axis and every text begins at step 0: padding in front is moved behind,
which changes nothing, since a step without a token is skipped. Then no step needs a mask; the state
behind the last token is taken, and what runs on behind it is never seen.

The loop over steps holds one small product and as few passes as there can be. The projection of
all steps is taken before it, or, where a vocabulary is smaller than a batch has tokens, once for
each word. Its derivative is written out, so that the gates are kept and nothing is computed twice.
On CUDA the kernel of cuDNN takes the place of both.

Reference: S. Hochreiter, J. Schmidhuber, Long short-term memory, Neural Computation 9 (1997);
F. Gers, J. Schmidhuber, F. Cummins, Learning to forget, Neural Computation 12 (2000).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import rnn

from jaxfound._types import Array, Float, Int
from jaxfound.nn.layers import dense

__all__ = ["LSTM", "Bidirectional", "Embedding", "Recurrent", "from_the_start"]

_dot = partial(jnp.matmul, precision="highest")


class LSTM(nnx.Module):
    """Embedding, LSTM layers, a hidden layer with ReLU, and logits; a token 0 is padding.

    With the defaults 16 numbers a word, 32 units, 24 hidden ones and one logit for two classes.

    Args:
      n_words: words are the integers below it, 0 included.
      n_outputs: how many logits; one is for two classes.
      embedding: numbers a token.
      units: of each LSTM layer; all but the last give every step to the next.
      hidden: width of the dense layer.
      bidirectional: read from both ends, with weights of their own.
      dropout: share of the hidden units left out at random in training.
      rngs: where the initial weights, and dropout, come from.

    Example:
      >>> LSTM(100, rngs=nnx.Rngs(0))(jnp.zeros((1, 10), int)).shape
      (1, 1)
    """

    def __init__(
        self,
        n_words: int,
        n_outputs: int = 1,
        *,
        embedding: int = 16,
        units: Sequence[int] = (32,),
        hidden: int = 24,
        bidirectional: bool = False,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        self.embedding = Embedding(n_words, embedding, rngs=rngs)
        kind, sides = (Bidirectional, 2) if bidirectional else (Recurrent, 1)
        widths = (embedding, *(sides * width for width in units))
        pairs = zip(widths, units, strict=False)
        self.layers = nnx.List([kind(*pair, rngs=rngs) for pair in pairs])
        self.hidden = dense(widths[-1], hidden, rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.out = dense(hidden, n_outputs, rngs)

    def __call__(self, tokens: Int[Array, "n t"]) -> Float[Array, "n k"]:
        tokens, lengths = from_the_start(tokens)
        first, *others = self.layers
        if _many(tokens, self.embedding.table) and not _has_cudnn():
            states = first.run(first.project(self.embedding.table[...])[tokens], lengths)
        else:
            states = first(self.embedding(tokens), lengths)
        for layer in others:
            states = layer(states, lengths)
        last = self.layers[-1].last(states, lengths)
        return self.out(self.dropout(nnx.relu(self.hidden(last))))


class Embedding(nnx.Module):
    """A row of numbers `[n_words d]` for each token."""

    def __init__(self, n_words: int, width: int, *, rngs: nnx.Rngs):
        start = nnx.initializers.uniform(0.1)
        self.table = nnx.Param(start(rngs.params(), (n_words, width)) - 0.05)

    def __call__(self, tokens: Int[Array, "..."]) -> Float[Array, "... d"]:
        return self.table[...][tokens]


class Recurrent(nnx.Module):
    """Gates in the order input, forget, cell, output; `[d 4u]`, `[u 4u]` and `[4u]` weights."""

    def __init__(self, n_in: int, units: int, *, rngs: nnx.Rngs):
        glorot, orthogonal = nnx.initializers.glorot_uniform(), nnx.initializers.orthogonal()
        self.kernel = nnx.Param(glorot(rngs.params(), (n_in, 4 * units)))
        self.recurrent = nnx.Param(orthogonal(rngs.params(), (units, 4 * units)))
        # A forget gate that is open in the beginning lets the past through.
        self.bias = nnx.Param(jnp.zeros(4 * units).at[units : 2 * units].set(1))

    def __call__(self, x: Float[Array, "t n d"], lengths: Int[Array, " n"]) -> Float[Array, "..."]:
        """The state `[t n u]` after each step; behind the length of a row it means nothing."""
        if not _has_cudnn():
            return self.run(self.project(x), lengths)
        return jax.lax.platform_dependent(
            *(x, lengths, self.kernel[...], self.recurrent[...], self.bias[...]),
            cuda=_by_cudnn,
            default=lambda x, lengths, kernel, recurrent, bias: self.run(self.project(x), lengths),
        )

    def project(self, x: Float[Array, "... d"]) -> Float[Array, "... g"]:
        """What the inputs give to the gates, as `run` takes it."""
        kernel, bias = (_shared(jnp.asarray(p[...], x.dtype)) for p in (self.kernel, self.bias))
        return _dot(x, kernel) + bias.reshape(*(1,) * (x.ndim - 1), -1)

    def run(self, inputs: Float[Array, "t n g"], lengths: Int[Array, " n"]) -> Float[Array, "..."]:
        """The states for projected inputs."""
        del lengths
        return _recur(inputs, _shared(jnp.asarray(self.recurrent[...], inputs.dtype)))

    def last(self, states: Float[Array, "t n u"], lengths: Int[Array, " n"]) -> Float[Array, "..."]:
        """The state behind the last token; zero where there is none."""
        rows = jnp.arange(len(lengths))
        found = states[jnp.maximum(lengths - 1, 0), rows]
        return jnp.where(lengths[:, None] > 0, found, 0)


class Bidirectional(nnx.Module):
    """Two LSTMs, one from each end; their states side by side."""

    def __init__(self, n_in: int, units: int, *, rngs: nnx.Rngs):
        self.forward = Recurrent(n_in, units, rngs=rngs)
        self.backward = Recurrent(n_in, units, rngs=rngs)

    def __call__(self, x: Float[Array, "t n d"], lengths: Int[Array, " n"]) -> Float[Array, "..."]:
        backward = self.backward(_turned(x, lengths), lengths)
        return jnp.concatenate([self.forward(x, lengths), _turned(backward, lengths)], -1)

    def project(self, x: Float[Array, "... d"]) -> Float[Array, "... g"]:
        return jnp.concatenate([self.forward.project(x), self.backward.project(x)], -1)

    def run(self, inputs: Float[Array, "t n g"], lengths: Int[Array, " n"]) -> Float[Array, "..."]:
        ahead, back = jnp.split(inputs, 2, -1)
        back = self.backward.run(_turned(back, lengths), lengths)
        return jnp.concatenate([self.forward.run(ahead, lengths), _turned(back, lengths)], -1)

    def last(self, states: Float[Array, "t n u"], lengths: Int[Array, " n"]) -> Float[Array, "..."]:
        ahead, back = jnp.split(states, 2, -1)
        back = jnp.where(lengths[:, None] > 0, back[0], 0)  # the first token is its last
        return jnp.concatenate([self.forward.last(ahead, lengths), back], -1)


def from_the_start(tokens: Int[Array, "n t"]) -> tuple[Int[Array, "t n"], Int[Array, " n"]]:
    """Tokens time by rows, those that are not 0 moved together to the start, and their number."""
    known = tokens != 0
    place = jnp.where(known, jnp.cumsum(known, 1) - 1, tokens.shape[1])
    rows = jnp.arange(len(tokens))[:, None]
    moved = jnp.zeros_like(tokens).at[rows, place].set(tokens, mode="drop")
    return moved.T, known.sum(1, dtype=jnp.int32)


def _turned(x, lengths):
    """The steps of every row from its last token to its first, what is behind them as it is."""
    step = jnp.arange(x.shape[0])[:, None]
    source = jnp.where(step < lengths[None], lengths[None] - 1 - step, step)
    return jnp.take_along_axis(x, source[..., None], 0)


def _many(tokens, table):
    return tokens.size > table.shape[0]


def _shared(weights):
    """What the gates come from, ready for tanh: a logistic function is half of one of a half."""
    return weights * _shares(weights)


def _shares(like):
    shares = np.repeat([0.5, 0.5, 1.0, 0.5], like.shape[-1] // 4)
    return jnp.asarray(shares.reshape(*(1,) * (like.ndim - 1), -1), like.dtype)


# --- the loop ---------------------------------------------------------------------------------


@jax.custom_vjp
def _recur(inputs, recurrent):
    """States of projected inputs; both come from `_shared`."""
    return _states(_gates(inputs, recurrent))


def _gates(inputs, recurrent):
    units = recurrent.shape[0]
    share = _shares(inputs[0])

    def step(carry, from_input):
        state, cell = carry
        # Kept apart, or XLA computes the same tanh again for each of its uses.
        gates = _apart(jnp.tanh(from_input + _dot(state, recurrent)) * share + (1 - share))
        i, f, g, o = jnp.split(gates, 4, -1)
        cell = _apart(f * cell + i * g)
        shown = _apart(jnp.tanh(cell))
        return (o * shown, cell), (gates, cell, shown)

    zero = jnp.zeros((inputs.shape[1], units), inputs.dtype)
    return jax.lax.scan(step, (zero, zero), inputs)[1]


def _states(kept):
    gates, _, shown = kept
    return gates[..., -shown.shape[-1] :] * shown


def _recur_forward(inputs, recurrent):
    kept = _gates(inputs, recurrent)
    return _states(kept), (kept, recurrent)


def _recur_backward(known, slopes):
    (gates, cells, shown), recurrent = known

    def before(values):
        return jnp.concatenate([jnp.zeros_like(values[:1]), values[:-1]])

    def step(carry, now):
        of_state, of_cell = carry
        slope, gates, cell_before, shown = now
        i, f, g, o = jnp.split(gates, 4, -1)
        of_state = of_state + slope
        of_cell = _apart(of_cell + of_state * o * (1 - shown**2))
        of_inputs = [
            2 * of_cell * g * i * (1 - i),
            2 * of_cell * cell_before * f * (1 - f),
            of_cell * i * (1 - g**2),
            2 * of_state * shown * o * (1 - o),
        ]
        of_inputs = _apart(jnp.concatenate(of_inputs, -1))
        return (_dot(of_inputs, recurrent.T), of_cell * f), of_inputs

    zero = jnp.zeros_like(cells[0])
    rows = slopes, gates, before(cells), shown
    _, of_inputs = jax.lax.scan(step, (zero, zero), rows, reverse=True)
    states = before(_states((gates, cells, shown))).reshape(-1, cells.shape[-1])
    return of_inputs, _dot(states.T, of_inputs.reshape(-1, of_inputs.shape[-1]))


_recur.defvjp(_recur_forward, _recur_backward)
_apart = jax.lax.optimization_barrier


# --- cuDNN ------------------------------------------------------------------------------------


def _has_cudnn():
    # Its kernel can be lowered only where it is, so that this is no question of lowering.
    return jax.default_backend() == "gpu"


def _by_cudnn(x, lengths, kernel, recurrent, bias):
    units, wide = recurrent.shape[0], partial(jnp.asarray, dtype=jnp.float32)
    zero = jnp.zeros((1, x.shape[1], units), jnp.float32)
    found: Any = rnn.lstm(
        *(wide(x).swapaxes(0, 1), zero, zero, _packed(wide(kernel), wide(recurrent), wide(bias))),
        *(lengths, x.shape[2], units, 1, 0.0, False, jax.lax.Precision.HIGHEST),
    )
    return found[0].swapaxes(0, 1).astype(x.dtype)


def _packed(kernel, recurrent, bias):
    """All weights in one row, as cuDNN has them: its gates come in the same order."""
    parts = kernel.T, recurrent.T, bias, jnp.zeros_like(bias)
    return jnp.concatenate([part.ravel() for part in parts])
