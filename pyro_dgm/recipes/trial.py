"""Training by a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_dgm.data import ImageData, Target2D
from pyro_dgm.objectives import Adversarial
from pyro_dgm.recipes.recipe import Objective, Recipe
from pyro_dgm.recipes.run import Run
from pyro_dgm.training import History, fit

__all__ = ["Trial", "train"]


@dataclass(frozen=True)
class Trial(Run):
    """A run with what is known only to who has trained it.

    Attributes:
        data: What it was trained on.
        objective: What was trained. Its model may differ from :attr:`model`, which has the averaged weights
            where they are kept.
        history: How training went.
    """

    data: Target2D | ImageData
    objective: Objective
    history: History

    def save(self, folder: str | Path) -> Path:
        """Save weights and configuration in a folder, with the history as a table."""
        path = super().save(folder)
        self.history.to_csv(path / "history.csv")
        return path


def train(
    recipe: Recipe,
    data: Target2D | ImageData,
    *,
    seed: int = 0,
    progress: bool = True,
    source: dict[str, Any] | None = None,
    **settings: Any,
) -> Trial:
    """Build a model by its recipe and train it.

    Args:
        recipe: The recipe.
        data: The data set to train on.
        seed: Seed of weights and training.
        progress: Whether to show a progress bar.
        source: Name and options of the data set, to be kept with a saved run.
        **settings: Other values of arguments of :func:`~pyro_dgm.training.fit`.

    Returns:
        The trial, also where training was interrupted: its history says so.

    Raises:
        DataError: If the recipe is not for data of this kind.
        TrainingDiverged: If a loss or gradient is not finite.

    Example:
        >>> from pyro_dgm import data, recipes
        >>> trial = recipes.train(recipes.get("real-nvp"), data.two_moons(), steps=2, progress=False)
        >>> trial.history.num_steps, trial.model.sample(3).shape
        (2, torch.Size([3, 2]))
    """
    objective = recipe.build(data, seed=seed)
    history = fit(objective, data, seed=seed, progress=progress, **{**recipe.training, **settings})
    config = {**recipe.config(data), "data": source, "seed": seed}
    model = objective.averaged if isinstance(objective, Adversarial) else objective.model
    return Trial(recipe, model, config, data, objective, history)  # type: ignore[arg-type]
