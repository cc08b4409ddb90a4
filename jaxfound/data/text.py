"""Texts as sequences of integers: a tokenizer and padding, with the results of Keras.

Host code. The loops over words run inside `map` and NumPy; only those over texts are Python's.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import chain, count, repeat
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxfound._checks import check_choice, check_flag, check_whole

__all__ = ["FILTERS", "Tokenizer", "pad_sequences"]

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'  # all punctuation but the apostrophe
MODES = ("binary", "count", "tfidf", "freq")
_SIDES = ("pre", "post")
_NONE = np.empty(0, np.int32)
_TABLES = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")


class Tokenizer:
    """Numbers words by how often they occur, from 1; 0 is left for padding.

    Words that occur equally often keep the order of their first occurrence.

    Args:
      num_words: one more than the number of words to keep; None keeps all.
      filters: characters that separate words.
      lower: whether to ignore case.
      split: what separates words.
      char_level: whether every character is a token; `filters` and `split` have no effect then.
      oov_token: takes index 1 and the place of unknown words, which are left out without it.

    Attributes:
      word_counts: how often each word occurs, in the order of first occurrence.
      word_docs: how many texts each word is in.
      word_index: from word to index, and `index_word` back; not cut at `num_words`.
      index_docs: `word_docs` by index.
      document_count: how many texts were fitted.

    Raises:
      TypeError: for settings of a wrong kind.
      ValueError: if `num_words` is below 1 or `split` is empty.

    Example:
      >>> tokenizer = Tokenizer(oov_token="<OOV>")
      >>> tokenizer.fit_on_texts(["I love learning"])
      >>> tokenizer.texts_to_sequences(["I love cats"])
      [[2, 3, 1]]

    The results are those of `keras.preprocessing.text.Tokenizer` of Keras 2, and so is the file.
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: str = FILTERS,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
    ):
        if num_words is not None:
            check_whole("num_words", num_words, least=1)
        self.num_words = num_words
        self.filters = _check_string("filters", filters)
        self.lower = check_flag("lower", lower)
        self.split = _check_string("split", split)
        self.char_level = check_flag("char_level", char_level)
        self.oov_token = None if oov_token is None else _check_string("oov_token", oov_token)
        if not split:
            raise ValueError("split is '', expected what stands between words, such as ' '.")
        self.word_counts: dict[str, int] = {}
        self.word_docs: dict[str, int] = {}
        self.word_index: dict[str, int] = {}
        self.index_word: dict[int, str] = {}
        self.index_docs: dict[int, int] = {}
        self.document_count = 0

    def fit_on_texts(self, texts: Iterable[str | list[str]]) -> None:
        """Counts the words of `texts`, in addition to those of earlier calls, and numbers them.

        Args:
          texts: strings, or lists of tokens that are taken as they are.

        Raises:
          TypeError: if `texts` is one string, or a text is neither; nothing is counted then.
        """
        ids = _Numbering(zip(self.word_counts, count()))
        find = ids.__getitem__
        rows = [np.fromiter(map(find, words), np.int32) for words in self._tokens(texts)]
        counts, docs = (_table(old, ids) for old in (self.word_counts, self.word_docs))
        for row in rows:
            docs[row] += 1  # once, however often a word is in the row
        counts += np.bincount(np.concatenate([*rows, _NONE]), minlength=len(ids))
        self.word_counts = dict(zip(ids, counts.tolist(), strict=True))
        self.word_docs = dict(zip(ids, docs.tolist(), strict=True))
        self.document_count += len(rows)
        self._number()

    def texts_to_sequences(self, texts: Iterable[str | list[str]]) -> list[list[int]]:
        """The indices of the words of each text; unknown words are `oov_token` or left out.

        Raises:
          TypeError: as `fit_on_texts`.
          ValueError: if the vocabulary is empty.
        """
        self._require_words()
        unknown = self.word_index.get(self.oov_token) if self.oov_token is not None else None
        find: Any = self._kept().get
        rows = (map(find, words, repeat(unknown)) for words in self._tokens(texts))
        return [list(row) if unknown else list(filter(None, row)) for row in rows]

    def sequences_to_texts(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """The words of each sequence with spaces between; unknown indices as unknown words."""
        self._require_words()
        known = {index: word for word, index in self._kept().items()}
        return [
            " ".join(w for w in map(known.get, row, repeat(self.oov_token)) if w is not None)
            for row in sequences
        ]

    def texts_to_matrix(
        self,
        texts: Iterable[str | list[str]],
        mode: Literal["binary", "count", "tfidf", "freq"] = "binary",
    ) -> np.ndarray:
        """One row a text, one column an index.

        Args:
          texts: as in `fit_on_texts`.
          mode: whether a word is in the text, how often it is, the same times its rarity
            $(1 + \\log c) \\log(1 + N / (1 + n))$ where it is in $n$ of $N$ texts, or its share.

        Returns:
          float64 `[n v]` with `v = num_words`, or one more than the words there are.

        Raises:
          TypeError: as `fit_on_texts`.
          ValueError: if the vocabulary is empty, or for another mode.
        """
        check_choice("mode", mode, MODES)
        sequences = self.texts_to_sequences(texts)
        width = self.num_words or len(self.word_index) + 1
        lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
        flat = np.fromiter(chain.from_iterable(sequences), np.int64, lengths.sum())
        inside = flat < width  # all but an `oov_token` that is beyond `num_words`
        cells = (np.repeat(np.arange(len(sequences)), lengths) * width + flat)[inside]
        counts = np.bincount(cells, minlength=len(sequences) * width).reshape(-1, width)
        return self._scaled(counts, lengths, mode)

    def save(self, path: str | Path) -> None:
        """Writes settings and vocabulary as JSON, in the form that Keras reads and writes."""
        names = ("num_words", "filters", "lower", "split", "char_level", "oov_token")
        config = {name: getattr(self, name) for name in (*names, "document_count")}
        config |= {name: json.dumps(getattr(self, name)) for name in _TABLES}
        text = json.dumps({"class_name": "Tokenizer", "config": config})
        Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Reads what `save`, or Keras's `to_json`, has written.

        Raises:
          ValueError: if the file holds something else.
        """
        try:
            config = json.loads(Path(path).read_text(encoding="utf-8"))["config"]
            tables = {name: json.loads(config.pop(name)) for name in _TABLES}
            count = config.pop("document_count")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} holds no tokenizer, expected JSON written by Tokenizer.save."
            ) from error
        tokenizer = cls(**config)
        tokenizer.document_count = count
        tokenizer.word_counts = tables["word_counts"]
        tokenizer.word_docs = tables["word_docs"]
        tokenizer._number()
        return tokenizer

    def _tokens(self, texts):
        if isinstance(texts, str):
            raise TypeError("texts is one string, expected a list of them: pass [text].")
        clean = self._cleaner()
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                yield self._given(i, text)
                continue
            if self.char_level:
                yield text.lower() if self.lower else text
            else:
                yield filter(None, clean(text).split(self.split))

    def _cleaner(self):
        """A function from a text to its words with separators between."""
        # One after the other is faster than `str.translate`, and the same unless a separator
        # holds characters that are separated on: these are all replaced at once.
        inside = str.maketrans({c: self.split for c in self.filters if c in self.split})
        outside = [c for c in self.filters if c not in self.split]

        def clean(text):
            text = text.lower() if self.lower else text
            text = text.translate(inside) if inside else text
            for character in outside:
                text = text.replace(character, self.split)
            return text

        return clean

    def _given(self, i, tokens):
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise TypeError(
                f"text {i} is {tokens!r:.60} ({type(tokens).__name__}), expected a string or a "
                "list of strings: drop missing texts, or replace them by ''."
            )
        return [token.lower() for token in tokens] if self.lower else tokens

    def _number(self):
        # The sort is stable in reverse too: ties keep their order.
        found = sorted(self.word_counts, key=self.word_counts.__getitem__, reverse=True)
        words = found if self.oov_token is None else [self.oov_token, *found]
        self.word_index = dict(zip(words, range(1, len(words) + 1), strict=True))
        self.index_word = {index: word for word, index in self.word_index.items()}
        self.index_docs = {self.word_index[word]: n for word, n in self.word_docs.items()}

    def _kept(self):
        if self.num_words is None:
            return self.word_index
        return {word: i for word, i in self.word_index.items() if i < self.num_words}

    def _require_words(self):
        if not self.word_index:
            raise ValueError(
                "the vocabulary is empty, expected at least one word: call fit_on_texts with "
                "texts that have words in them."
            )

    def _scaled(self, counts, lengths, mode):
        if mode == "binary":
            return (counts > 0).astype(float)
        if mode == "freq":
            return counts / np.maximum(lengths, 1)[:, None]
        if mode == "count":
            return counts.astype(float)
        docs = np.zeros(counts.shape[1])
        for i, n in self.index_docs.items():
            if i < len(docs):
                docs[i] = n
        rarity = np.log(1 + self.document_count / (1 + docs))
        return np.where(counts > 0, (1 + np.log(np.maximum(counts, 1))) * rarity, 0.0)


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: Literal["pre", "post"] = "pre",
    truncating: Literal["pre", "post"] = "pre",
    value: float = 0,
) -> np.ndarray:
    """Sequences of numbers as the rows of one array, cut or filled up to one length.

    Args:
      sequences: a list of lists or arrays of numbers.
      maxlen: the length; None takes the longest's.
      dtype: of the array.
      padding: where `value` goes, before or after.
      truncating: where a longer sequence is cut.
      value: what to fill with.

    Returns:
      `[n maxlen]`, equal to `keras.utils.pad_sequences`.

    Raises:
      TypeError: if an entry is no sequence of numbers.
      ValueError: for settings out of range, or where a number, such as NaN, does not fit `dtype`.
    """
    check_choice("padding", padding, _SIDES)
    check_choice("truncating", truncating, _SIDES)
    for i, row in enumerate(sequences):
        if isinstance(row, str) or not hasattr(row, "__len__"):
            raise TypeError(
                f"sequence {i} is {row!r:.60} ({type(row).__name__}), expected a list of numbers: "
                "texts go through Tokenizer.texts_to_sequences first."
            )
    longest = max(map(len, sequences), default=0)
    length = longest if maxlen is None else check_whole("maxlen", maxlen, least=1)
    kept = slice(length) if truncating == "post" else slice(-max(length, 1), None)
    out = np.full((len(sequences), length), value, dtype)
    try:
        for place, row in zip(out, sequences, strict=True):
            part = row[kept]
            if padding == "post":
                place[: len(part)] = part
            else:
                place[length - len(part) :] = part
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"a sequence holds something that {out.dtype} cannot ({error}), expected numbers: "
            "fill missing values, or choose another dtype."
        ) from error
    return out


class _Numbering(dict):
    """Gives every new word the next number."""

    def __missing__(self, word):
        self[word] = number = len(self)
        return number


def _table(known, ids):
    """The numbers of `known` in the order of `ids`, and zeros for the words that are new."""
    return np.array([known.get(word, 0) for word in ids], np.int64)


def _check_string(name, value):
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}), expected a string.")
    return value
