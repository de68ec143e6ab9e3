"""Recipes by name, and models built again from what a run has saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pyro_dgm.errors import CheckpointError, UnknownNameError
from pyro_dgm.models import GenerativeModel
from pyro_dgm.recipes.flows import OT_FLOW, REAL_NVP
from pyro_dgm.recipes.images import DCGAN, VAE_RECIPE, WGAN_GP
from pyro_dgm.recipes.recipe import Recipe

__all__ = ["build_model", "get", "names"]

_RECIPES = {recipe.name: recipe for recipe in (REAL_NVP, OT_FLOW, VAE_RECIPE, DCGAN, WGAN_GP)}


def names(*, event: str | None = None) -> tuple[str, ...]:
    """The names that :func:`get` knows; with ``event``, those for ``"vector"`` or ``"image"`` data."""
    return tuple(name for name, recipe in _RECIPES.items() if event in (None, recipe.event))


def get(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        UnknownNameError: If there is none; the message names the nearest.

    Example:
        >>> get("real-nvp").summary
        'normalizing flow of affine couplings, by exact maximum likelihood'
    """
    if name not in _RECIPES:
        raise UnknownNameError.of("model", name, _RECIPES)
    return _RECIPES[name]


def build_model(config: Mapping[str, Any]) -> GenerativeModel:
    """Build the model that :meth:`Recipe.config` described, with fresh weights.

    Args:
        config: Plain JSON: ``recipe``, ``event_shape`` and ``options``. Nothing in it is executed.

    Raises:
        CheckpointError: If it is no such description.

    Example:
        >>> config = {"recipe": "real-nvp", "event_shape": [2], "options": {"num_layers": 2}}
        >>> build_model(config).capabilities.latent_dim
        2
    """
    try:
        recipe = get(config["recipe"])
        options = recipe.chosen(config["options"])
        return recipe.make_model(torch.Size(config["event_shape"]), options)
    except (LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise CheckpointError(
            f"the description of the saved model cannot be built: {error}. It should name a recipe, an "
            "event_shape and options, as Recipe.config writes them."
        ) from error
