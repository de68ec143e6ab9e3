"""The optimiser of a loss module: made from what ``fit`` is given, and checked to train something."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from pyro_dgm.training.divergence import all_finite
from pyro_dgm.training.parts import local_of

__all__ = ["OptimizerLike", "as_optimizer", "keeps_finite", "trainable_parameters"]

_WIDE = (torch.float, torch.double)
OptimizerLike = Optimizer | Callable[[list[nn.Parameter]], Optimizer]


def trainable_parameters(objective: nn.Module) -> list[nn.Parameter]:
    """The parameters that require gradients, each once.

    Raises:
        ValueError: If there is none, or one is not finite.
    """
    named = [(name, p) for name, p in objective.named_parameters() if p.requires_grad]
    if not named:
        raise ValueError(
            f"{type(objective).__name__} has no parameter to train: all are frozen, or there is none. "
            "Unfreeze it with .requires_grad_(True) or flow.unfreeze(), and make networks attributes."
        )
    for name, parameter in named:
        if not all_finite([local_of(parameter)]):
            raise ValueError(f"parameter {name!r} is not finite before the first step. Initialise it anew.")
    return [parameter for _, parameter in named]


def as_optimizer(optimizer: Any, parameters: list[nn.Parameter], lr: float) -> Optimizer:
    """An optimiser of the parameters: the given one, one of the given class or function, or fused Adam.

    Raises:
        TypeError: If it is none of these; optimisers of Pyro are not.
        ValueError: If it holds none of the parameters.
    """
    if optimizer is None:
        try:
            return Adam(parameters, lr=lr, fused=True)
        except RuntimeError:  # a device or dtype without the fused kernel
            return Adam(parameters, lr=lr)
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        return optimizer(parameters, lr=lr)  # type: ignore[call-arg]
    made = optimizer if isinstance(optimizer, Optimizer) or not callable(optimizer) else optimizer(parameters)
    if not isinstance(made, Optimizer):
        raise TypeError(
            f"optimizer must be a torch.optim.Optimizer, a class of them, or a function from a list of "
            f"parameters to one, but is {optimizer!r}. Pyro's optimisers go with pyro.infer.SVI."
        )
    _check_owned(made, parameters)
    return made


def keeps_finite(optimizer: Optimizer) -> bool:
    """Whether an update leaves finite weights as they are or finite: that of the default optimiser does.

    Fused Adam in single precision or more squares no gradient below 1e18 to infinity, and at a rate of at
    most one adds no more than the gradient over ``eps``. Its moments must be there already.
    """
    return all(
        group["fused"] and all(p.dtype in _WIDE and p in optimizer.state for p in group["params"])
        for group in optimizer.param_groups
    )


def _check_owned(optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> None:
    own = {id(p) for p in parameters}
    if not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
        raise ValueError(
            "the optimizer holds none of the objective's trainable parameters, so nothing would train. Build "
            "it from this objective's parameters(), or pass a function such as lambda ps: Adam(ps, lr=1e-3)."
        )
