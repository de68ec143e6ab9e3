"""A trained model with what it takes to build it again, in memory and in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pyro_dgm import data as data_sets
from pyro_dgm.data import ImageData, Target2D
from pyro_dgm.errors import CheckpointError
from pyro_dgm.models import GenerativeModel
from pyro_dgm.recipes.recipe import Recipe
from pyro_dgm.recipes.registry import build_model, get
from pyro_dgm.training import load_weights, save
from pyro_dgm.training.isolation import own_random_state
from pyro_dgm.training.manifest import read_manifest

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
    manifest = read_manifest(folder)
    config = manifest.config
    _check_sizes(config, manifest.files["weights"].size if "weights" in manifest.files else 0)
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
    saved = source.get("options", {})
    if not isinstance(saved, dict) or "download" in saved:
        raise CheckpointError(f"the run's options of {source['name']} are {saved!r}, which no run writes.")
    try:
        return data_sets.load(source["name"], **{**saved, **options})
    except TypeError as error:
        raise CheckpointError(f"{source['name']} cannot be loaded as the run says: {error}.") from error


def _check_sizes(config: dict[str, Any], size: int) -> None:
    """Refuse a description of a model that is larger than the file with its weights can hold.

    Every unit and layer that a number of the description asks for has a weight of its own, so that none of
    these is larger than the file; else a few bytes of text could ask for all of the memory.
    """
    numbers = list(_integers([config.get("event_shape"), config.get("options")]))
    if any(number > max(size, 2**16) for number in numbers):
        raise CheckpointError(
            f"the saved model is described by the size {max(numbers)}, but its weights have {size} bytes: "
            "the description is not theirs. Nothing was built."
        )
    with torch.device("meta"):  # shapes alone, without memory
        parts = build_model(config).state_dict().values()
    needed = sum(part.numel() * part.element_size() for part in parts)
    if needed > size:
        raise CheckpointError(
            f"the saved model is described as one of {needed} bytes, but its weights have {size}: the "
            "description is not theirs. Nothing was built."
        )


def _integers(tree: Any) -> Iterator[int]:
    if isinstance(tree, int):
        yield tree
    elif isinstance(tree, dict | list):
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from _integers(item)
