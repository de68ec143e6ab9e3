"""What a recipe is: a model by name, with defaults that train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from pyro_dgm.data import ImageData, Target2D
from pyro_dgm.data import names as data_names
from pyro_dgm.errors import DataError, UnknownNameError
from pyro_dgm.models import GenerativeModel
from pyro_dgm.objectives import ELBO, Adversarial
from pyro_dgm.training.isolation import own_random_state

__all__ = ["Objective", "Options", "Recipe", "kind_of_data"]

Objective = ELBO | Adversarial
Options = Mapping[str, Any]
Data = Target2D | ImageData

_IMAGES = ("digits", "mnist", "fashion-mnist")


def kind_of_data(name: str) -> str:
    """Return what a row of the data set of this name is, ``"vector"`` or ``"image"``, without loading it.

    Raises:
        UnknownNameError: If there is no such data set.
    """
    if name not in data_names():
        raise UnknownNameError.of("data set", name, data_names())
    return "image" if name in _IMAGES else "vector"


@dataclass(frozen=True)
class Recipe:
    """A named default configuration: model, objective, data and the settings that train them.

    Options and settings are plain JSON values, so that a saved run can be built again from its
    :meth:`config`.

    Attributes:
        name: Its name, as on the command line.
        summary: What it is, in one line.
        event: What one row of its data must be: ``"vector"`` or ``"image"``.
        options: Options of model and objective, with their defaults.
        training: Arguments of :func:`~pyro_dgm.training.fit` that go with them.
        make_model: Builds the model for rows of an event shape.
        make_objective: Builds the objective of a model.
        data: Name of the data set it is shown with.
        data_options: Options of any data set of images for it, such as how to make them binary.

    Example:
        >>> from pyro_dgm import data, recipes
        >>> recipe = recipes.get("real-nvp")
        >>> objective = recipe.build(data.two_moons(), num_layers=2)
        >>> objective.model.sample(3).shape
        torch.Size([3, 2])
    """

    name: str
    summary: str
    event: str
    options: Options
    training: Options
    make_model: Callable[[torch.Size, Options], GenerativeModel]
    make_objective: Callable[[GenerativeModel, Options], Objective]
    data: str
    data_options: Options = field(default_factory=dict)

    def build(self, data: Data, *, seed: int = 0, **options: Any) -> Objective:
        """Build model and objective for a data set; ``objective.model`` is the model.

        Args:
            data: The data set that it will be trained on.
            seed: Seed of the initial weights; the global random states are not touched.
            **options: Other values for some of :attr:`options`.

        Raises:
            DataError: If the recipe is not for data of this kind.
            UnknownNameError: If it has no such option.
        """
        self.check(data)
        chosen = self.chosen(options)
        with own_random_state(seed):
            return self.make_objective(self.make_model(data.event_shape, chosen), chosen)

    def config(self, data: Data, **options: Any) -> dict[str, Any]:
        """Return as plain JSON what :func:`~pyro_dgm.recipes.build_model` needs to build the model again."""
        return {
            "recipe": self.name,
            "event_shape": list(data.event_shape),
            "options": self.chosen(options),
        }

    def options_of_data(self, name: str) -> dict[str, Any]:
        """Return the options that the data set of this name is to be loaded with for this recipe.

        Raises:
            UnknownNameError: If there is no such data set.
            DataError: If the recipe is not for data of this kind.
        """
        self._check_event(kind_of_data(name), name)
        return dict(self.data_options)

    def check(self, data: Data) -> None:
        """Raise :class:`~pyro_dgm.errors.DataError` unless the recipe is for data of this kind."""
        self._check_event("image" if len(data.event_shape) == 3 else "vector", data.name)
        if self.data_options.get("binarize") and getattr(data, "binarization", None) is None:
            raise DataError(
                f"{self.name} has a Bernoulli likelihood and needs binary images, but {data.name} is grey: "
                f"load the data with binarize={self.data_options['binarize']!r}."
            )

    def _check_event(self, event: str, data_name: str) -> None:
        from pyro_dgm.recipes.registry import names

        if event != self.event:
            raise DataError(
                f"{self.name} is a recipe for {self.event}s, but {data_name} is a data set of {event}s. "
                f"Recipes for {event}s: {', '.join(names(event=event))}."
            )

    def chosen(self, options: Options) -> dict[str, Any]:
        """Return the recipe's options with other values for some.

        Raises:
            UnknownNameError: If it has no such option.
        """
        for name in options:
            if name not in self.options:
                raise UnknownNameError.of(f"option of {self.name}", name, self.options)
        return {**self.options, **options}
