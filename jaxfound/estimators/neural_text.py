"""The LSTM with scikit-learn's face, on texts or on rows of words' numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optax

from jaxfound._checks import check_flag, check_number, check_whole
from jaxfound.data.text import Tokenizer, pad_sequences
from jaxfound.estimators.neural import NetworkClassifier
from jaxfound.nn.lstm import LSTM

__all__ = ["LSTMClassifier"]


class LSTMClassifier(NetworkClassifier):
    """Classifies texts by an LSTM over embedded words.

    `X` are strings `[n]`, whose words `fit` numbers by how often they occur, or integers `[n t]`
    below `num_words`, 0 for padding. The network has one logit a class.

    Args:
      num_words: one more than the number of words to keep; the rarer ones are one and the same.
      max_length: words of a text; the rest of a longer text is left out.
      embedding: width of a word's vector.
      units: of each recurrent layer.
      hidden: width of the dense layer.
      bidirectional: whether texts are read from the end as well.
      dropout: share of the dense layer's units left out at random in training.
      epochs, batch_size, optimizer, learning_rate, schedule, weight_decay, clip_norm,
        label_smoothing, mixed_precision, class_weight, patience, validation_fraction,
        checkpoint_dir, random_state: as in `CNNClassifier`.

    Attributes:
      classes_: `[k]`.
      history_: lists "loss" and "accuracy", with `patience` also "val_loss" and "val_accuracy",
        one number an epoch.
      input_shape_: how many words a row has.
      tokenizer_: from words to numbers; None if `fit` has seen numbers.

    Example:
      >>> model = LSTMClassifier(epochs=5, random_state=0).fit(texts, labels)
      >>> label = model.predict(["a film to remember"])
    """

    def __init__(
        self,
        num_words: int = 5000,
        max_length: int = 200,
        embedding: int = 16,
        units: Sequence[int] = (32,),
        hidden: int = 24,
        bidirectional: bool = False,
        dropout: float = 0.0,
        *,
        epochs: int = 5,
        batch_size: int = 64,
        optimizer: Callable[..., optax.GradientTransformation] = optax.adam,
        learning_rate: float = 1e-3,
        schedule: str = "constant",
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        label_smoothing: float = 0.0,
        mixed_precision: bool = False,
        class_weight: Any = None,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        checkpoint_dir: Any = None,
        random_state: Any = None,
    ):
        self.num_words = num_words
        self.max_length = max_length
        self.embedding = embedding
        self.units = units
        self.hidden = hidden
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.label_smoothing = label_smoothing
        self.mixed_precision = mixed_precision
        self.class_weight = class_weight
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LSTMClassifier":
        """Numbers the words, and trains from the beginning for `epochs` epochs.

        Raises:
          TypeError: if a text is missing or a number.
          ValueError: if no text has a word, a number is no word's, a row is longer than
            `max_length`, or for what `NetworkClassifier.fit` refuses.
        """
        tokenizer = self._vocabulary(X)
        super().fit(self._numbered(X, tokenizer), y, sample_weight)
        self.tokenizer_ = tokenizer
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> "LSTMClassifier":
        """One epoch over these rows; the words are those of the first call."""
        first = not hasattr(self, "classes_")
        tokenizer = self._vocabulary(X) if first else self.tokenizer_
        super().partial_fit(self._numbered(X, tokenizer), y, classes, sample_weight)
        self.tokenizer_ = tokenizer
        return self

    def _inputs(self, X):
        return self._numbered(X, getattr(self, "tokenizer_", None))

    def _network(self, shape, n_classes, rngs):
        return LSTM(
            check_whole("num_words", self.num_words, least=2),
            n_classes,
            embedding=check_whole("embedding", self.embedding, least=1),
            units=[check_whole("units", width, least=1) for width in self.units],
            hidden=check_whole("hidden", self.hidden, least=1),
            bidirectional=check_flag("bidirectional", self.bidirectional),
            dropout=check_number("dropout", self.dropout, least=0, most=0.99),
            rngs=rngs,
        )

    def _vocabulary(self, X):
        if not _are_texts(X):
            return None
        tokenizer = Tokenizer(check_whole("num_words", self.num_words, least=2), oov_token=_RARE)
        tokenizer.fit_on_texts(_texts(X))
        if not tokenizer.word_counts:
            raise ValueError(
                f"X has {len(X)} texts without a word, so the vocabulary is empty: pass texts that "
                "have words in them."
            )
        return tokenizer

    def _numbered(self, X, tokenizer):
        """Rows of words' numbers `[n t]`."""
        length = check_whole("max_length", self.max_length, least=1)
        if not _are_texts(X):
            return _numbers(X, self.num_words, length)
        if tokenizer is None:
            raise ValueError(
                "X are texts, expected rows of numbers as in fit: number the words in the same way."
            )
        rows = tokenizer.texts_to_sequences(_texts(X))
        return pad_sequences(rows, length, padding="post", truncating="post")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


def _are_texts(X):
    """Whether these are texts, or are meant as such: one thing a row, and no row of numbers."""
    if isinstance(X, str):
        raise TypeError("X is one string, expected a list of texts: pass [text].")
    first = X[0] if isinstance(X, (list, tuple)) and X else ""
    return getattr(X, "ndim", 1) == 1 and (isinstance(first, str) or not hasattr(first, "__len__"))


def _texts(X):
    texts = list(X)
    if not texts:
        raise ValueError("X has no texts, expected at least one.")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"text {i} of X is {text!r:.60} ({type(text).__name__}), expected a string: drop "
                "missing texts or replace them by ''; numbers of words are rows [n t]."
            )
    return texts


def _numbers(X, num_words, length):
    x = np.asarray(X)
    if x.ndim != 2 or 0 in x.shape or x.dtype.kind not in "iu":
        raise ValueError(
            f"X has shape {x.shape} and dtype {x.dtype}, expected texts [n] or integers [n t], at "
            "least one: pad rows with data.text.pad_sequences."
        )
    if x.shape[1] > length:
        raise ValueError(
            f"X has rows of {x.shape[1]} words, expected at most max_length = {length}: cut them, "
            "or set max_length."
        )
    if x.min() < 0 or x.max() >= num_words:
        raise ValueError(
            f"X has numbers from {x.min()} to {x.max()}, expected 0 to {num_words - 1}, below "
            "num_words: keep fewer words, or set num_words."
        )
    return x.astype(np.int32)


_RARE = "<OOV>"  # stands for all words that are not kept
