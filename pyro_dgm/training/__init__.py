"""``fit``, its history, saved runs and callbacks."""

from pyro_dgm.training.atomic import check_writable
from pyro_dgm.training.callbacks import AverageWeights, Callback, Every, FitState
from pyro_dgm.training.check_model import check_model
from pyro_dgm.training.checkpoint import load_weights, read_config, read_extra, save
from pyro_dgm.training.checkpoints import Checkpoints, latest_checkpoint, read_checkpoint
from pyro_dgm.training.collapse import CollapseWarning, LatentWatch
from pyro_dgm.training.fitting import fit
from pyro_dgm.training.hindsight import DensityWarning
from pyro_dgm.training.history import History
from pyro_dgm.training.logs import CSVLog, TensorBoardLog
from pyro_dgm.training.ranks import Ranks, start_processes
from pyro_dgm.training.schedules import warm_up
from pyro_dgm.training.step_control import StepControl

__all__ = [
    "AverageWeights",
    "CSVLog",
    "Callback",
    "Checkpoints",
    "CollapseWarning",
    "DensityWarning",
    "Every",
    "FitState",
    "History",
    "LatentWatch",
    "Ranks",
    "StepControl",
    "TensorBoardLog",
    "check_model",
    "check_writable",
    "fit",
    "latest_checkpoint",
    "load_weights",
    "read_checkpoint",
    "read_config",
    "read_extra",
    "save",
    "start_processes",
    "warm_up",
]
