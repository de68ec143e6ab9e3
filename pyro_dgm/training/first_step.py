"""What is checked once, in the first step, because checking it in every step would double the cost."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pyro
from torch import Tensor, nn

from pyro_dgm.errors import DataError, PyroDGMError, ShapeError
from pyro_dgm.networks import is_misfit
from pyro_dgm.objectives.batch import Batch
from pyro_dgm.training.divergence import diverged, first_bad_layer
from pyro_dgm.training.own_step import networks_of

__all__ = ["check_no_strangers", "first_loss"]


def first_loss(objective: nn.Module, batch: Batch) -> Tensor:
    """Return the loss of the first batch, computed under every check of Pyro and torch.

    Raises:
        DataError: If the data are outside the support of a distribution.
        ShapeError: If a network was built for rows of another shape.
        TrainingDiverged: If a network gives a distribution parameters that are not finite.
        TypeError: If the loss is no scalar.
        ValueError: If the loss does not depend on what trains.
    """
    with warnings.catch_warnings():
        # what is not finite is found, and said, by the guard
        warnings.filterwarnings("ignore", message="Encountered (NaN|.*inf)")
        try:
            loss = objective(batch)
        except ValueError as error:
            _explain(error, objective, batch)
            raise
        except RuntimeError as error:
            if isinstance(error, PyroDGMError) or not is_misfit(error):
                raise
            raise ShapeError(
                f"the objective cannot take rows of shape {tuple(batch.x.shape[1:])} and {batch.x.dtype}: "
                f"{error}. Give the data and the networks one shape."
            ) from error
    if not isinstance(loss, Tensor) or loss.dim() or not loss.is_floating_point():
        came = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise TypeError(f"the objective must return a scalar loss, a tensor of shape (), but gave {came}.")
    if not loss.requires_grad:
        raise ValueError("the loss does not depend on any parameter that trains: was it detached?")
    return loss


def check_no_strangers(objective: Any) -> None:
    """Look into Pyro's parameter store for what the objective used but does not hold.

    Raises:
        TypeError: If there is a ``pyro.param`` statement whose parameter is no attribute: it would not train.
    """
    own = {id(p) for network in networks_of(objective) for p in network.parameters()}
    store = pyro.get_param_store()
    strangers = sorted(name for name, p in store._params.items() if p.requires_grad and id(p) not in own)
    if strangers:
        raise TypeError(
            f"the model has pyro.param statements ({', '.join(strangers)}) that fit cannot see and would not "
            "train. Make them attributes of the model, as nn.Parameter or pyro.nn.PyroParam, or train with "
            "pyro.infer.SVI."
        )


def _explain(error: ValueError, objective: nn.Module, batch: Batch) -> None:
    """Raise what an error of Pyro or torch means for the user of ``fit``, if it is clear."""
    cause = error.__cause__
    if isinstance(cause, PyroDGMError):  # Pyro wraps what distributions raise, with all shapes of the trace
        raise cause from None
    message = str(error)
    if "to be within the support" in message:
        first = " ".join(message.split(", but found invalid values")[0].split())
        raise DataError(
            f"the data are outside the support of the model: {first}. Rescale, binarise or dequantise "
            "them, or choose another likelihood."
        ) from error
    layer = first_bad_layer(objective, batch)
    if layer is not None:
        raise diverged(0, math.nan, "a distribution was given something not finite", layer) from error
