"""Named default configurations: a model, its objective, its data and the settings that train it.

The tour and the command line are built from these; they stand above ``inference`` and below ``report``.
"""

from pyro_dgm.recipes.recipe import Objective, Recipe, kind_of_data
from pyro_dgm.recipes.registry import build_model, get, names
from pyro_dgm.recipes.run import Run, load_data, load_run
from pyro_dgm.recipes.trial import Trial, train

__all__ = [
    "Objective",
    "Recipe",
    "Run",
    "Trial",
    "build_model",
    "get",
    "kind_of_data",
    "load_data",
    "load_run",
    "names",
    "train",
]
