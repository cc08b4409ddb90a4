"""Principal components of real images: the spectrum, the components, and what they rebuild."""

import numpy as np
from sklearn.decomposition import PCA

import jaxfound as jf
from jaxfound.data import images
from jaxfound.experiments.figures import BLUE, GREY, INK, ORANGE, panel, picture_grid
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["run"]

KEPT = (10, 50, 150)  # components to rebuild images from
SHOWN = 12  # components drawn as pictures
CLASSES = ("T-shirt/top", "Sandal", "Bag", "Ankle boot")  # one image of each is rebuilt


@lesson(
    name="fashion-components",
    title="Principal components of images",
    question="How few numbers does a picture of a shirt need?",
    meaning=(
        "A few dozen numbers instead of 784 are enough to recognise most garments, including ones "
        "not used in the fit. The same compression removes noise and makes models behind it "
        "faster."
    ),
    order=100,
    tags=("pca", "unsupervised", "images", "real"),
)
def run(quick: bool) -> Result:
    del quick  # two thousand images take a second
    data = images.fashion_mnist()
    x, new = (_rows(part) for part in (data.x_train, data.x_test))
    timed = race(
        lambda: jf.PCA(max(KEPT), svd_solver="full").fit(x),
        {"scikit-learn": lambda: PCA(max(KEPT), svd_solver="full").fit(x)},
    )
    ours, theirs = timed.ours.value, timed.theirs["scikit-learn"].value
    timed = _numbers(timed)
    rebuilt = {k: (_rebuilt(ours, new, k), _rebuilt(theirs, new, k)) for k in KEPT}
    errors = [
        Check(f"error with {k} components", _error(a, new), _error(b, new), "scikit-learn", 1e-9)
        for k, (a, b) in rebuilt.items()
    ]
    shares = (model.explained_variance_ratio_ for model in (ours, theirs))
    return Result(
        checks=(
            Check("variance kept", _kept(ours), _kept(theirs), "scikit-learn", 1e-9),
            Check("share of each component", next(shares), next(shares), "scikit-learn", 1e-9),
            Check("components", ours.components_, theirs.components_, "scikit-learn", 1e-6),
            *errors,
        ),
        figures={
            "Scree plot: the variance along each component": _draw_scree(ours),
            f"The first {SHOWN} components; white is zero": _draw_components(ours),
            "Test images rebuilt from some of the components": _draw_rebuilt(data, rebuilt),
        },
        formula="x̂ = x̄ + Σₖ vₖ vₖᵀ(x − x̄)",
        notes=(
            "Each image is a point in 784 dimensions, one for each pixel. A few directions hold "
            "most of the variance, because neighbouring pixels change together: the first ones "
            "tell shoes from shirts, later ones draw sleeves and edges. The images shown were not "
            "used in the fit."
        ),
        race=timed,
    )


def _numbers(timed):
    """The same times, beside the first number instead of the fitted models."""
    ours = timed.ours._replace(value=_kept(timed.ours.value))
    theirs = {name: t._replace(value=_kept(t.value)) for name, t in timed.theirs.items()}
    return timed._replace(ours=ours, theirs=theirs)


def _rows(pictures):
    return pictures.reshape(len(pictures), -1) / 255.0


def _kept(model):
    return model.explained_variance_ratio_.sum()


def _rebuilt(model, x, k):
    axes = model.components_[:k]
    return model.mean_ + (x - model.mean_) @ axes.T @ axes


def _error(rebuilt, x):
    """The share of the variance of new images that is lost."""
    return ((x - rebuilt) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()


def _draw_scree(model):
    figure, axes = panel(xlabel="component", ylabel="share of the variance")
    share = model.explained_variance_ratio_
    place = np.arange(1, len(share) + 1)
    axes.loglog(place, share, color=BLUE, label="each component")
    axes.loglog(place, np.cumsum(share), color=ORANGE, label="together")
    for k in KEPT:
        axes.axvline(k, color=GREY, linestyle=":", linewidth=1)
        kept = share[:k].sum()
        axes.annotate(
            f"{k}: {kept:.0%}", (k, kept), (-4, -18), textcoords="offset points", ha="right"
        )
    axes.set(ylim=(share[-1] / 2, 1.3), xticks=(1, *KEPT), xticklabels=(1, *KEPT))
    axes.minorticks_off()
    axes.legend(loc="lower left")
    return figure


def _draw_components(model):
    figure, panels = picture_grid(2, SHOWN // 2)
    for i, axes in enumerate(panels.flat):
        picture = model.components_[i].reshape(28, 28)
        size = np.abs(picture).max()
        axes.imshow(picture, cmap="RdBu_r", vmin=-size, vmax=size)
        axes.set_title(f"{i + 1}: {model.explained_variance_ratio_[i]:.1%}", fontsize=9)
    return figure


def _draw_rebuilt(data, rebuilt):
    chosen = [int(np.flatnonzero(data.y_test == data.names.index(name))[0]) for name in CLASSES]
    columns = {"image": _rows(data.x_test)} | {f"k = {k}": ours for k, (ours, _) in rebuilt.items()}
    figure, panels = picture_grid(len(chosen), len(columns), width=4.6)
    for row, i in zip(panels, chosen, strict=True):
        for axes, (title, pictures) in zip(row, columns.items(), strict=True):
            axes.imshow(pictures[i].reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            if i == chosen[0]:
                axes.set_title(title, fontsize=10)
        row[0].set_ylabel(data.names[data.y_test[i]], fontsize=9, color=INK)
    return figure
