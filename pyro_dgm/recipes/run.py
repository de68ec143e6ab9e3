"""A trained model with what it takes to build it again, in memory and in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_dgm import data as data_sets
from pyro_dgm.data import ImageData, Target2D
from pyro_dgm.errors import CheckpointError
from pyro_dgm.models import GenerativeModel
from pyro_dgm.recipes.recipe import Recipe
from pyro_dgm.recipes.registry import build_model, get
from pyro_dgm.training import load_weights, read_config, save
from pyro_dgm.training.isolation import own_random_state

__all__ = ["Run", "load_data", "load_run"]


@dataclass(frozen=True)
class Run:
    """A trained model.

    Attributes:
        recipe: What it was built from.
        model: The model to use.
        config: What it takes to build the model and load its data again, as plain JSON.
    """

    recipe: Recipe
    model: GenerativeModel
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.recipe.name

    def save(self, folder: str | Path) -> Path:
        """Save weights and configuration in a folder, which is returned; see :func:`load_run`."""
        return save(folder, self.model, config=self.config)


def load_run(folder: str | Path) -> Run:
    """Build the model of a saved run again, with its weights. Nothing in the folder is executed.

    Raises:
        CheckpointError: If there is no saved run, or it is damaged.
    """
    config = read_config(folder)
    with own_random_state(0):  # for initial weights that are replaced at once
        model = build_model(config)
    load_weights(folder, model)
    model.eval()
    return Run(get(config["recipe"]), model, config)


def load_data(config: dict[str, Any], **options: Any) -> Target2D | ImageData:
    """Load the data set that a run was trained on.

    Args:
        config: The configuration of the run.
        **options: Other values of the data set's options, such as ``root``.

    Raises:
        CheckpointError: If the configuration names no data set.
        MissingDataError: If its files are not where they were.
    """
    source = config.get("data")
    if not isinstance(source, dict) or source.get("name") not in data_sets.names():
        raise CheckpointError(
            f"the run does not say which data set it was trained on: 'data' is {source!r}, but should name "
            f"one of {', '.join(data_sets.names())}."
        )
    return data_sets.load(source["name"], **{**source.get("options", {}), **options})
