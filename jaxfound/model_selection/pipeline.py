"""A chain of transformers and a model, with the contract of a model: every stage sees the mask."""

import dataclasses
from typing import Any

import jax

from jaxfound._types import Array, Float, Info, Key, Shaped

__all__ = ["Pipeline", "defaults"]


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """Modules such as `(scaling, pca, logistic)`; the last one predicts.

    All are fitted with the same weights, so that nothing of a row held out leaks into any stage.
    Hypers and configs are tuples with one entry a stage, None for a stage that has none.

    Example:
      >>> model = Pipeline((scaling, pca, logistic))
      >>> config = None, pca.Config(n_components=8), logistic.Config()
      >>> scores = search.cross_validate(model, x, y, split, config=config, scoring="accuracy")
    """

    stages: tuple[Any, ...]

    def fit(
        self,
        x: Float[Array, "n d"],
        y: Shaped[Array, " n"],
        weight: Shaped[Array, " n"] | None = None,
        hyper: tuple[Any, ...] | None = None,
        key: Key | None = None,
        *,
        config: tuple[Any, ...] | None = None,
    ) -> tuple[tuple[Any, ...], Info]:
        """Fits every stage to what the one before makes of `x`.

        Returns:
          One `Params` a stage, and the `Info` of the model; it has converged if all stages have.
        """
        hypers: Any = defaults(self, "Hyper") if hyper is None else hyper
        configs: Any = defaults(self, "Config") if config is None else config
        params, x, sound, key = self.before(x, weight, hypers, key, config=configs)
        model = self.stages[-1]
        found, info = model.fit(x, y, weight, hypers[-1], key, config=configs[-1])
        return (*params, found), info._replace(converged=info.converged & sound)

    def before(
        self,
        x: Float[Array, "n d"],
        weight: Shaped[Array, " n"] | None,
        hypers: tuple[Any, ...],
        key: Key | None,
        *,
        config: tuple[Any, ...],
    ) -> tuple[list[Any], Float[Array, "n c"], Any, Key | None]:
        """Fits all stages but the model.

        Returns:
          Their params, what the model sees of `x`, whether they have converged, and the key of
          the model.
        """
        keys = [None] * len(self.stages) if key is None else jax.random.split(key, len(self.stages))
        params, sound = [], True
        for i, stage in enumerate(self.stages[:-1]):
            if hypers[i] is None:  # nothing can be set, and nothing can go wrong
                found = stage.fit(x, weight)
            else:
                found, info = stage.fit(x, weight, hypers[i], keys[i], config=config[i])
                sound = sound & info.converged
            params.append(found)
            x = stage.transform(found, x)
        return params, x, sound, keys[-1]

    def transform(self, params: tuple[Any, ...], x: Float[Array, "n d"]) -> Float[Array, "n c"]:
        """What the model sees of `x`."""
        for stage, known in zip(self.stages[:-1], params[:-1], strict=True):
            x = stage.transform(known, x)
        return x

    def predict(self, params: tuple[Any, ...], x: Float[Array, "n d"]) -> Shaped[Array, " n"]:
        """The model's predictions."""
        return self.stages[-1].predict(params[-1], self.transform(params, x))

    def predict_proba(self, params: tuple[Any, ...], x: Float[Array, "n d"]) -> Any:
        """The model's probabilities."""
        return self.stages[-1].predict_proba(params[-1], self.transform(params, x))

    def decision(self, params: tuple[Any, ...], x: Float[Array, "n d"]) -> Any:
        """The model's scores."""
        return self.stages[-1].decision(params[-1], self.transform(params, x))


def defaults(model: Any, name: str) -> Any:
    """The default "Hyper" or "Config" of a model: of a pipeline one a stage."""
    if isinstance(model, Pipeline):
        return tuple(defaults(stage, name) for stage in model.stages)
    return getattr(model, name)() if hasattr(model, name) else None
