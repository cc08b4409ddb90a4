"""Opinions on films: sentences that come with the package, and the reviews of IMDB on your disk."""

import csv
import lzma
import os
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxfound._checks import check_choice, check_number

__all__ = ["Reviews", "imdb", "movie_sentences", "read_csv"]


class Reviews(NamedTuple):
    texts: list[str]
    labels: Any  # [n], one a text


def movie_sentences(least: float = 0.5) -> Reviews:
    """English sentences from film reviews, and whether people find them favourable.

    Args:
      least: smallest size of the ratings to take. They are means of 20 people's, from -4 to 4;
        0.5 leaves 10,072 sentences, 0 all 10,605.

    Returns:
      `Reviews`, read from the package; a label is 1 for a rating above 0, else 0.

    Source: C. Hutto, E. Gilbert, VADER: A parsimonious rule-based model for sentiment analysis of
    social media text, ICWSM 2014; MIT licence, beside this file. The sentences come from
    B. Pang, L. Lee, A sentimental education, ACL 2004.
    """
    check_number("least", least, least=0)
    path = resources.files("jaxfound.data") / "movie_sentences.tsv.xz"
    with path.open("rb") as packed, lzma.open(packed, "rt", encoding="utf-8") as opened:
        file: Any = opened
        rows = [line.rstrip("\n").split("\t", 1) for line in file]
    kept = [(text, float(rating)) for rating, text in rows if abs(float(rating)) >= least]
    return Reviews([text for text, _ in kept], np.array([r > 0 for _, r in kept], np.int64))


def imdb(
    path: str | os.PathLike[str] | None = None, part: Literal["train", "test"] = "train"
) -> Reviews:
    """25,000 reviews of films in full, from the folder that is published.

    Args:
      path: the folder `aclImdb`, with `train/pos/*.txt` and its kin; None looks for it in
        `$JAXFOUND_DATA`.
      part: which half.

    Returns:
      `Reviews`, with a space for `<br />`; a label is 1 for a favourable one, else 0.

    Raises:
      FileNotFoundError: if there is no such folder.

    Source: A. Maas et al., Learning word vectors for sentiment analysis, ACL 2011.
    """
    check_choice("part", part, ("train", "test"))
    folder = Path(path or Path(os.environ.get("JAXFOUND_DATA", "."), "aclImdb")) / part
    files = {label: sorted((folder / name).glob("*.txt")) for label, name in enumerate(_OPINIONS)}
    for label, found in files.items():
        if not found:
            raise FileNotFoundError(
                f"no texts in {folder / _OPINIONS[label]}, expected the reviews of IMDB as *.txt: "
                "unpack aclImdb_v1.tar.gz from https://ai.stanford.edu/~amaas/data/sentiment, and "
                "give the path of its folder aclImdb or set JAXFOUND_DATA to what holds it."
            )
    texts = [_plain(p.read_text("utf-8")) for found in files.values() for p in found]
    return Reviews(texts, np.repeat([*files], [*map(len, files.values())]))


def read_csv(path: str | os.PathLike[str], text: str = "text", label: str = "label") -> Reviews:
    """Texts and labels from two columns of a file with a header, such as a copy of IMDB.

    Args:
      path: of the file, in UTF-8.
      text, label: names of the columns.

    Returns:
      `Reviews`, with a space for `<br />`; labels are integers if all are, else strings.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a column, or the label of a row, is missing.
    """
    with open(path, encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        for name in (text, label):
            if name not in (table.fieldnames or ()):
                raise ValueError(
                    f"{path} has the columns {table.fieldnames}, expected one named {name!r}: "
                    "name yours by `text` and `label`."
                )
        rows = [(row[text], row[label]) for row in table]
    for i, row in enumerate(rows, 2):
        if not row[1]:
            raise ValueError(f"row {i} of {path} has no {label!r}, expected one: drop the row.")
    labels = np.array([name for _, name in rows])
    whole = len(rows) > 0 and all(name.lstrip("+-").isdecimal() for name in labels)
    return Reviews([_plain(t) for t, _ in rows], labels.astype(int) if whole else labels)


def _plain(text):
    return text.replace("<br />", " ")


_OPINIONS = ("neg", "pos")
