"""What `PCA` and `IncrementalPCA` share once they are fitted."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from jaxfound.data.sources import Rows
from jaxfound.estimators._base import FLOATS, JaxEstimator, Table, give_back, placed
from jaxfound.estimators._scope import compute_scope
from jaxfound.models import pca, probabilistic_pca

__all__ = ["PrincipalComponents"]

_NEAR = 8  # standard deviations of the data between zero and a mean that costs no digits


class PrincipalComponents(ClassNamePrefixFeaturesOutMixin, TransformerMixin, JaxEstimator):
    """Transforms by the components, and the Gaussian that belongs to them."""

    whiten: bool
    components_: Any
    explained_variance_: Any
    mean_: Any
    noise_variance_: Any

    def transform(self, X: Any) -> Any:
        """Scores `[n k]` of `X` `[n d]`: coordinates along the components.

        Of a source they are a source, computed when it is read.
        """
        check_is_fitted(self)
        if isinstance(X, Rows):
            return X.map(self.transform)
        project = _project_near if self._near else _project
        return self._apply(project, self._map(1 / self._scale), X, linear=True)

    def inverse_transform(self, X: Any) -> Any:
        """The points `[n d]` that have the scores `X` `[n k]`."""
        check_is_fitted(self)
        checks: dict[str, Any] = {"dtype": FLOATS, "input_name": "X"}
        X = X if isinstance(X, jax.Array) else check_array(X, **checks)
        if X.shape[1] != len(self.components_):
            raise ValueError(
                f"X has {X.shape[1]} columns, expected {len(self.components_)}: one for each "
                "component, as transform gives them."
            )
        table = Table(X, None, None, X.dtype)
        with compute_scope(table.dtype):
            mean, axes = jax.tree.map(
                partial(jnp.asarray, dtype=table.dtype), self._map(self._scale)
            )
            return give_back(_lift(_Map(mean, axes), placed(table)[0])[: len(X)], X)

    def get_covariance(self) -> Any:
        """The covariance `[d d]` of the Gaussian model of the data."""
        return self._of_gaussian(probabilistic_pca.covariance)

    def get_precision(self) -> Any:
        """The inverse of `get_covariance()`, its pseudo-inverse where that is singular."""
        return self._of_gaussian(probabilistic_pca.precision)

    def score_samples(self, X: Any) -> Any:
        """The log density `[n]` of each row of `X` `[n d]` under the Gaussian model."""
        check_is_fitted(self)
        return self._apply(probabilistic_pca.log_density, self._gaussian(), X)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean log density of the rows of `X` `[n d]`; `y` is ignored."""
        del y
        return float(self.score_samples(X).mean())

    @property
    def _n_features_out(self):
        return len(self.components_)

    def _map(self, factor):
        return _Map(self.mean_, self.components_ * factor[:, None])

    def _gaussian(self):
        along, noise = self.explained_variance_, self.noise_variance_
        if self.whiten:  # scikit-learn's convention: components are scaled once more
            along = along * (along - noise).clip(0) + noise
        return probabilistic_pca.Gaussian(self.mean_, self.components_, along, noise)

    def _of_gaussian(self, function):
        check_is_fitted(self)
        with compute_scope(np.dtype(self.components_.dtype)):
            return give_back(function(self._gaussian()), self.components_)

    def _set_params_found(self, params: pca.Params):
        self.mean_, self.components_ = params.mean, params.components
        self.explained_variance_, self._scale = params.variance, params.scale
        with compute_scope(np.dtype(params.mean.dtype)):
            shares = pca.ratio(params), pca.singular_values(params)
            ratio, singular = give_back(shares, params.components)
        self.explained_variance_ratio_, self.singular_values_ = ratio, singular
        spread = _NEAR * np.sqrt(float(params.total))
        self._near = float(np.linalg.norm(np.asarray(params.mean))) <= spread
        noise = params.noise
        self.noise_variance_ = noise[()] if isinstance(noise, np.ndarray) else noise
        self.n_components_ = len(params.components)


class _Map(NamedTuple):
    mean: Any
    axes: Any


@jax.jit
def _project(params, x):
    return jnp.matmul(x - params.mean[None], params.axes.T, precision="highest")


@jax.jit
def _project_near(params, x):
    # Without a centred copy of x, three times faster, and as exact for a mean that is not large.
    offset = jnp.matmul(params.axes, params.mean, precision="highest")
    return jnp.matmul(x, params.axes.T, precision="highest") - offset[None]


@jax.jit
def _lift(params, scores):
    return jnp.matmul(scores, params.axes, precision="highest") + params.mean[None]
