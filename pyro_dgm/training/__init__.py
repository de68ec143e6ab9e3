"""``fit``, its history, saved runs and callbacks."""

from pyro_dgm.training.atomic import check_writable
from pyro_dgm.training.callbacks import AverageWeights, Callback, Every, FitState
from pyro_dgm.training.checkpoint import load_weights, read_config, read_extra, save
from pyro_dgm.training.fitting import fit
from pyro_dgm.training.history import History

__all__ = [
    "AverageWeights",
    "Callback",
    "Every",
    "FitState",
    "History",
    "check_writable",
    "fit",
    "load_weights",
    "read_config",
    "read_extra",
    "save",
]
