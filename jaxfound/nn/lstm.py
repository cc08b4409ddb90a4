"""A small recurrent network for texts: Flax NNX, the layers of the usual first lesson.

The loop over time holds only what depends on the step before. The inputs' product is made ahead
of it, and its derivative keeps the gates and makes that of the weights behind the loop, as one
product: differentiating the loop itself would add one small product a step.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfound._types import Array, Bool, Float, Int

__all__ = ["LSTM", "Embedding", "Recurrent", "recur"]


class LSTM(nnx.Module):
    """Embedded words, one LSTM or several, a hidden layer with ReLU, and logits.

    With the defaults and 100 words: 1,600 + 6,272 + 792 + 25 = 8,689 parameters, as in Keras.
    Word 0 is padding, before or behind a text: such steps leave the state as it is, which is
    what Keras does with `mask_zero=True`.

    Args:
      n_words: words are the integers below it.
      n_outputs: how many logits; 1 for the sigmoid loss.
      embedding: width of a word's vector.
      units: of each recurrent layer, from first to last.
      hidden: width of the dense layer.
      bidirectional: whether a second LSTM reads each layer's input from the end.
      dropout: share of the hidden units left out at random in training.
      rngs: where the initial weights, and dropout, come from.

    Example:
      >>> LSTM(100, rngs=nnx.Rngs(0))(jnp.ones((1, 10), int)).shape
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
        ways = 2 if bidirectional else 1
        widths = (embedding, *(ways * width for width in units))
        self.embedding = Embedding(n_words, embedding, rngs=rngs)
        pairs = list(zip(widths, units, strict=False))
        self.forward = nnx.List([Recurrent(*pair, rngs=rngs) for pair in pairs])
        backward = [Recurrent(*pair, rngs=rngs) for pair in pairs] if bidirectional else []
        self.backward = nnx.List(backward)
        self.hidden = _dense(widths[-1], hidden, rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.out = _dense(hidden, n_outputs, rngs)

    def __call__(self, x: Int[Array, "n t"]) -> Float[Array, "n k"]:
        """Logits of texts, as padded rows of words' numbers."""
        present = x.T != 0  # time first, as the loop wants it
        states = self.embedding(x.T)
        for layer in range(len(self.forward)):
            read = [self.forward[layer](states, present)]
            if self.backward:
                read.append(self.backward[layer](states[::-1], present[::-1]))
            last = jnp.concatenate([way[-1] for way in read], -1)
            read[1:] = [way[::-1] for way in read[1:]]
            states = jnp.concatenate(read, -1)
        return self.out(self.dropout(nnx.relu(self.hidden(last))))


class Embedding(nnx.Module):
    """A vector for each word."""

    def __init__(self, n_words: int, width: int, *, rngs: nnx.Rngs):
        start = jax.random.uniform(rngs.params(), (n_words, width), minval=-0.05, maxval=0.05)
        self.table = nnx.Param(start)

    def __call__(self, x: Int[Array, "..."]) -> Float[Array, "... e"]:
        return self.table[...][x]


class Recurrent(nnx.Module):
    """One LSTM; its gates lie side by side in the order of Keras: input, forget, cell, output."""

    def __init__(self, n_in: int, units: int, *, rngs: nnx.Rngs):
        glorot, square = nnx.initializers.glorot_uniform(), nnx.initializers.orthogonal()
        self.kernel = nnx.Param(glorot(rngs.params(), (n_in, 4 * units)))
        self.recurrent = nnx.Param(square(rngs.params(), (units, 4 * units)))
        # A forget gate that starts open lets the slope through (Jozefowicz et al., ICML 2015).
        self.bias = nnx.Param(jnp.zeros(4 * units).at[units : 2 * units].set(1))

    def __call__(
        self, x: Float[Array, "t n e"], present: Bool[Array, "t n"]
    ) -> Float[Array, "t n h"]:
        """The state behind every step."""
        inputs = _product(x, self.kernel[...]) + self.bias[None, None]
        return recur(inputs, self.recurrent[...], present)


@jax.custom_vjp
def recur(
    inputs: Float[Array, "t n g"], recurrent: Float[Array, "h g"], present: Bool[Array, "t n"]
) -> Float[Array, "t n h"]:
    r"""The states of an LSTM from its inputs' share of the gates, $g = 4 h$.

    $c_t = f_t c_{t-1} + i_t g_t$, $h_t = o_t \tanh c_t$, with $i, f, o$ the logistic function and
    $g$ the tanh of $x_t W + h_{t-1} U + b$; where `present` is false both stay as they are.

    Reference: F. Gers, J. Schmidhuber, F. Cummins, Learning to forget, Neural Computation 12
    (2000), equations 2.5 and 3.1.
    """
    return _forward(inputs, recurrent, present)[0]


def _forward(inputs, recurrent, present):
    def step(carry, now):
        h, c = carry
        z, there = now
        gates = i, f, g, o = _gates(z + _product(h, recurrent))
        kept = f * c + i * g
        c = jnp.where(there[:, None], kept, c)
        h = jnp.where(there[:, None], o * jnp.tanh(kept), h)
        return (h, c), (h, c, jnp.concatenate(gates, -1))

    zero = jnp.zeros((inputs.shape[1], recurrent.shape[0]), inputs.dtype)
    return jax.lax.scan(step, (zero, zero), (inputs, present))[1]


def _forward_and_keep(inputs, recurrent, present):
    states, cells, gates = _forward(inputs, recurrent, present)
    return states, (states, cells, gates, recurrent, present)


def _backward(kept, slopes):
    states, cells, gates, recurrent, present = kept
    none = jnp.zeros_like(states[:1])
    states_before, cells_before = (jnp.concatenate([none, a[:-1]]) for a in (states, cells))
    transposed = recurrent.T

    def step(carry, now):
        dh, dc = carry
        slope, c, before, gates, there = now
        i, f, g, o = jnp.split(gates, 4, -1)
        dh, tanh = dh + slope, jnp.tanh(c)
        dh_in = jnp.where(there[:, None], dh, 0)
        dc_in = jnp.where(there[:, None], dc + dh * o * (1 - tanh**2), 0)
        di, df = dc_in * g * i * (1 - i), dc_in * before * f * (1 - f)
        dz = jnp.concatenate([di, df, dc_in * i * (1 - g**2), dh_in * tanh * o * (1 - o)], -1)
        dh = jnp.where(there[:, None], _product(dz, transposed), dh)
        dc = jnp.where(there[:, None], dc_in * f, dc)
        return (dh, dc), dz

    rows = (slopes, cells, cells_before, gates, present)
    _, dz = jax.lax.scan(step, (none[0], none[0]), rows, reverse=True)
    flat = [a.reshape(-1, a.shape[-1]) for a in (states_before, dz)]
    return dz, _product(flat[0].T, flat[1]), None


recur.defvjp(_forward_and_keep, _backward)


def _gates(z):
    i, f, g, o = jnp.split(z, 4, -1)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


def _product(a, b):
    return jnp.matmul(a, b, precision="highest")


def _dense(n_in, n_out, rngs):
    start = nnx.initializers.glorot_uniform()
    return nnx.Linear(n_in, n_out, kernel_init=start, precision="highest", rngs=rngs)
