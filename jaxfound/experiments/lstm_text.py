"""A network reads: three sentences as numbers, then opinions on films, told apart by an LSTM."""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

import jaxfound as jf
from jaxfound.data import reviews, text
from jaxfound.experiments.figures import BLUE, INK, panel
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["run"]

TOYS = ("I love machine learning", "Deep learning is amazing", "I enjoy learning new things")
# By hand: words in the order of how often they occur, then of where; 1 stands for unknown ones.
TOY_ROWS = ((3, 4, 5, 2), (6, 2, 7, 8), (3, 9, 2, 10, 11))
WORDS, LENGTH = 10_000, 40
# 32 numbers a word, two LSTMs of 32 units, 24 hidden units and one logit a class.
PARAMETERS = 320_000 + 2 * (2 * 32 * 128 + 128) + 65 * 24 + 25 * 2
QUICK_SHARE = 2  # every other sentence


@lesson(
    name="lstm-text",
    title="A recurrent network reads opinions on films",
    question="Can a network that reads word by word judge an opinion?",
    meaning=(
        "It is about as good as counts of words on these short sentences, and not better. The "
        "simpler model is the one to beat before a network is used."
    ),
    order=180,
    tags=("classification", "networks", "text", "real"),
)
def run(quick: bool) -> Result:
    tokenizer = text.Tokenizer(num_words=100, oov_token="<OOV>")
    tokenizer.fit_on_texts(TOYS)
    toys = text.pad_sequences(
        tokenizer.texts_to_sequences(TOYS), maxlen=10, padding="post", truncating="post"
    )
    unknown = tokenizer.texts_to_sequences(["I love deep water"])[0]
    sentences = reviews.movie_sentences()
    share = slice(None, None, QUICK_SHARE if quick else 1)
    train, test, train_labels, labels = train_test_split(
        *(sentences.texts[share], sentences.labels[share]), test_size=0.2, random_state=0
    )
    model = jf.LSTMClassifier(
        *(WORDS, LENGTH),
        embedding=32,
        bidirectional=True,
        dropout=0.5,
        label_smoothing=0.1,
        epochs=3,
        learning_rate=5e-3,
        schedule="one_cycle",
        random_state=0,
    ).fit(train, train_labels)
    probability = model.predict_proba(test)[:, 1]
    ours = ((probability > 0.5) == labels).mean()
    counted = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    theirs = counted.fit(train, train_labels).score(test, labels)
    return Result(
        checks=(
            Check("three sentences as rows of numbers", toys, _padded(TOY_ROWS), "by hand", 0),
            Check("an unknown word is 1", np.array(unknown), np.array([3, 4, 6, 1]), "by hand", 0),
            Check("parameters", _count(model.weights()), PARAMETERS, "exact", 0),
            Check(
                "accuracy is less than two points below", min(ours - theirs, 0), 0, "TF-IDF", 0.02
            ),
        ),
        figures={
            "How favourable the network finds sentences that people dislike or like": _draw(
                probability, labels
            ),
        },
        formula="h_t = o tanh(c_t), c_t = f c_{t−1} + i g",
        notes=(
            f"Trained on {len(train):,} sentences, the network is right on {ours:.1%} of "
            f"{len(test):,} others; counts of words, weighted by TF-IDF, with logistic regression "
            f"on {theirs:.1%}. Counts do not know the order of words. The network does, but from "
            "so few sentences it learns hardly more of it than pays for its many parameters."
        ),
    )


def _padded(rows):
    return np.array([[*row, *(10 - len(row)) * [0]] for row in rows])


def _count(weights):
    return sum(array.size for array in weights.values())


def _draw(probability, labels):
    figure, axes = panel(xlabel="probability of a favourable opinion", ylabel="sentences")
    bins = np.linspace(0, 1, 21).tolist()
    for label, name, color in ((0, "disliked", INK), (1, "liked", BLUE)):
        axes.hist(probability[labels == label], bins, alpha=0.55, color=color, label=name)
    axes.legend(frameon=False, loc="upper center")
    return figure
